//! How long to wait before the next attempt, so that a thousand proxies do not come back at once (case E11).

use std::{hash::BuildHasher, time::Duration};

/// The longest first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait of all.
const LAST: Duration = Duration::from_secs(10);

/// Waits that grow, each chosen at random between a half and the whole of its length.
#[derive(Debug)]
pub struct Backoff {
    attempts: u32,
    random: u64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// Begins with a short wait.
    pub fn new() -> Self {
        // The standard library seeds its hashers at random; nothing more is needed here.
        Self::seeded(std::hash::RandomState::new().hash_one(0_u8))
    }

    /// Waits that follow from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self { attempts: 0, random: seed }
    }

    /// Begins again with a short wait.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LAST);
        self.attempts = self.attempts.saturating_add(1);
        let share = u32::try_from(self.next() % 1024).unwrap_or(0);
        whole / 2 + whole * share / 2048
    }

    /// `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, LAST};

    #[test]
    fn e11_waits_grow_within_bounds_and_differ_from_one_proxy_to_another() {
        let mut one = Backoff::seeded(1);
        let mut two = Backoff::seeded(2);
        let waits: Vec<_> = (0..20).map(|_| one.wait()).collect();
        assert!(waits.iter().all(|wait| *wait >= Duration::from_millis(50) && *wait <= LAST));
        assert!(waits[..8].windows(2).all(|pair| pair[0] < pair[1] * 2), "{waits:?}");
        assert!(waits[10] >= LAST / 2);
        assert_ne!(waits, (0..20).map(|_| two.wait()).collect::<Vec<_>>());
        one.reset();
        assert!(one.wait() <= Duration::from_millis(100));
    }
}
