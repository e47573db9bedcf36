//! Proxies as processes of this machine: started when a scope has something to serve, started again when
//! they die, drained when they are no longer wanted.
//!
//! A proxy outlives a control plane that dies (design, invariant 1): it goes on serving what it was told.
//! The next control plane on the same state directory finds it by what was written down when it was
//! started, and takes it over. A control plane that ends as asked takes its proxies with it.

mod backoff;
mod process;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use isthmus_ir::Name;
use isthmus_xds::server::Role;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use self::{
    backoff::Backoff,
    process::{Running, Spec},
};
use crate::{
    state_dir::StateDir,
    tokens::{Bearer, Tokens},
};

/// How long a proxy may take to drain before it is killed.
const DRAIN: Duration = Duration::from_secs(10);

/// What every proxy is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The program.
    pub program: PathBuf,
    /// Where proxies reach this control plane.
    pub control: PathBuf,
    /// Where proxies keep what they keep.
    pub state: Arc<StateDir>,
    /// Where tokens are admitted.
    pub tokens: Tokens,
}

/// What may change between two starts of a proxy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tuning {
    /// Threads; the proxy's own default when not given.
    pub threads: Option<u16>,
    /// Whether requests are logged.
    pub access_log: bool,
}

/// A proxy, as `isthmus get proxies` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Process {
    /// Its id.
    pub name: Name,
    /// `ingress` or `east-west`.
    pub role: &'static str,
    /// What it serves.
    pub scope: Name,
    /// Its process id while it runs.
    pub pid: Option<u32>,
    /// Its admin socket.
    pub admin: PathBuf,
    /// How often it was started again.
    pub restarts: u32,
    /// How its last run ended.
    #[serde(rename = "lastExit")]
    pub last_exit: Option<String>,
}

/// What proxies are asked to do, in order of haste.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Order {
    Run,
    Drain,
    Die,
}

/// Keeps proxies running.
pub struct Supervisor {
    config: Config,
    tuning: watch::Sender<Tuning>,
    wanted: BTreeMap<Name, watch::Sender<Order>>,
    processes: Processes,
    keepers: JoinSet<()>,
}

/// All proxies, for whoever wants to know. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Processes(Arc<watch::Sender<BTreeMap<Name, Process>>>);

impl Processes {
    /// All proxies now.
    pub fn list(&self) -> Vec<Process> {
        self.0.borrow().values().cloned().collect()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<Name, Process>> {
        self.0.subscribe()
    }

    fn edit(&self, name: &Name, edit: impl FnOnce(&mut Process)) {
        self.0.send_modify(|all| {
            if let Some(process) = all.get_mut(name) {
                edit(process);
            }
        });
    }
}

impl Supervisor {
    /// No proxies yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            tuning: watch::Sender::new(Tuning::default()),
            wanted: BTreeMap::new(),
            processes: Processes(Arc::new(watch::Sender::new(BTreeMap::new()))),
            keepers: JoinSet::new(),
        }
    }

    /// All proxies.
    pub fn processes(&self) -> Processes {
        self.processes.clone()
    }

    /// What proxies are started with from now on.
    pub fn tune(&self, tuning: Tuning) {
        self.tuning.send_replace(tuning);
    }

    /// Ends what an earlier control plane left running and [`Supervisor::want`] has not asked for.
    pub fn end_strays(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.config.state.path("p")) else { return };
        for entry in entries.flatten() {
            let directory = entry.path();
            let spec = Spec::recorded(&directory);
            if let Some(spec) = spec.filter(|spec| !self.wanted.contains_key(&spec.bearer.proxy.scope))
                && let Some(mut running) = Running::adopt(&directory, &spec)
            {
                let pid = running.pid();
                tracing::info!(proxy = %spec.bearer.proxy.id, pid, "ending a proxy that nothing asks for");
                self.keepers.spawn(async move {
                    drain(&mut running, &mut watch::Sender::new(Order::Drain).subscribe()).await;
                });
            }
        }
    }

    /// Runs a proxy for `bearer`; nothing happens when there is one.
    pub fn want(&mut self, bearer: Bearer) {
        let scope = bearer.proxy.scope.clone();
        if self.wanted.contains_key(&scope) {
            return;
        }
        let directory = format!("p/{}", short(&scope));
        let process = Process {
            name: bearer.proxy.id.clone(),
            role: role(bearer.proxy.role),
            scope: scope.clone(),
            pid: None,
            admin: self.config.state.path(&directory).join("admin.sock"),
            restarts: 0,
            last_exit: None,
        };
        self.processes.0.send_modify(|all| drop(all.insert(process.name.clone(), process)));
        let (order, orders) = watch::channel(Order::Run);
        self.wanted.insert(scope, order);
        let keeper = Keeper {
            config: self.config.clone(),
            tuning: self.tuning.subscribe(),
            processes: self.processes.clone(),
            spec: Spec::new(bearer),
            directory,
            orders,
        };
        self.keepers.spawn(keeper.keep());
    }

    /// Drains the proxy of `scope`.
    pub fn unwant(&mut self, scope: &Name) {
        if let Some(order) = self.wanted.remove(scope) {
            order.send_replace(Order::Drain);
        }
        while self.keepers.try_join_next().is_some() {}
    }

    /// Drains all proxies; ends them at once when `hurry` is ready.
    pub async fn stop(mut self, hurry: impl Future<Output = ()>) {
        for order in self.wanted.values() {
            order.send_replace(Order::Drain);
        }
        tokio::select! {
            () = async { while self.keepers.join_next().await.is_some() {} } => return,
            () = hurry => {}
        }
        for order in self.wanted.values() {
            order.send_replace(Order::Die);
        }
        while self.keepers.join_next().await.is_some() {}
    }
}

/// Keeps one proxy running.
struct Keeper {
    config: Config,
    tuning: watch::Receiver<Tuning>,
    processes: Processes,
    spec: Spec,
    directory: String,
    orders: watch::Receiver<Order>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut backoff = Backoff::default();
        let name = self.spec.bearer.proxy.id.clone();
        let mut survivor = self.adopt();
        while *self.orders.borrow() == Order::Run {
            let started = Instant::now();
            let running = match survivor.take() {
                Some(running) => Ok(running),
                None => self.start(),
            };
            let ended = match running {
                Ok(running) => self.attend(running).await,
                Err(error) => Some(format!("it could not be started: {error}")),
            };
            self.config.tokens.revoke(&name);
            let Some(ended) = ended else { break };
            let delay = backoff.after(started.elapsed());
            tracing::warn!(proxy = %name, reason = ended, ?delay, "proxy ended, starting it again");
            self.processes.edit(&name, |process| {
                process.last_exit = Some(ended);
                process.restarts += 1;
            });
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = self.orders.wait_for(|order| *order != Order::Run) => {}
            }
        }
        self.processes.0.send_modify(|all| drop(all.remove(&name)));
    }

    /// The proxy that an earlier control plane started, if it still runs.
    fn adopt(&mut self) -> Option<Running> {
        let directory = self.config.state.path(&self.directory);
        let recorded = Spec::recorded(&directory)?;
        if recorded.bearer != self.spec.bearer {
            return None;
        }
        let running = Running::adopt(&directory, &recorded)?;
        let pid = running.pid();
        tracing::info!(proxy = %recorded.bearer.proxy.id, pid, "took over a running proxy");
        self.config.tokens.admit(&recorded.token, recorded.bearer.clone());
        Some(running)
    }

    fn start(&mut self) -> std::io::Result<Running> {
        let directory = self.config.state.directory(&self.directory)?;
        let token = self.config.tokens.make(self.spec.bearer.clone());
        let token = token.map_err(|error| std::io::Error::other(error.to_string()))?;
        self.spec.token.clone_from(token.expose());
        let tuning = self.tuning.borrow_and_update().clone();
        Running::start(&self.config, &self.spec, &tuning, &directory)
    }

    /// Waits until the proxy ends; how it did, unless it was asked to.
    async fn attend(&mut self, mut running: Running) -> Option<String> {
        let name = &self.spec.bearer.proxy.id;
        self.processes.edit(name, |process| process.pid = Some(running.pid()));
        let ended = tokio::select! {
            ended = running.ended() => Some(ended),
            _ = self.orders.wait_for(|order| *order != Order::Run) => None,
        };
        if ended.is_none() {
            drain(&mut running, &mut self.orders).await;
        }
        self.processes.edit(name, |process| process.pid = None);
        process::forget(&self.config.state.path(&self.directory));
        ended
    }
}

/// Asks a proxy to end, and makes it when it takes too long or `orders` has no patience.
async fn drain(running: &mut Running, orders: &mut watch::Receiver<Order>) {
    running.terminate();
    tokio::select! {
        _ = running.ended() => return,
        () = impatience(orders) => {}
        () = tokio::time::sleep(DRAIN) => {
            tracing::warn!(pid = running.pid(), "proxy did not drain in time and is killed");
        }
    }
    running.kill();
    running.ended().await;
}

/// Ready when the order is to die; one whose giver is gone is not.
async fn impatience(orders: &mut watch::Receiver<Order>) {
    if orders.wait_for(|order| *order == Order::Die).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Ingress => "ingress",
        Role::EastWest => "east-west",
        Role::Sidecar => "sidecar",
    }
}

/// A short name for the directory of a scope: paths of sockets must be short.
fn short(scope: &Name) -> String {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(scope.as_str()).into();
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests;
