//! The one task that owns the compiler: takes changes in, and hands on what follows from them.
//!
//! It refreshes at once when it is idle, then at most every 20 ms, so that a burst of edits costs one
//! refresh. It decides nothing: what follows is the compiler's to say, where it goes is written here.

mod objects;
mod ready;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use isthmus_compiler::{Compiler, ExportChange, ImportChange, Refresh, StatusChange};
use isthmus_east_west::{handle::HandleKey, names::is_of_name};
use isthmus_ir::{Change as IrChange, Name, Resource, SpiffeId};
use isthmus_world::{
    Change, Kind, KindState,
    fact::{MeshSettings, ProxyReport},
};
use isthmus_xds::server::{Proxy, ProxyEvent, Publisher, Role};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

pub use self::ready::Readiness;
use self::{objects::change, ready::readiness};
use crate::{
    files::{kinds::ObjectId, set::Edit},
    instance::NameSink,
    settings::Settings,
    state_dir::Journal,
    store::{StatusRecord, Store},
    supervisor::{Supervisor, Tuning},
    tokens::Bearer,
};

/// The least time between two refreshes.
const PACE: Duration = Duration::from_millis(20);
/// The scope of the east-west gateway.
pub const EAST_WEST: &str = "east-west";

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// Edits of objects of this cluster.
    Edits(Vec<Edit>),
    /// Changes of the World from elsewhere.
    Changes(Vec<Change>),
    /// What a proxy says.
    Proxy(ProxyEvent),
}

/// What the core tells others.
pub struct Outputs {
    /// What proxies are told.
    pub publisher: Publisher,
    /// Which proxies there are.
    pub supervisor: Supervisor,
    /// What people see.
    pub store: Arc<RwLock<Store>>,
    /// Where statuses are remembered.
    pub statuses: Journal,
    /// What peers are to know.
    pub news: mpsc::UnboundedSender<News>,
    /// What is answered to whoever asks for names of the ClusterSet.
    pub names: NameSink,
}

/// What follows for peers.
#[derive(Clone, Debug)]
pub enum News {
    /// This cluster exports something else.
    Exports(Vec<ExportChange>),
    /// It is to be something else.
    Settings(Settings),
}

/// The owner of the compiler.
pub struct Core {
    compiler: Compiler,
    settings: Settings,
    federation: Option<std::net::SocketAddr>,
    outputs: Outputs,
    /// Scopes that have something to listen on.
    serving: BTreeSet<Name>,
    /// Scopes that a proxy has put in force.
    acked: BTreeSet<Name>,
    /// What the east-west gateway cannot listen on.
    unbound: BTreeMap<Name, String>,
    refreshed: bool,
    ready: watch::Sender<Option<Readiness>>,
    /// Why the east-west gateway cannot listen.
    closed: watch::Sender<Option<String>>,
}

impl Core {
    /// A core that knows its settings; nothing is published before [`Core::run`] has the first edits.
    pub fn new(
        settings: Settings,
        federation: Option<std::net::SocketAddr>,
        handles: HandleKey,
        roots: Vec<bytes::Bytes>,
        outputs: Outputs,
    ) -> Self {
        let mut compiler = Compiler::new(settings.mesh(federation), handles);
        compiler.apply(Change::Roots(roots));
        outputs.supervisor.tune(tuning(&settings));
        Self {
            compiler,
            settings,
            federation,
            outputs,
            serving: BTreeSet::new(),
            acked: BTreeSet::new(),
            unbound: BTreeMap::new(),
            refreshed: false,
            ready: watch::Sender::new(None),
            closed: watch::Sender::new(None),
        }
    }

    /// Tells when every accepted Gateway is programmed, or says why it cannot be.
    pub fn ready(&self) -> watch::Receiver<Option<Readiness>> {
        self.ready.subscribe()
    }

    /// Tells why the east-west gateway cannot listen, while it cannot.
    pub fn closed(&self) -> watch::Receiver<Option<String>> {
        self.closed.subscribe()
    }

    /// Runs until `inputs` ends; what is left to be ended.
    ///
    /// `first` are all objects as far as they are known at the start: nothing is published without them
    /// (case E3).
    pub async fn run(mut self, first: Vec<Input>, mut inputs: mpsc::Receiver<Input>) -> Supervisor {
        for input in first {
            self.take(input);
        }
        for kind in Kind::ALL {
            self.compiler.apply(Change::Kind { kind, state: KindState::Synced });
        }
        self.refresh();
        let mut gone = Vec::new();
        self.store(|store| gone = store.prune());
        self.remember(&gone);
        self.outputs.supervisor.end_strays().await;
        let (mut last, mut dirty) = (Instant::now(), false);
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(last + PACE), if dirty => {
                    self.refresh();
                    (last, dirty) = (Instant::now(), false);
                }
                input = inputs.recv() => match input {
                    Some(input) => {
                        self.take(input);
                        dirty = true;
                    }
                    None => return self.outputs.supervisor,
                },
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Edits(edits) => edits.iter().for_each(|edit| self.edit(edit)),
            Input::Changes(changes) => {
                for change in changes {
                    self.compiler.apply(change);
                }
            }
            Input::Proxy(ProxyEvent { proxy, report }) => self.heard(&proxy, report),
        }
    }

    fn edit(&mut self, edit: &Edit) {
        self.store(|store| store.edit(edit));
        let (Edit::Upsert(id, _) | Edit::Delete(id) | Edit::Problem { id, .. }) = edit;
        if id.group == isthmus_crds::GROUP {
            self.own(id, edit);
        } else if let Some(change) = change(edit) {
            self.compiler.apply(change);
        }
    }

    /// An object of our own group.
    fn own(&mut self, id: &ObjectId, edit: &Edit) {
        match (id.kind.as_str(), edit) {
            ("MeshInstall", Edit::Upsert(_, object)) => match Settings::of(Some(object)) {
                Ok(settings) => self.settle(settings),
                Err(error) => {
                    tracing::error!(object = %id, error = &error as &dyn std::error::Error,
                        "mesh install refused, the settings before it stand");
                }
            },
            ("MeshInstall", Edit::Delete(_)) => {
                tracing::warn!(object = %id, "mesh install is gone, its settings stand until a restart");
            }
            _ => {}
        }
    }

    fn settle(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        if (&settings.cluster, &settings.trust_domain)
            != (&self.settings.cluster, &self.settings.trust_domain)
        {
            tracing::error!(cluster = %settings.cluster, trust_domain = %settings.trust_domain,
                "a cluster cannot become another one, the settings before stand");
            return;
        }
        self.outputs.supervisor.tune(tuning(&settings));
        self.outputs.names.address.send_replace(settings.dns);
        self.settings = settings;
        let mesh: MeshSettings = self.settings.mesh(self.federation);
        self.compiler.apply(Change::Settings(mesh));
        self.tell(News::Settings(self.settings.clone()));
    }

    fn heard(&mut self, proxy: &Proxy, report: Option<isthmus_xds::server::ProxyReport>) {
        if report.as_ref().is_some_and(|report| report.revision > 0) {
            self.acked.insert(proxy.scope.clone());
        }
        if let Some(report) = report.as_ref().filter(|_| proxy.scope.as_str() == EAST_WEST) {
            self.complain(&report.unbound);
        }
        let revision = report.as_ref().map(|report| report.revision);
        self.store(|store| store.set_acked(proxy.id.as_str(), revision));
        let report = report.map(|report| ProxyReport {
            revision: report.revision,
            refused: report.refused,
            unbound: report.unbound,
        });
        let (scope, proxy) = (proxy.scope.clone(), proxy.id.as_str().into());
        self.compiler.apply(Change::Proxy { scope, proxy, report });
    }

    /// Tells once of what the east-west gateway cannot listen on, which is in no object's status.
    fn complain(&mut self, unbound: &BTreeMap<Name, String>) {
        for (listener, why) in unbound.iter().filter(|(name, _)| !self.unbound.contains_key(*name)) {
            tracing::error!(%listener, error = why, "the east-west gateway cannot listen, and tries again");
        }
        let closed = unbound.iter().find(|(listener, _)| !is_of_name(listener));
        self.closed.send_replace(closed.map(|(_, why)| why.clone()));
        self.unbound.clone_from(unbound);
    }

    fn refresh(&mut self) {
        let refresh = tokio::task::block_in_place(|| self.compiler.refresh());
        for (scope, changes) in &refresh.scopes {
            self.outputs.publisher.publish(scope, refresh.revision, changes);
            self.serve(scope, changes);
        }
        for scope in &refresh.closed {
            self.outputs.publisher.retire(scope);
            self.outputs.supervisor.unwant(scope);
            self.serving.remove(scope);
            self.acked.remove(scope);
        }
        self.show(&refresh);
        // The first ones are all of them, and none is news too.
        let first = !std::mem::replace(&mut self.refreshed, true);
        if first || refresh.names.is_some() {
            self.name();
        }
        for reason in &refresh.refused {
            tracing::warn!(reason, "something is left out");
        }
        for fault in self.compiler.faults() {
            tracing::error!(unit = fault.unit, key = fault.key, error = %fault.message,
                "a translation failed, which is an error of isthmus");
        }
        if first || !refresh.exports.is_empty() {
            self.tell(News::Exports(refresh.exports));
        }
        self.look_ready();
    }

    /// Answers by the names that there are now.
    fn name(&self) {
        for (object, port) in self.compiler.unnamed() {
            tracing::warn!(%object, port, "no port is left to reach it by name");
        }
        self.outputs.names.table.store(Some(self.compiler.names()));
    }

    fn tell(&self, news: News) {
        // Nobody listens when the instance ends.
        let _ = self.outputs.news.send(news);
    }

    /// Starts the proxy of a scope once it has something to listen on.
    fn serve(&mut self, scope: &Name, changes: &[IrChange]) {
        let listener = |change: &IrChange| matches!(change, IrChange::Upsert(Resource::Listener(_)));
        if self.serving.contains(scope) || !changes.iter().any(listener) {
            return;
        }
        if let Some(bearer) = bearer(scope, &self.settings) {
            self.serving.insert(scope.clone());
            self.outputs.supervisor.want(bearer);
        }
    }

    fn show(&mut self, refresh: &Refresh) {
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default();
        let mut records = Vec::new();
        self.store(|store| {
            for StatusChange { kind, object, status } in &refresh.statuses {
                let id = objects::id(*kind, object);
                records.extend(store.set_status(id, status.clone(), &now));
            }
            for import in &refresh.imports {
                match import {
                    ImportChange::Upsert(import) => {
                        let (id, object, status) = objects::import(import, &[]);
                        store.put(id.clone(), object);
                        records.extend(store.set_status(id, status, &now));
                    }
                    ImportChange::Remove(object) => {
                        records.extend(store.remove(&objects::import_id(object)));
                    }
                }
            }
        });
        self.remember(&records);
    }

    fn remember(&mut self, records: &[StatusRecord]) {
        let Outputs { statuses, store, .. } = &mut self.outputs;
        let store = store.read().unwrap_or_else(PoisonError::into_inner);
        let written = statuses.append(records);
        let live = store.status_count();
        if let Err(error) = written.and_then(|()| statuses.compact(live, || store.records())) {
            tracing::error!(%error, "cannot write a state file");
        }
    }

    fn look_ready(&self) {
        let store = self.outputs.store.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = self
            .serving
            .iter()
            .find(|scope| scope.as_str() == EAST_WEST && !self.acked.contains(*scope));
        let ready = readiness(&store).filter(|_| waiting.is_none());
        drop(store);
        self.ready.send_if_modified(|known| {
            let changed = *known != ready;
            *known = ready;
            changed
        });
    }

    fn store(&self, edit: impl FnOnce(&mut Store)) {
        edit(&mut self.outputs.store.write().unwrap_or_else(PoisonError::into_inner));
    }
}

fn tuning(settings: &Settings) -> Tuning {
    Tuning { threads: settings.threads, access_log: settings.access_log }
}

/// Who the proxy of a scope is.
fn bearer(scope: &Name, settings: &Settings) -> Option<Bearer> {
    if scope.as_str() == EAST_WEST {
        let proxy = Proxy { id: scope.clone(), scope: scope.clone(), role: Role::EastWest };
        return Some(Bearer { proxy, identity: settings.identity("east-west")? });
    }
    let (namespace, name) = scope.as_str().strip_prefix("gateway/")?.split_once('/')?;
    let identity = SpiffeId::new(&settings.trust_domain, &format!("/ns/{namespace}/sa/{name}")).ok()?;
    let id = format!("{namespace}.{name}").into();
    Some(Bearer { proxy: Proxy { id, scope: scope.clone(), role: Role::Ingress }, identity })
}
