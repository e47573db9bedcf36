//! The health record of one endpoint, or of one gateway address: when it is out, and how it comes back.
//!
//! One padded word. It is written on a failure, on the first success after one, and by the prober; a
//! success with nothing to forget only reads it. Failures of a connection (refused, reset) count as all
//! that the policy allows, so that they take an endpoint out at once. An endpoint that came back is on
//! probation: its next failure takes it out again, its next success ends the probation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use isthmus_ir::HealthPolicy;

const FAILURES: u64 = 0xffff;
const EJECTIONS_SHIFT: u32 = 16;
const EJECTIONS: u64 = 0xff << EJECTIONS_SHIFT;
const OUT: u64 = 1 << 32;

/// The health of one endpoint or gateway address, shared by all threads and routes.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Health(AtomicU64);

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// The connection was refused or reset, or its far end is silent: nothing answers there.
    Connection,
    /// A gateway error, or no answer in time: something is there that does not work.
    Answer,
}

/// An endpoint was just taken out, by this call and no other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ejected {
    /// How many times in a row, this one included.
    pub(crate) count: u8,
    /// By what.
    pub(crate) by: Failure,
}

impl Health {
    /// Whether it is out of balancing.
    pub(crate) fn is_out(&self) -> bool {
        self.0.load(Relaxed) & OUT != 0
    }

    /// Counts a success; true when it brought the endpoint back.
    pub(crate) fn succeeded(&self) -> bool {
        if self.0.load(Relaxed) & (FAILURES | OUT) == 0 {
            return false;
        }
        self.update(|word| word & EJECTIONS) & OUT != 0
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, failure: Failure, policy: &HealthPolicy) -> Option<Ejected> {
        let limit = u64::from(policy.consecutive_failures.max(1));
        let by = if failure == Failure::Connection { limit } else { 1 };
        let before = self.update(|word| fail(word, by, limit));
        let after = fail(before, by, limit);
        (before & OUT == 0 && after & OUT != 0).then(|| Ejected { count: ejections(after), by: failure })
    }

    /// Brings it back on probation.
    pub(crate) fn restore(&self, policy: &HealthPolicy) {
        let probation = u64::from(policy.consecutive_failures.max(1) - 1);
        self.update(|word| if word & OUT == 0 { word } else { word & EJECTIONS | probation });
    }

    /// Forgets past ejections, unless it is out again.
    pub(crate) fn forgive(&self) {
        self.update(|word| if word & OUT == 0 { word & !EJECTIONS } else { word });
    }

    /// How many times it was taken out and not forgiven.
    pub(crate) fn ejections(&self) -> u8 {
        ejections(self.0.load(Relaxed))
    }

    fn update(&self, next: impl Fn(u64) -> u64) -> u64 {
        self.0.fetch_update(Relaxed, Relaxed, |word| Some(next(word))).unwrap_or_else(|word| word)
    }
}

fn ejections(word: u64) -> u8 {
    u8::try_from((word & EJECTIONS) >> EJECTIONS_SHIFT).unwrap_or(u8::MAX)
}

fn fail(word: u64, by: u64, limit: u64) -> u64 {
    if word & OUT != 0 {
        return word;
    }
    let failures = ((word & FAILURES) + by).min(FAILURES);
    if failures < limit {
        return word & !FAILURES | failures;
    }
    let ejections = u64::from(ejections(word).saturating_add(1)) << EJECTIONS_SHIFT;
    ejections | OUT
}

#[cfg(test)]
mod tests {
    use isthmus_ir::HealthPolicy;

    use super::{Ejected, Failure, Health};

    fn policy() -> HealthPolicy {
        HealthPolicy { consecutive_failures: 3, ..HealthPolicy::default() }
    }

    #[test]
    fn answers_count_up_and_a_success_forgets_them() {
        let (health, policy) = (Health::default(), policy());
        for _ in 0..2 {
            assert_eq!(health.failed(Failure::Answer, &policy), None);
            assert_eq!(health.failed(Failure::Answer, &policy), None);
            assert!(!health.succeeded(), "it was never out");
        }
        health.failed(Failure::Answer, &policy);
        health.failed(Failure::Answer, &policy);
        let third = health.failed(Failure::Answer, &policy);
        assert_eq!(third, Some(Ejected { count: 1, by: Failure::Answer }));
        assert!(health.is_out());
        assert_eq!(health.failed(Failure::Answer, &policy), None, "only one call ejects");
    }

    #[test]
    fn a_refused_connection_counts_at_once() {
        let (health, policy) = (Health::default(), policy());
        assert!(health.failed(Failure::Connection, &policy).is_some());
    }

    #[test]
    fn who_came_back_is_on_probation() {
        let (health, policy) = (Health::default(), policy());
        health.failed(Failure::Connection, &policy);
        health.restore(&policy);
        assert!(!health.is_out());
        let again = health.failed(Failure::Answer, &policy);
        assert_eq!(again, Some(Ejected { count: 2, by: Failure::Answer }));
        health.restore(&policy);
        health.succeeded();
        assert_eq!(health.failed(Failure::Answer, &policy), None, "probation is over");
        assert_eq!(health.ejections(), 2);
        health.forgive();
        assert_eq!(health.ejections(), 0);
    }

    #[test]
    fn a_real_success_brings_back_what_is_out() {
        let (health, policy) = (Health::default(), policy());
        health.failed(Failure::Connection, &policy);
        assert!(health.succeeded());
        assert!(!health.is_out());
    }
}
