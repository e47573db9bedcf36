//! Services, endpoints and peers as the tables hold them: what was told, with what was learned.
//!
//! A commit builds these anew from the resources that changed and keeps the health records of endpoints
//! that stay, found by service and endpoint id, and of gateway addresses that stay.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use isthmus_ir::{self as ir, HealthPolicy, Name, Reach};

use super::Health;

/// Moves whenever a health record of a set changes, so that threads compute their views anew.
#[derive(Clone, Default)]
pub(crate) struct Epoch(Arc<AtomicU32>);

impl Epoch {
    /// The current number.
    pub(crate) fn read(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Says that something changed.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// One service with its endpoints.
pub(crate) struct ServiceState {
    pub(crate) spec: Arc<ir::Service>,
    /// Its number in metrics and in threads' lists, the same for the life of the process.
    pub(crate) slot: u32,
    /// Differs between any two builds, so that threads notice a new one.
    pub(crate) build: u64,
    pub(crate) endpoints: Box<[Arc<Endpoint>]>,
    /// Of its endpoints' records.
    pub(crate) epoch: Epoch,
    /// Of all gateway addresses.
    pub(crate) peers_epoch: Epoch,
}

/// One endpoint of one service.
pub(crate) struct Endpoint {
    pub(crate) spec: ir::Endpoint,
    /// The service that it belongs to.
    pub(crate) service: Name,
    pub(crate) slot: Arc<Slot>,
    /// Never used again.
    pub(crate) unique: u64,
    pub(crate) health: Arc<Health>,
    pub(crate) policy: HealthPolicy,
    pub(crate) epoch: Epoch,
    pub(crate) way: Way,
}

/// An endpoint's number in threads' lists; used again for another endpoint when it is dropped.
pub(crate) struct Slot {
    number: u32,
    free: Arc<Mutex<Vec<u32>>>,
}

impl Slot {
    /// The slot of this number, which goes to `free` in the end.
    pub(crate) fn new(number: u32, free: &Arc<Mutex<Vec<u32>>>) -> Self {
        Self { number, free: Arc::clone(free) }
    }

    /// The number.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
    }
}

/// The way to an endpoint.
pub(crate) enum Way {
    /// Straight, to the first address that answers.
    Direct(Box<[SocketAddr]>),
    /// Through a gateway of a peer. None: the proxy was not told of the peer.
    Peer(Option<Arc<Peer>>),
}

/// A peer and the gateways that lead into it.
pub(crate) struct Peer {
    pub(crate) spec: Arc<ir::Peer>,
    pub(crate) gateways: Box<[Arc<Gateway>]>,
}

/// One gateway address of a peer.
pub(crate) struct Gateway {
    pub(crate) peer: Name,
    pub(crate) address: SocketAddr,
    pub(crate) health: Health,
    pub(crate) epoch: Epoch,
    /// Whether a probe of it is under way because requests wait for it in silence.
    pub(crate) suspected: AtomicBool,
    /// Whether anything was answered through it since that was last asked.
    pub(crate) answered: AtomicBool,
}

impl Endpoint {
    /// Whether a request may go there now.
    pub(crate) fn is_up(&self) -> bool {
        !self.health.is_out() && self.is_reachable() && self.has_open_gateway()
    }

    /// Whether there is any way to it, whatever this proxy has seen of it.
    pub(crate) fn is_reachable(&self) -> bool {
        match &self.way {
            Way::Direct(addresses) => !addresses.is_empty(),
            Way::Peer(Some(peer)) => peer.spec.usable && !peer.gateways.is_empty(),
            Way::Peer(None) => false,
        }
    }

    /// It gave a good answer.
    pub(crate) fn succeeded(&self) {
        if self.health.succeeded() {
            self.epoch.advance();
        }
    }

    fn has_open_gateway(&self) -> bool {
        match &self.way {
            Way::Peer(Some(peer)) => peer.gateways.iter().any(|g| !g.health.is_out()),
            Way::Direct(_) | Way::Peer(None) => true,
        }
    }

    /// The gateway to go through: the first that is up, else the first.
    pub(crate) fn gateway(&self) -> Option<&Arc<Gateway>> {
        let Way::Peer(Some(peer)) = &self.way else { return None };
        peer.gateways.iter().find(|g| !g.health.is_out()).or_else(|| peer.gateways.first())
    }

    /// The handle by which the peer's gateway knows it.
    pub(crate) fn handle(&self) -> Option<&Name> {
        match &self.spec.reach {
            Reach::Peer { handle, .. } => Some(handle),
            Reach::Direct { .. } => None,
        }
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.address, self.peer)
    }
}

impl Peer {
    /// Whether its gateways answer, as requests have seen since this was last asked: through one of them,
    /// or through none. None when nothing went there.
    pub(crate) fn take_reached(&self) -> Option<bool> {
        let answered = self.gateways.iter().filter(|g| g.answered.swap(false, Relaxed)).count() > 0;
        let silent = !self.gateways.is_empty() && self.gateways.iter().all(|g| g.health.is_out());
        (answered || silent).then_some(answered)
    }
}

impl Gateway {
    /// Something was answered through it.
    pub(crate) fn succeeded(&self) {
        // Read by every request, written once in a while.
        if !self.answered.load(Relaxed) {
            self.answered.store(true, Relaxed);
        }
        if self.health.succeeded() {
            self.epoch.advance();
        }
    }

    /// When a gateway address counts as down, and how it is probed: fixed, so that the bound on a
    /// takeover holds whatever users set for their services.
    pub(crate) fn policy() -> HealthPolicy {
        HealthPolicy { consecutive_failures: 1, ..HealthPolicy::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Failure;

    fn gateway() -> Arc<Gateway> {
        Arc::new(Gateway {
            peer: "west".into(),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            health: Health::default(),
            epoch: Epoch::default(),
            suspected: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        })
    }

    #[test]
    fn a_peer_is_reached_through_any_gateway_and_lost_with_all() {
        let spec = ir::Peer {
            name: "west".into(),
            trust_domain: "west.example".parse().unwrap(),
            gateways: Vec::new(),
            usable: true,
        };
        let peer = Peer { spec: Arc::new(spec), gateways: [gateway(), gateway()].into() };
        let fail = |gateway: &Gateway| {
            let _ = gateway.health.failed(Failure::Connection, &Gateway::policy());
        };
        assert_eq!(peer.take_reached(), None, "nothing went there");
        fail(&peer.gateways[0]);
        assert_eq!(peer.take_reached(), None, "there is another one");
        peer.gateways[1].succeeded();
        assert_eq!((peer.take_reached(), peer.take_reached()), (Some(true), None));
        fail(&peer.gateways[1]);
        assert_eq!((peer.take_reached(), peer.take_reached()), (Some(false), Some(false)));
    }
}
