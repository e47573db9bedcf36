//! Cells with one writer and any number of readers.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only ever called by the thread that owns the cell.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`; only ever called by the thread that owns the cell.
    pub(crate) fn add(&self, n: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn read(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the buckets of a latency histogram, in microseconds; one more bucket takes the rest.
pub(crate) const LATENCY_BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// A histogram of durations.
#[derive(Default)]
pub(crate) struct Latency {
    buckets: [Counter; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Latency {
    /// Counts one duration.
    pub(crate) fn record(&self, microseconds: u64) {
        let bucket = LATENCY_BOUNDS_US.iter().position(|bound| microseconds <= *bound);
        if let Some(cell) = self.buckets.get(bucket.unwrap_or(LATENCY_BOUNDS_US.len())) {
            cell.add(1);
        }
        self.sum_us.add(microseconds);
    }

    /// Adds the counts to `buckets`, and returns the sum of all durations in microseconds.
    pub(crate) fn read_into(&self, buckets: &mut [u64; LATENCY_BOUNDS_US.len() + 1]) -> u64 {
        for (total, cell) in buckets.iter_mut().zip(&self.buckets) {
            *total += cell.read();
        }
        self.sum_us.read()
    }
}

#[cfg(test)]
mod tests {
    use super::{LATENCY_BOUNDS_US, Latency};

    #[test]
    fn a_duration_is_counted_under_the_first_bound_that_holds_it() {
        let latency = Latency::default();
        for us in [0, 250, 251, 20_000_000] {
            latency.record(us);
        }
        let mut buckets = [0; LATENCY_BOUNDS_US.len() + 1];
        assert_eq!(latency.read_into(&mut buckets), 20_000_501);
        assert_eq!((buckets[0], buckets[1], buckets[LATENCY_BOUNDS_US.len()]), (2, 1, 1));
    }
}
