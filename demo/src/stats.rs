//! What the load saw: one record for each request, and what follows from a set of them.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

/// One request that was sent.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was due, since the load began. Latency counts from here, so that a stall is seen by
    /// every request that it held up.
    pub due: Duration,
    /// When its answer was complete, or it failed.
    pub done: Duration,
    /// Whether its method lets a proxy try it again (RFC 9110, section 9.2.2).
    pub idempotent: bool,
    /// Who answered, or what went wrong.
    pub outcome: Result<String, String>,
}

impl Sample {
    /// From when it was due until its answer was complete.
    pub fn latency(&self) -> Duration {
        self.done.saturating_sub(self.due)
    }
}

/// What one step of the tour did to the load.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Requests that were due during the step.
    pub requests: usize,
    /// Those that failed although their method lets a proxy try them again.
    pub failed: usize,
    /// Those that failed and that no proxy may try again: their method is not idempotent, and they may
    /// have reached a backend that died with them.
    pub failed_not_retryable: usize,
    /// Attempts that the edge gateway made again.
    pub retried: u64,
    /// Median latency in microseconds.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// 99.9th percentile.
    pub p999_us: u64,
    /// The longest latency.
    pub max_us: u64,
    /// From the fault until the last request that it disturbed was answered, in milliseconds, or until
    /// the first one after it when it disturbed none; none for a step without a fault.
    pub takeover_ms: Option<u64>,
    /// Requests by the cluster that answered.
    pub served_by: BTreeMap<String, usize>,
    /// The first errors, word for word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A request that took longer than this was disturbed by the fault.
const DISTURBED: Duration = Duration::from_millis(100);

impl Figures {
    /// Sums up `samples`; `fault` is when the step's fault was made, since the load began.
    pub fn of(samples: &[Sample], fault: Option<Duration>) -> Self {
        let mut figures = Self { requests: samples.len(), ..Self::default() };
        let mut latencies: Vec<u64> = Vec::with_capacity(samples.len());
        for sample in samples {
            latencies.push(u64::try_from(sample.latency().as_micros()).unwrap_or(u64::MAX));
            match &sample.outcome {
                Ok(server) => {
                    let cluster = server.split('/').next().unwrap_or(server);
                    *figures.served_by.entry(cluster.to_owned()).or_default() += 1;
                }
                Err(error) => figures.count_failure(sample, error),
            }
        }
        latencies.sort_unstable();
        figures.p50_us = percentile(&latencies, 500);
        figures.p99_us = percentile(&latencies, 990);
        figures.p999_us = percentile(&latencies, 999);
        figures.max_us = latencies.last().copied().unwrap_or(0);
        figures.takeover_ms = fault.map(|at| takeover(samples, at));
        figures
    }

    fn count_failure(&mut self, sample: &Sample, error: &str) {
        if sample.idempotent {
            self.failed += 1;
        } else {
            self.failed_not_retryable += 1;
        }
        if self.errors.len() < 5 {
            self.errors.push(error.to_owned());
        }
    }
}

fn takeover(samples: &[Sample], fault: Duration) -> u64 {
    let disturbed = |s: &&Sample| s.done > fault && (s.outcome.is_err() || s.latency() > DISTURBED);
    let last = samples.iter().filter(disturbed).map(|s| s.done).max();
    let first = || samples.iter().filter(|s| s.due >= fault).map(|s| s.done).min();
    let over = last.or_else(first).unwrap_or(fault);
    u64::try_from(over.saturating_sub(fault).as_millis()).unwrap_or(u64::MAX)
}

/// The value below which `permille` of the sorted `values` lie.
fn percentile(values: &[u64], permille: usize) -> u64 {
    let rank = (values.len() * permille).div_ceil(1000).saturating_sub(1);
    values.get(rank).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Figures, Sample};
    use std::time::Duration;

    fn sample(due: u64, done: u64, outcome: Result<&str, &str>) -> Sample {
        Sample {
            due: Duration::from_millis(due),
            done: Duration::from_millis(done),
            idempotent: due.is_multiple_of(2),
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        }
    }

    #[test]
    fn figures_tell_failures_and_takeover_apart() {
        let samples = [
            sample(0, 1, Ok("east/1")),
            sample(10, 310, Ok("west/1")),
            sample(12, 13, Err("502")),
            sample(15, 16, Err("502")),
            sample(20, 22, Ok("west/2")),
        ];
        let figures = Figures::of(&samples, Some(Duration::from_millis(5)));
        assert_eq!((figures.requests, figures.failed, figures.failed_not_retryable), (5, 1, 1));
        assert_eq!(figures.takeover_ms, Some(305));
        let undisturbed = Figures::of(&samples[4..], Some(Duration::from_millis(5)));
        assert_eq!(undisturbed.takeover_ms, Some(17));
        assert_eq!(figures.served_by.get("west"), Some(&2));
        assert_eq!((figures.p50_us, figures.p999_us), (1_000, 300_000));
    }
}
