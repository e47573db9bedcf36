//! What one request thread owns: its snapshot, pools, deadlines and counters. Nothing here is shared.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use crate::{
    access_log::LogBuffer,
    balance::{Budget, Random, ServiceState, View},
    http1::{Edits, RequestHead, ResponseHead},
    metrics::ThreadMetrics,
    runtime::{Mailbox, Shared},
    snapshot::{Held, Local},
    spare::Spares,
    timer::Timers,
    upstream::Pool,
};

/// One request thread.
pub(crate) struct Thread {
    /// Its index.
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) timers: Rc<Timers>,
    pub(crate) metrics: Arc<ThreadMetrics>,
    pub(crate) random: Random,
    pub(crate) pool: Pool,
    pub(crate) log: Option<Arc<LogBuffer>>,
    pub(crate) request_heads: Spares<RequestHead>,
    pub(crate) response_heads: Spares<ResponseHead>,
    pub(crate) edits: Spares<Edits>,
    pub(crate) targets: Spares<Vec<u8>>,
    snapshot: Local,
    services: RefCell<Vec<LocalService>>,
}

/// What one thread keeps of a service.
#[derive(Default)]
struct LocalService {
    /// Of the [`ServiceState`] that the view was computed from, with both epochs.
    seen: (u64, u32, u32),
    view: View,
    turn: u64,
    budget: Budget,
}

/// What a service has to offer.
pub(crate) enum Pick {
    /// An endpoint, by its index.
    Endpoint(usize),
    /// There are endpoints, but all that were not tried are known to be down.
    Down,
    /// There are no endpoints.
    Empty,
}

impl Thread {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, metrics: Arc<ThreadMetrics>) -> Rc<Self> {
        // Keyed at random by the standard library, once a process.
        let seed = RandomState::new().hash_one(index);
        Rc::new(Self {
            index,
            timers: Timers::new(),
            metrics,
            random: Random::new(seed),
            pool: Pool::new(&shared.settings.limits),
            log: shared.log.as_ref().map(|log| log.buffer(index)),
            snapshot: Local::new(&shared.current),
            services: RefCell::default(),
            request_heads: Spares::default(),
            response_heads: Spares::default(),
            edits: Spares::default(),
            targets: Spares::default(),
            shared,
        })
    }

    /// The snapshot in force.
    pub(crate) fn snapshot(&self) -> Rc<Held> {
        self.snapshot.get(&self.shared.current)
    }

    /// Chooses an endpoint of `service`. `desperate` accepts what is known to be down.
    pub(crate) fn pick(
        &self,
        service: &ServiceState,
        tried: &crate::balance::Tried,
        desperate: bool,
    ) -> Pick {
        self.with_service(service, |local| {
            if local.view.levels.is_empty() {
                return if local.view.desperate { Pick::Down } else { Pick::Empty };
            }
            if local.view.desperate && !desperate {
                return Pick::Down;
            }
            let in_flight =
                |index: usize| service.endpoints.get(index).map_or(0, |e| self.pool.in_flight(e));
            local
                .view
                .pick(service, &mut local.turn, &self.random, tried, in_flight)
                .map_or(Pick::Down, |chosen| Pick::Endpoint(chosen.0))
        })
    }

    /// Counts a request in the retry budget of `service`.
    pub(crate) fn count_request(&self, service: &ServiceState) {
        let now = self.timers.now();
        self.with_service(service, |local| local.budget.request(now));
    }

    /// Whether the retry budget of `service` allows one more.
    pub(crate) fn allow_retry(&self, service: &ServiceState) -> bool {
        let now = self.timers.now();
        self.with_service(service, |local| local.budget.allow_retry(now))
    }

    fn with_service<T>(&self, service: &ServiceState, act: impl FnOnce(&mut LocalService) -> T) -> T {
        let mut services = self.services.borrow_mut();
        let slot = service.slot as usize;
        if services.len() <= slot {
            services.resize_with(slot + 1, LocalService::default);
        }
        let mut spare = LocalService::default();
        let local = services.get_mut(slot).unwrap_or(&mut spare);
        let now = (service.build, service.epoch.read(), service.peers_epoch.read());
        if local.seen != now {
            local.view = View::of(service);
            local.seen = now;
        }
        act(local)
    }

    /// Housekeeping, once a second for as long as the thread runs.
    pub(crate) async fn sweep(self: Rc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Lets go of a snapshot that was replaced while no request came.
            drop(self.snapshot());
            self.pool.sweep(self.timers.now());
        }
    }

    /// This thread, as others reach it.
    pub(crate) fn mailbox(&self) -> Option<&Mailbox> {
        self.shared.threads().get(self.index)
    }

    /// How long a client's connection may wait for a request, in milliseconds.
    pub(crate) fn idle_timeout(&self) -> u64 {
        milliseconds(self.shared.settings.limits.idle_timeout)
    }

    /// How long a head may take to arrive, in milliseconds.
    pub(crate) fn header_timeout(&self) -> u64 {
        milliseconds(self.shared.settings.limits.header_timeout)
    }

    /// How long a TLS handshake may take, in milliseconds.
    pub(crate) fn handshake_timeout(&self) -> u64 {
        milliseconds(self.shared.settings.limits.handshake_timeout)
    }

    /// How long a tunnel may be silent, in milliseconds.
    pub(crate) fn tunnel_idle(&self) -> u64 {
        milliseconds(self.shared.settings.limits.tunnel_idle)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
