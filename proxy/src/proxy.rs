//! A running proxy: its threads, and the control task by which it is told what to serve.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use isthmus_ir::{
    Change, Key, Name, Redacted, Resource,
    matcher::{Bind, Group},
};
use isthmus_xds::{client::Reporter, evidence::Observation, wire::snapshot};

use crate::{
    access_log::AccessLogger,
    balance::Probes,
    config::Committer,
    drain,
    listen::Sockets,
    metrics,
    runtime::{self, Message, Shared},
    settings::Settings,
    snapshot::Snapshot,
    tls::{self, Svid},
};

/// How often a port that was taken is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Keys of listeners are not kept on disk. For so long a proxy that has just started waits for them before it
/// takes requests; then it takes those that need none.
const KEYS: Duration = Duration::from_secs(10);

/// A running proxy. Dropping it ends it at once; [`Proxy::drain`] ends it gracefully.
pub struct Proxy {
    shared: Arc<Shared>,
    control: Arc<Mutex<Control>>,
    started: Instant,
    threads: Vec<JoinHandle<()>>,
    background: Option<tokio::task::JoinHandle<()>>,
}

/// What only one at a time may do.
#[derive(Default)]
struct Control {
    committer: Committer,
    sockets: Sockets,
    /// Where listeners that are not bound are reported between commits.
    reporter: Option<Reporter>,
    /// Something was put in force since it was last kept.
    changed: bool,
    told: Told,
    linked: bool,
}

/// Whence what is in force comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Told {
    #[default]
    Nowhere,
    /// It was kept when the proxy before ended.
    Disk,
    ControlPlane,
}

/// What came of a set of changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Resources that are not in force as they were told, with the reasons.
    pub refused: Vec<(Key, String)>,
    /// Listeners that are not bound, with the operating system's reasons.
    pub unbound: Vec<(Name, String)>,
}

impl Proxy {
    /// Starts the threads and serves `resources`. To be called within a tokio runtime, which runs what is
    /// no request: probes, the access log, retries of ports.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(settings: Settings, resources: Vec<Resource>) -> io::Result<(Self, Applied)> {
        let (probes, queue) = Probes::new();
        let log = settings.access_log.as_ref().map(|_| AccessLogger::new(settings.threads.max(1)));
        let shared = Arc::new(Shared::new(settings, probes.clone(), log));
        let threads = runtime::start(&shared)?;
        let control = Arc::new(Mutex::new(Control::default()));
        let background = tokio::spawn(background(Arc::clone(&shared), Arc::clone(&control), async {
            queue.run(probes).await;
        }));
        let started = Instant::now();
        let proxy = Self { shared, control, started, threads, background: Some(background) };
        let changes = resources.into_iter().map(Change::Upsert).collect();
        let applied = proxy.apply(changes, 0);
        Ok((proxy, applied))
    }

    /// Puts `changes` in force, all at once, and binds listeners, unless nothing is accepted any more.
    pub fn apply(&self, changes: Vec<Change>, revision: u64) -> Applied {
        let mut control = self.control();
        let current = self.shared.current.load();
        let committed = control.committer.commit(&current, changes, revision, &self.shared.metrics);
        drop(current);
        let binds: Vec<Bind> = committed.snapshot.tables.groups().map(Group::bind).collect();
        self.shared.current.swap(committed.snapshot);
        if !self.shared.drain.has_begun() {
            control.sockets.follow(binds.into_iter(), self.shared.threads());
        }
        self.shared.tell_all(|| Message::Refresh);
        self.shared.current.free_retired();
        control.changed = true;
        let told = match control.committer.resources().next() {
            _ if revision > 0 => Told::ControlPlane,
            Some(_) => Told::Disk,
            None => Told::Nowhere,
        };
        control.told = control.told.max(told);
        Applied { refused: committed.refused, unbound: control.unbound() }
    }

    /// Shows this SVID to peers from now on: a chain as DER, leaf first, and its key in PKCS #8.
    ///
    /// # Errors
    /// When the key is not the leaf's.
    pub fn identify(&self, chain: &[Bytes], key: &Redacted<Bytes>) -> Result<(), rustls::Error> {
        let svid = tls::svid(chain, key.expose())?;
        self.show(svid);
        Ok(())
    }

    /// Shows `svid` to peers from now on.
    pub(crate) fn show(&self, svid: Svid) {
        let mut control = self.control();
        let current = self.shared.current.load();
        let next = control.committer.identify(&current, svid);
        self.shared.current.swap(next);
        self.shared.tell_all(|| Message::Refresh);
    }

    /// The address that a listener is bound to.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        let control = self.control();
        let listener = control.committer.listeners().find(|l| l.name.as_str() == listener)?;
        let address = listener.addresses.first().copied();
        control.sockets.address(Bind { address, port: listener.port })
    }

    /// What it was started with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Why it should be sent no requests, if it should not. A listener that is not bound does not keep
    /// requests from the others.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.shared.drain.is_leaving() {
            return Some("draining");
        }
        let control = self.control();
        if control.told == Told::Nowhere {
            return Some("waiting for the control plane");
        }
        if control.told == Told::Disk && self.started.elapsed() < KEYS && control.committer.lacks_keys()
        {
            return Some("waiting for the keys of its listeners");
        }
        let deaf = control.sockets.is_empty() && !control.sockets.failed().is_empty();
        deaf.then_some("no listener is bound")
    }

    /// The counters, as Prometheus reads them.
    pub fn metrics(&self) -> String {
        let snapshot = self.shared.current.load();
        let services = snapshot.services.iter().flatten().map(|service| &**service);
        metrics::render(&self.shared.metrics, services)
    }

    /// Listeners that are not bound, with the operating system's reasons.
    pub fn unbound(&self) -> Vec<(Name, String)> {
        self.control().unbound()
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.current.load()
    }

    /// Shows `visit` every resource in force.
    pub(crate) fn with_resources(&self, visit: impl FnMut(&Resource)) {
        self.control().committer.resources().for_each(visit);
    }

    /// What is in force, as it is kept on disk; none when that did not change since it was last asked.
    pub(crate) fn changed_resources(&self) -> Option<Vec<u8>> {
        let mut control = self.control();
        std::mem::take(&mut control.changed).then(|| snapshot::encode(control.committer.resources()))
    }

    /// Reports listeners that are bound later, or no longer, to `reporter`.
    pub(crate) fn report_to(&self, reporter: Reporter) {
        self.control().reporter = Some(reporter);
    }

    /// What requests have seen of peers since this was last asked.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        let control = self.control();
        let seen = control.committer.peers().filter_map(|peer| {
            let reached = peer.take_reached()?;
            Some(Observation { peer: peer.spec.name.clone(), reached })
        });
        seen.collect()
    }

    /// Whether the stream to the control plane is up.
    pub(crate) fn set_linked(&self, linked: bool) {
        self.control().linked = linked;
    }

    /// Ends gracefully: after the minimum wait there are no new connections, answers end their
    /// connections, and whatever is left at the deadline is dropped. What [`Proxy::apply`] is told meanwhile
    /// is in force: endpoints come and go while a proxy ends, too.
    pub async fn drain(&self) {
        self.shared.drain.leave();
        tokio::time::sleep(self.shared.settings.limits.drain_wait).await;
        {
            // Whoever binds listeners looks at the drain first.
            let mut control = self.control();
            self.shared.drain.begin();
            control.sockets.follow(std::iter::empty(), self.shared.threads());
        }
        let start = Instant::now();
        let deadline = start + self.shared.settings.limits.drain;
        let idle = start + drain::IDLE;
        let mut told = false;
        loop {
            // First, time for the threads to take in who has connected by now.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = Instant::now();
            if self.shared.connections() == 0 || now >= deadline {
                return;
            }
            if now >= idle && !std::mem::replace(&mut told, true) {
                self.shared.drain.close_idle();
                self.shared.tell_all(|| Message::Wake);
            }
        }
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(background) = self.background.take() {
            background.abort();
        }
        self.shared.tell_all(|| Message::Stop);
        for thread in self.threads.drain(..) {
            // A thread that panicked has ended as well.
            drop(thread.join());
        }
    }
}

impl Control {
    fn unbound(&self) -> Vec<(Name, String)> {
        let mut unbound = Vec::new();
        for (bind, error) in self.sockets.failed() {
            for listener in self.committer.listeners() {
                let is_of = listener.port == bind.port
                    && match bind.address {
                        Some(address) => listener.addresses.contains(&address),
                        None => listener.addresses.is_empty(),
                    };
                if is_of {
                    let address = bind.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
                    let address = SocketAddr::new(address, bind.port);
                    unbound.push((listener.name.clone(), format!("{address}: {error}")));
                }
            }
        }
        unbound
    }
}

/// What goes on beside requests.
async fn background(
    shared: Arc<Shared>,
    control: Arc<Mutex<Control>>,
    probes: impl Future<Output = ()>,
) {
    let log = async {
        match (&shared.log, &shared.settings.access_log) {
            (Some(log), Some(target)) => log.write_all(target).await,
            _ => std::future::pending().await,
        }
    };
    let housekeeping = async {
        loop {
            tokio::time::sleep(RETRY).await;
            shared.current.free_retired();
            let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
            if !shared.drain.has_begun() && control.sockets.retry(shared.threads()) {
                let unbound = control.unbound();
                control.reporter.iter().for_each(|reporter| reporter.unbound(unbound.clone()));
            }
        }
    };
    tokio::join!(probes, log, housekeeping);
}
