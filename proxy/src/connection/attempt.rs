//! Where a request goes, how often it is tried, and what that says of the health of endpoints.
//!
//! Tried again, on another endpoint while there is one and else on another backend of the rule:
//! - whatever the method, what provably never reached the workload: a refused connection, a handle that
//!   the gateway does not know, an answer by which a peer's gateway says that it could not get there, a
//!   connection that the endpoint had closed before anything came to it;
//! - idempotent methods (RFC 9110, section 9.2.2), what ended without an answer, ran into the limit of an
//!   attempt, waited for a gateway that is silent, or was answered with a status that the rule names (with
//!   one that the route's author named: all methods).
//!
//! Never: what the client ended, what ran into the limit of the whole request, and what was answered in
//! part. The rule's number of attempts bounds the second kind, and so does the retry budget of the service,
//! except when a gateway is known to be down. The first kind adds no load anywhere and is bounded by
//! [`UNREACHED`]; a rule without retries has none. A pooled connection that dies unused costs nothing.

use std::sync::Arc;

use super::{exchange::Failure, watch::Expired};
use crate::{
    balance::{self, Endpoint, Random, ServiceState, Tried},
    metrics::{ServiceCells, count_class},
    plan::{Backend, Plan},
    snapshot::Snapshot,
    thread::{Pick, Thread},
    upstream::ConnectError,
};

/// Attempts after the first that may be lost to endpoints that were never reached.
const UNREACHED: u8 = 6;

/// A destination for one attempt.
pub(crate) struct Destination<'s> {
    pub(crate) backend: &'s Backend,
    pub(crate) service: &'s Arc<ServiceState>,
    pub(crate) endpoint: &'s Arc<Endpoint>,
}

/// How an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// No connection.
    #[error(transparent)]
    Connect(ConnectError),
    /// No answer. `reused` says that the connection came from the pool, `reached` that anything may have
    /// come to the endpoint.
    #[error("{failure}")]
    Exchange { failure: Failure, reused: bool, reached: bool },
    /// A peer's gateway says that it could not reach the workload.
    #[error("the peer's gateway could not reach the workload")]
    Unreached,
    /// An answer whose status is tried again.
    #[error("the answer's status is {0}")]
    Status(u16),
}

/// The attempts of one request.
pub(crate) struct Attempts {
    tried: Tried,
    /// Attempts that may still follow one whose fate is unknown.
    left: u8,
    /// Attempts that may still follow one that never reached a workload.
    unreached: u8,
    idempotent: bool,
    /// Whether an endpoint may be tried again; then every attempt counts alike.
    explicit: bool,
    /// How many were made after the first.
    pub(crate) retries: u32,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Another attempt, elsewhere; this status when there is nowhere else.
    Elsewhere(u16),
    /// The same endpoint again, by a new connection.
    Same,
    /// No other: the client gets this status.
    GiveUp(u16),
    /// There is nobody to answer.
    Drop,
}

impl Attempts {
    pub(crate) fn new(plan: &Plan, idempotent: bool) -> Self {
        let unreached = if plan.retries > 0 { UNREACHED } else { 0 };
        Self {
            tried: Tried::default(),
            left: plan.retries,
            unreached,
            idempotent,
            explicit: plan.explicit,
            retries: 0,
        }
    }

    /// Chooses where the next attempt goes.
    ///
    /// # Errors
    /// The status that answers when there is nowhere to go.
    pub(crate) fn choose<'s>(
        &mut self,
        thread: &Thread,
        snapshot: &'s Snapshot,
        plan: &'s Plan,
    ) -> Result<Destination<'s>, u16> {
        let first = draw(thread, plan).ok_or(500_u16)?;
        let mut result = self.endpoint_of(thread, snapshot, first, false);
        if matches!(result, Err(Missing::Down)) {
            let others = plan.backends.iter().filter(|b| b.weight > 0 && !std::ptr::eq(*b, first));
            for other in others {
                if let Ok(found) = self.endpoint_of(thread, snapshot, other, false) {
                    result = Ok(found);
                    break;
                }
            }
        }
        if matches!(result, Err(Missing::Down)) && self.explicit {
            // Whoever asked for attempts wants them, also of a service with one endpoint.
            self.tried = Tried::default();
        }
        if matches!(result, Err(Missing::Down)) {
            // All are known to be down; knowing that may be out of date.
            result = self.endpoint_of(thread, snapshot, first, true);
        }
        let destination = result.map_err(|missing| match missing {
            Missing::Invalid => 500_u16,
            Missing::Down | Missing::Empty => 503,
        })?;
        self.tried.push(destination.endpoint.unique);
        Ok(destination)
    }

    fn endpoint_of<'s>(
        &self,
        thread: &Thread,
        snapshot: &'s Snapshot,
        backend: &'s Backend,
        desperate: bool,
    ) -> Result<Destination<'s>, Missing> {
        let slot = backend.service.ok_or(Missing::Invalid)?;
        let service = snapshot.service(slot).ok_or(Missing::Empty)?;
        if let Some(id) = &backend.endpoint {
            let endpoint = service.endpoints.iter().find(|e| e.spec.id == *id).ok_or(Missing::Empty)?;
            return Ok(Destination { backend, service, endpoint });
        }
        match thread.pick(service, &self.tried, desperate) {
            Pick::Endpoint(index) => {
                let endpoint = service.endpoints.get(index).ok_or(Missing::Empty)?;
                Ok(Destination { backend, service, endpoint })
            }
            Pick::Down => Err(Missing::Down),
            Pick::Empty => Err(Missing::Empty),
        }
    }

    /// Takes in a failed attempt: what it says of the endpoint's health, and what comes next.
    pub(crate) fn failed(
        &mut self,
        thread: &Thread,
        destination: &Destination<'_>,
        failed: &Failed,
        rewound: bool,
    ) -> Next {
        judge(thread, destination.endpoint, failed);
        let kind = Kind::of(failed, self.idempotent);
        let status = match kind {
            Kind::Unused if rewound => return Next::Same,
            Kind::Final(next) => return next,
            Kind::Unused => 502,
            Kind::Unreached(status) | Kind::Unknown(status) | Kind::Moved(status) => status,
        };
        let apart = matches!(kind, Kind::Unreached(_)) && !self.explicit;
        let left = if apart { &mut self.unreached } else { &mut self.left };
        if *left == 0 || !rewound {
            return Next::GiveUp(status);
        }
        if matches!(kind, Kind::Unknown(_)) && !thread.allow_retry(destination.service) {
            count(thread, destination.service, |cells| cells.retries_refused.add(1));
            return Next::GiveUp(status);
        }
        *left -= 1;
        self.retries += 1;
        count(thread, destination.service, |cells| cells.retries.add(1));
        Next::Elsewhere(status)
    }

    /// Milliseconds before the next attempt: `base`, twice as long each time, to ten times as long, and
    /// up to a quarter more by chance.
    pub(crate) fn pause(&self, base: u64, random: &Random) -> u64 {
        let doubled = 1_u64 << self.retries.saturating_sub(1).min(4);
        let wait = base.saturating_mul(doubled.min(10));
        wait.saturating_add(random.below(wait / 4 + 1))
    }

    /// Whether an answer may be thrown away for another attempt.
    pub(crate) fn may_retry(&self) -> bool {
        (self.idempotent || self.explicit) && self.left > 0
    }

    /// Takes in an answer.
    pub(crate) fn answered(thread: &Thread, destination: &Destination<'_>, status: u16) {
        let endpoint = destination.endpoint;
        count(thread, destination.service, |cells| count_class(&cells.attempts, status));
        if matches!(status, 502..=504) {
            thread.shared.probes.endpoint_failed(endpoint, balance::Failure::Answer);
        } else {
            endpoint.succeeded();
        }
    }
}

/// What a failure means for another attempt.
#[derive(Clone, Copy)]
enum Kind {
    /// A pooled connection died unused.
    Unused,
    /// It never reached the workload.
    Unreached(u16),
    /// Nobody knows; only for idempotent requests.
    Unknown(u16),
    /// The same, away from a gateway that is down: this adds no load anywhere.
    Moved(u16),
    Final(Next),
}

impl Kind {
    fn of(failed: &Failed, idempotent: bool) -> Self {
        let unknown = |status| {
            if idempotent { Self::Unknown(status) } else { Self::Final(Next::GiveUp(status)) }
        };
        match failed {
            Failed::Connect(_) | Failed::Unreached => Self::Unreached(503),
            Failed::Status(status) => Self::Unknown(*status),
            Failed::Exchange { failure, reused, reached } => match failure {
                Failure::Nothing(_) if *reused && (idempotent || !reached) => Self::Unused,
                Failure::Nothing(_) if !reached => Self::Unreached(502),
                Failure::Nothing(_) | Failure::Partial(_) => unknown(502),
                Failure::Malformed(_) | Failure::Flood => Self::Final(Next::GiveUp(502)),
                Failure::BadBody => Self::Final(Next::GiveUp(400)),
                Failure::ClientGone => Self::Final(Next::Drop),
                Failure::Expired(Expired::Stall) => Self::Final(Next::GiveUp(408)),
                Failure::Expired(Expired::Attempt) => unknown(504),
                Failure::Expired(Expired::Gateway) if idempotent => Self::Moved(504),
                Failure::Expired(Expired::Request | Expired::Gateway) => Self::Final(Next::GiveUp(504)),
            },
        }
    }
}

enum Missing {
    Invalid,
    Down,
    Empty,
}

/// A backend by weight.
fn draw<'s>(thread: &Thread, plan: &'s Plan) -> Option<&'s Backend> {
    if let [only] = &*plan.backends {
        return (only.weight > 0).then_some(only);
    }
    let mut at = thread.random.below(plan.weight);
    plan.backends.iter().find(|backend| {
        let weight = u64::from(backend.weight);
        let here = at < weight;
        at = at.saturating_sub(weight);
        here
    })
}

/// What a failure says of the health of endpoint and gateway.
fn judge(thread: &Thread, endpoint: &Arc<Endpoint>, failed: &Failed) {
    let probes = &thread.shared.probes;
    let connection = || probes.endpoint_failed(endpoint, balance::Failure::Connection);
    match failed {
        Failed::Connect(ConnectError::Gateway(gateway, _)) => probes.gateway_failed(gateway),
        Failed::Connect(ConnectError::NoWay) => {}
        Failed::Connect(_) | Failed::Unreached => connection(),
        Failed::Exchange {
            failure: Failure::Nothing(_) | Failure::Partial(_), reused: false, ..
        } => match endpoint.gateway() {
            Some(gateway) => probes.gateway_failed(gateway),
            None => connection(),
        },
        Failed::Exchange {
            failure: Failure::Malformed(_) | Failure::Flood | Failure::Expired(Expired::Attempt),
            ..
        } => {
            probes.endpoint_failed(endpoint, balance::Failure::Answer);
        }
        Failed::Exchange { .. } | Failed::Status(_) => {}
    }
}

pub(crate) fn count(thread: &Thread, service: &ServiceState, act: impl FnOnce(&ServiceCells)) {
    if let Some(cells) = thread.metrics.services.at(service.slot) {
        act(cells);
    }
}
