//! How long to wait after a failure.

use std::time::Duration;

/// Twice as long after each failure in a row, up to a bound.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(15);

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait after one more failure.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(MOST);
        wait
    }

    /// It worked.
    pub(crate) fn succeeded(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, MOST};

    #[test]
    fn waits_grow_to_a_bound_and_start_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.failed()).collect();
        assert_eq!((waits[0], waits[1], waits[9]), (FIRST, FIRST * 2, MOST));
        backoff.succeeded();
        assert_eq!(backoff.failed(), FIRST);
    }
}
