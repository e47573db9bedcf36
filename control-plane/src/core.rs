//! The one task that owns the compiler: takes changes in, and hands on what follows from them.
//!
//! It refreshes at once when it is idle, then at most every 20 ms, so that a burst of edits costs one
//! refresh. It decides nothing: what follows is the compiler's to say, what proxies are told goes to the
//! publisher, and everything else to the [`Surroundings`], which differ between a directory of manifests
//! and a Kubernetes cluster.

mod presence;

use std::time::Duration;

use isthmus_compiler::{Compiler, Fault, Refresh};
use isthmus_world::Change;
use isthmus_xds::server::{self as xds, Proxy, ProxyEvent, Publisher, Reports};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use presence::Presence;

/// The least time between two refreshes.
const PACE: Duration = Duration::from_millis(20);
/// The scope of the east-west gateway.
pub const EAST_WEST: &str = "east-west";

/// What the core is told.
#[derive(Debug)]
pub enum Input<T> {
    /// News of the surroundings' own.
    Told(T),
    /// Changes of the World from elsewhere.
    Changes(Vec<Change>),
    /// What a proxy says.
    Proxy(ProxyEvent),
}

/// Where a core is at home: where objects come from, and where statuses and everything else goes that is
/// not for proxies.
pub trait Surroundings: Send + 'static {
    /// What comes in from them.
    type News: Send;

    /// What `news` means to the World.
    fn told(&mut self, news: Self::News) -> Vec<Change>;

    /// A proxy says something, or is gone.
    fn heard(&mut self, proxy: &Proxy, report: Option<&xds::ProxyReport>);

    /// Something came in, and not everything is known yet. What this means to the World.
    fn waiting(&mut self, compiler: &Compiler) -> Vec<Change> {
        let _ = compiler;
        Vec::new()
    }

    /// Something may be different. `first` once: then `refresh` is all there is, were it nothing. What
    /// follows from it for the World.
    fn refreshed(&mut self, refresh: Refresh, compiler: &Compiler, first: bool) -> Vec<Change>;
}

/// The owner of the compiler.
pub struct Core<S> {
    compiler: Compiler,
    publisher: Publisher,
    surroundings: S,
    presence: Presence,
    refreshed: bool,
    /// Faults that were told of.
    faults: Vec<Fault>,
}

impl<S: Surroundings> Core<S> {
    /// A core whose compiler knows nothing but its settings.
    pub fn new(compiler: Compiler, publisher: Publisher, surroundings: S) -> Self {
        let (presence, refreshed, faults) = (Presence::default(), false, Vec::new());
        Self { compiler, publisher, surroundings, presence, refreshed, faults }
    }

    /// What surrounds it.
    pub fn surroundings(&self) -> &S {
        &self.surroundings
    }

    /// Takes in what is known before it runs. Nothing is published for it yet.
    pub fn prepare(&mut self, first: Vec<Input<S::News>>) {
        for input in first {
            self.take(input);
        }
    }

    /// Runs until `inputs` ends; what surrounded it. Nothing is published while a kind of objects is pending
    /// (case E3).
    pub async fn run(mut self, mut inputs: mpsc::Receiver<Input<S::News>>) -> S {
        let mut dirty = self.refresh();
        let mut last = Instant::now();
        loop {
            let next = self.presence.next();
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(last + PACE), if dirty => {
                    dirty = self.refresh();
                    last = Instant::now();
                }
                () = tokio::time::sleep_until(next.unwrap_or(last)), if next.is_some() => {
                    let changes = self.presence.passed(Instant::now());
                    self.apply(changes);
                    dirty = true;
                }
                input = inputs.recv() => match input {
                    Some(input) => {
                        self.take(input);
                        dirty = true;
                    }
                    None => return self.surroundings,
                },
            }
        }
    }

    fn take(&mut self, input: Input<S::News>) {
        let changes = match input {
            Input::Told(news) => self.surroundings.told(news),
            Input::Changes(changes) => changes,
            Input::Proxy(ProxyEvent { proxy, report }) => {
                self.surroundings.heard(&proxy, report.as_ref());
                self.presence.heard(&proxy, report, Instant::now()).into_iter().collect()
            }
        };
        self.apply(changes);
    }

    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.compiler.apply(change);
        }
    }

    /// Whether more follows.
    fn refresh(&mut self) -> bool {
        let refresh = tokio::task::block_in_place(|| self.compiler.refresh());
        if !self.compiler.world().complete() {
            let changes = self.surroundings.waiting(&self.compiler);
            self.apply(changes);
            return self.compiler.world().complete();
        }
        for (scope, changes) in &refresh.scopes {
            self.publisher.publish(scope, refresh.revision, changes);
        }
        for scope in &refresh.closed {
            self.publisher.retire(scope);
        }
        for reason in &refresh.refused {
            tracing::warn!(reason, "something is left out");
        }
        let faults = self.compiler.faults();
        for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
            tracing::error!(unit = fault.unit, key = fault.key, error = %fault.message,
                "a translation failed, which is an error of isthmus");
        }
        self.faults = faults;
        let first = !std::mem::replace(&mut self.refreshed, true);
        let changes = self.surroundings.refreshed(refresh, &self.compiler, first);
        let more = !changes.is_empty();
        self.apply(changes);
        more
    }
}

/// Hands on what proxies say, for as long as `inputs` is listened to.
pub async fn hear<T>(mut reports: Reports, inputs: mpsc::Sender<Input<T>>) {
    while inputs.send(Input::Proxy(reports.next().await)).await.is_ok() {}
}

/// Tells `told` of `value`, if it is different.
pub(crate) fn tell<T: PartialEq>(told: &watch::Sender<T>, value: T) {
    told.send_if_modified(|known| {
        let changed = *known != value;
        *known = value;
        changed
    });
}
