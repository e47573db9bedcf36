//! How many requests to a service may be tried again: a fifth of those of the last ten seconds, and a
//! floor, so that a service that fails as a whole is not sent a multiple of its load (cases.md C13).
//!
//! Not counted are attempts that provably never reached a workload, and those moved away from a gateway
//! address that is known to be down: they add no load anywhere. Each thread keeps its own; the floor is
//! each thread's too.

const SECONDS: usize = 10;
/// Retries for each request, in percent.
const PERCENT: u32 = 20;
/// Retries a second that are always allowed.
const FLOOR: u32 = 10;

/// The retry budget of one service on one thread.
#[derive(Default)]
pub(crate) struct Budget {
    requests: [u32; SECONDS],
    retries: [u32; SECONDS],
    /// The second that was written last.
    second: u64,
}

impl Budget {
    /// Counts a request at `now`, in milliseconds.
    pub(crate) fn request(&mut self, now: u64) {
        let at = self.slot(now);
        if let Some(count) = self.requests.get_mut(at) {
            *count += 1;
        }
    }

    /// Whether one more may be tried again; counts it when so.
    pub(crate) fn allow_retry(&mut self, now: u64) -> bool {
        let at = self.slot(now);
        let requests: u32 = self.requests.iter().sum();
        let retries: u32 = self.retries.iter().sum();
        let seconds = u32::try_from(SECONDS).unwrap_or(u32::MAX);
        let allowed = u64::from(requests) * u64::from(PERCENT) / 100 + u64::from(FLOOR * seconds);
        let allow = u64::from(retries) < allowed;
        if allow && let Some(count) = self.retries.get_mut(at) {
            *count += 1;
        }
        allow
    }

    fn slot(&mut self, now: u64) -> usize {
        let second = now / 1000;
        let passed = usize::try_from(second.saturating_sub(self.second)).unwrap_or(SECONDS);
        for step in 1..=passed.min(SECONDS) {
            let at = index(self.second + step as u64);
            for counts in [&mut self.requests, &mut self.retries] {
                if let Some(count) = counts.get_mut(at) {
                    *count = 0;
                }
            }
        }
        self.second = self.second.max(second);
        index(self.second)
    }
}

fn index(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Budget, FLOOR, SECONDS};

    fn allowed_after(requests: u32, at: u64) -> u32 {
        let mut budget = Budget::default();
        for _ in 0..requests {
            budget.request(1_000);
        }
        u32::try_from((0..100_000).take_while(|_| budget.allow_retry(at)).count()).unwrap()
    }

    #[test]
    fn c13_a_fifth_of_the_requests_and_a_floor_may_be_tried_again() {
        let floor = FLOOR * u32::try_from(SECONDS).unwrap();
        assert_eq!(allowed_after(0, 1_000), floor);
        assert_eq!(allowed_after(1_000, 1_500), 200 + floor);
        assert_eq!(allowed_after(1_000, 10_999), 200 + floor, "still within ten seconds");
        assert_eq!(allowed_after(1_000, 11_000), floor, "requests of long ago do not count");
    }
}
