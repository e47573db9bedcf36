//! How many writes may be under way, and how soon the next one may follow.
//!
//! An API server that has too much to do takes longer over each write, also over those of the people whose
//! edits the statuses are about. Theirs come first: the window closes when writes take much longer than they
//! need to, down to one at a time with rests between, and opens again step by step.

use std::time::Duration;

/// At the most.
const MOST: usize = 16;
/// A write that takes so many times as long as the fastest one waited for something.
const SLOW: u32 = 3;
/// The fastest time is forgotten by this share with each write, since the way to an API server may change.
const FORGOTTEN: u32 = 256;
/// What takes less than this is never slow.
const FAST: Duration = Duration::from_millis(5);
/// The longest rest.
const LONGEST: Duration = Duration::from_millis(200);

pub(super) struct Window {
    size: usize,
    fastest: Duration,
    rest: Duration,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { size: MOST, fastest: Duration::MAX, rest: Duration::ZERO }
    }

    /// How many writes there may be at a time: at least one.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How long to wait between two of them: nothing, where there may be several.
    pub(super) fn rest(&self) -> Duration {
        self.rest
    }

    /// A write took so long.
    pub(super) fn took(&mut self, time: Duration) {
        self.fastest = self.fastest.saturating_add(self.fastest / FORGOTTEN).min(time);
        let least = self.fastest.max(FAST);
        match (time > least.saturating_mul(SLOW), self.size) {
            (true, 1) => self.rest = (self.rest * 2).max(least).min(LONGEST),
            (true, _) => self.size /= 2,
            (false, _) if self.rest > least => self.rest /= 2,
            (false, _) if !self.rest.is_zero() => self.rest = Duration::ZERO,
            (false, _) => self.size = (self.size + 1).min(MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LONGEST, MOST, Window};

    #[test]
    fn an_api_server_that_is_slow_is_left_more_room_and_then_less() {
        let mut window = Window::new();
        let ms = Duration::from_millis;
        window.took(ms(40));
        assert_eq!(window.size(), MOST, "a long way is not a long wait");
        for _ in 0..4 {
            assert_eq!(window.rest(), Duration::ZERO);
            window.took(ms(400));
        }
        assert_eq!(window.size(), 1);
        for _ in 0..4 {
            window.took(ms(400));
        }
        assert_eq!((window.size(), window.rest()), (1, LONGEST));
        for _ in 0..MOST + 4 {
            window.took(ms(45));
        }
        assert_eq!((window.size(), window.rest()), (MOST, Duration::ZERO));
    }

    #[test]
    fn a_way_that_became_longer_is_not_slow_for_ever() {
        let mut window = Window::new();
        let ms = Duration::from_millis;
        window.took(ms(10));
        for _ in 0..1_000 {
            window.took(ms(100));
        }
        assert_eq!(window.size(), MOST);
    }
}
