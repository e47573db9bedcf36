//! What surrounds the core of `isthmus run`: objects from files, statuses that people look at through the
//! control socket, proxies that are processes of this machine, peers, and names.
//!
//! Decides nothing but which proxies run: one for each scope that has something to listen on.

mod objects;
mod ready;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use isthmus_compiler::{Compiler, ExportChange, ImportChange, Refresh, StatusChange, gateway_of};
use isthmus_east_west::names::is_of_name;
use isthmus_ir::{Change as IrChange, Name, ObjectRef, Resource, SpiffeId};
use isthmus_world::Change;
use isthmus_xds::server::{Proxy, ProxyReport, Role};
use tokio::sync::{mpsc, watch};

pub use self::ready::Readiness;
use self::{objects::change, ready::readiness};
use super::NameSink;
use crate::{
    core::{EAST_WEST, Surroundings, tell},
    files::{kinds::ObjectId, set::Edit},
    settings::Settings,
    state_dir::Journal,
    store::{StatusRecord, Store, conditions},
    supervisor::{Supervisor, Tuning},
    tokens::Bearer,
};

/// What is told of.
pub(super) struct Outputs {
    /// Which proxies there are.
    pub(super) supervisor: Supervisor,
    /// What people see.
    pub(super) store: Arc<RwLock<Store>>,
    /// Where statuses are remembered.
    pub(super) statuses: Journal,
    /// What peers are to know.
    pub(super) news: mpsc::UnboundedSender<News>,
    /// What is answered to whoever asks for names of the ClusterSet.
    pub(super) names: NameSink,
}

/// What follows for peers.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// This cluster exports something else.
    Exports(Vec<ExportChange>),
    /// It is to be something else.
    Settings(Settings),
}

/// This machine.
pub(super) struct Machine {
    settings: Settings,
    federation: Option<SocketAddr>,
    outputs: Outputs,
    /// Scopes that have something to listen on.
    serving: BTreeSet<Name>,
    /// Scopes that a proxy has put in force.
    acked: BTreeSet<Name>,
    /// What the east-west gateway cannot listen on.
    unbound: BTreeMap<Name, String>,
    ready: watch::Sender<Option<Readiness>>,
    /// Why the east-west gateway cannot listen.
    closed: watch::Sender<Option<String>>,
}

impl Machine {
    /// Where nothing runs yet. `federation` is where this process takes peers' control planes.
    pub(super) fn new(settings: Settings, federation: Option<SocketAddr>, outputs: Outputs) -> Self {
        outputs.supervisor.tune(tuning(&settings));
        Self {
            settings,
            federation,
            outputs,
            serving: BTreeSet::new(),
            acked: BTreeSet::new(),
            unbound: BTreeMap::new(),
            ready: watch::Sender::new(None),
            closed: watch::Sender::new(None),
        }
    }

    /// Tells when every accepted Gateway is programmed, or says why it cannot be.
    pub(super) fn ready(&self) -> watch::Receiver<Option<Readiness>> {
        self.ready.subscribe()
    }

    /// Tells why the east-west gateway cannot listen, while it cannot.
    pub(super) fn closed(&self) -> watch::Receiver<Option<String>> {
        self.closed.subscribe()
    }

    /// The keeper of its processes, when all is over.
    pub(super) fn into_supervisor(self) -> Supervisor {
        self.outputs.supervisor
    }

    /// An object of our own group.
    fn own(&mut self, id: &ObjectId, edit: &Edit) -> Option<Change> {
        match (id.kind.as_str(), edit) {
            ("MeshInstall", Edit::Upsert(_, object)) => match Settings::of(Some(object)) {
                Ok(settings) => return self.settle(settings),
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
        None
    }

    fn settle(&mut self, settings: Settings) -> Option<Change> {
        if settings == self.settings {
            return None;
        }
        if !settings.same_cluster(&self.settings) {
            tracing::error!(cluster = %settings.cluster, trust_domain = %settings.trust_domain,
                "a cluster cannot become another one, the settings before stand");
            return None;
        }
        self.outputs.supervisor.tune(tuning(&settings));
        self.outputs.names.address.send_replace(settings.dns);
        self.settings = settings;
        self.tell(News::Settings(self.settings.clone()));
        Some(Change::Settings(self.settings.mesh(self.federation)))
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

    /// Forgets what was remembered of objects that are gone.
    fn prune(&mut self) {
        let mut gone = Vec::new();
        self.store(|store| gone = store.prune());
        self.remember(&gone);
    }

    /// Answers by the names that there are now.
    fn name(&self, compiler: &Compiler) {
        for (object, port) in compiler.unnamed() {
            tracing::warn!(%object, port, "no port is left to reach it by name");
        }
        self.outputs.names.table.store(Some(compiler.names()));
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
        let now = conditions::now();
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
        tell(&self.ready, ready);
    }

    fn store(&self, edit: impl FnOnce(&mut Store)) {
        edit(&mut self.outputs.store.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Surroundings for Machine {
    type News = Vec<Edit>;

    fn told(&mut self, edits: Vec<Edit>) -> Vec<Change> {
        let mut changes = Vec::new();
        for edit in &edits {
            self.store(|store| store.edit(edit));
            let (Edit::Upsert(id, _) | Edit::Delete(id) | Edit::Problem { id, .. }) = edit;
            let own = id.group == isthmus_crds::GROUP;
            changes.extend(if own { self.own(id, edit) } else { change(edit) });
        }
        changes
    }

    fn heard(&mut self, proxy: &Proxy, report: Option<&ProxyReport>) {
        if report.is_some_and(|report| report.revision > 0) {
            self.acked.insert(proxy.scope.clone());
        }
        if let Some(report) = report.filter(|_| proxy.scope.as_str() == EAST_WEST) {
            self.complain(&report.unbound);
        }
        let revision = report.map(|report| report.revision);
        self.store(|store| store.set_acked(proxy.id.as_str(), revision));
    }

    fn refreshed(&mut self, refresh: Refresh, compiler: &Compiler, first: bool) -> Vec<Change> {
        for (scope, changes) in &refresh.scopes {
            self.serve(scope, changes);
        }
        for scope in &refresh.closed {
            self.outputs.supervisor.unwant(scope);
            self.serving.remove(scope);
            self.acked.remove(scope);
        }
        self.show(&refresh);
        if first {
            self.prune();
            self.outputs.supervisor.end_strays();
        }
        // The first ones are all of them, and none is news too.
        if first || refresh.names.is_some() {
            self.name(compiler);
        }
        if first || !refresh.exports.is_empty() {
            self.tell(News::Exports(refresh.exports));
        }
        self.look_ready();
        Vec::new()
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
    let ObjectRef { namespace, name } = gateway_of(scope)?;
    let identity = SpiffeId::of_service_account(&settings.trust_domain, &namespace, &name).ok()?;
    let id = format!("{namespace}.{name}").into();
    Some(Bearer { proxy: Proxy { id, scope: scope.clone(), role: Role::Ingress }, identity })
}
