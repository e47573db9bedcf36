//! The endpoints that a thread may choose from, by priority, with the share of each priority.
//!
//! Computed from the health records whenever one changed. A priority whose healthy weight, times the
//! service's overprovision percentage, falls below its whole weight leaves the rest to the next one.
//! Draining endpoints are used when no ready one is up; endpoints that are known to be down, when
//! nothing else is left ("desperate"): trying costs nothing that is not lost already.

use isthmus_ir::EndpointState;

use super::{Endpoint, ServiceState};

/// What a thread chooses from.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// By priority; only those with a share.
    pub(crate) levels: Vec<Level>,
    /// Nothing is up, and the levels hold what is known to be down.
    pub(crate) desperate: bool,
}

/// The endpoints of one priority.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Percent of requests.
    pub(crate) share: u32,
    /// Indices into the service's endpoints.
    pub(crate) members: Vec<u32>,
    /// Sums of weights up to and with each member; empty when all weights are equal.
    pub(crate) cumulative: Vec<u64>,
}

impl View {
    /// The view on `service` at this moment.
    pub(crate) fn of(service: &ServiceState) -> Self {
        let in_state = |state| move |e: &Endpoint| e.spec.state == state && e.is_reachable();
        let up = |state| move |e: &Endpoint| in_state(state)(e) && e.is_up();
        for state in [EndpointState::Ready, EndpointState::Draining] {
            let levels = levels(service, in_state(state), up(state));
            if !levels.is_empty() {
                return Self { levels, desperate: false };
            }
        }
        for state in [EndpointState::Ready, EndpointState::Draining] {
            let levels = levels(service, in_state(state), in_state(state));
            if !levels.is_empty() {
                return Self { levels, desperate: true };
            }
        }
        Self { levels: Vec::new(), desperate: !service.endpoints.is_empty() }
    }
}

fn levels(
    service: &ServiceState,
    exists: impl Fn(&Endpoint) -> bool,
    is_up: impl Fn(&Endpoint) -> bool,
) -> Vec<Level> {
    let endpoints = || service.endpoints.iter().enumerate().filter(|(_, e)| exists(e));
    let mut priorities: Vec<u8> = endpoints().map(|(_, e)| e.spec.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let mut left = 100;
    let mut levels = Vec::new();
    for priority in priorities {
        let of_level = || endpoints().filter(|(_, e)| e.spec.priority == priority);
        let whole: u64 = of_level().map(|(_, e)| weight(e)).sum();
        let members: Vec<u32> = of_level()
            .filter(|(_, e)| is_up(e))
            .filter_map(|(index, _)| u32::try_from(index).ok())
            .collect();
        let weights: Vec<u64> = of_level().filter(|(_, e)| is_up(e)).map(|(_, e)| weight(e)).collect();
        let healthy: u64 = weights.iter().sum();
        let share = share_of(healthy, whole, service.spec.overprovision_percent).min(left);
        left -= share;
        if share > 0 {
            levels.push(Level { share, members, cumulative: cumulative(&weights) });
        }
    }
    levels
}

fn weight(endpoint: &Endpoint) -> u64 {
    u64::from(endpoint.spec.weight.max(1))
}

/// The percentage that a priority can take: at least 1 when anything in it is healthy.
fn share_of(healthy: u64, whole: u64, overprovision: u16) -> u32 {
    if healthy == 0 {
        return 0;
    }
    let percent = healthy * u64::from(overprovision.max(100)) / whole.max(1);
    u32::try_from(percent.clamp(1, 100)).unwrap_or(100)
}

fn cumulative(weights: &[u64]) -> Vec<u64> {
    if weights.windows(2).all(|pair| pair.first() == pair.last()) {
        return Vec::new();
    }
    let mut sum = 0;
    weights
        .iter()
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect()
}
