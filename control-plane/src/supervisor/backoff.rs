//! How long to wait before a proxy is started again.

use std::time::Duration;

/// A run this long was a good one.
const STABLE: Duration = Duration::from_secs(10);
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(10);

/// Grows with each run that was short, up to 10 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Duration,
}

impl Backoff {
    /// The pause after a run of `ran`: none after a good one, since whatever ended it may be over.
    pub(super) fn after(&mut self, ran: Duration) -> Duration {
        self.last = match self.last {
            _ if ran >= STABLE => Duration::ZERO,
            Duration::ZERO => FIRST,
            last => (last * 2).min(LONGEST),
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn pauses_grow_and_begin_anew_after_a_good_run() {
        let mut backoff = Backoff::default();
        let mut after = |seconds| backoff.after(Duration::from_secs(seconds)).as_millis();
        let short: Vec<u128> = (0..10).map(|_| after(1)).collect();
        assert_eq!(short, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!((after(60), after(1), after(1)), (0, 50, 100));
    }
}
