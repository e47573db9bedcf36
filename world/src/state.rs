//! The World: every fact that is known, found by key and by what it mentions.
//!
//! Changes come in one at a time; a fact that is equal to the stored one changes nothing. What a change
//! touched is told to the caller, who marks the units that may follow from it. Nothing is derived here.

mod mention;
mod peers;
mod query;
mod store;

pub use mention::Mention;
pub use peers::PeerExport;

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::{Name, ObjectRef};

use crate::{
    change::Change,
    fact::{
        BackendTlsPolicy, EndpointSlice, Fact, Gateway, GatewayClass, GatewayParameters, HttpRoute,
        MeshSettings, Namespace, Problem, ProxyReport, ReferenceGrant, Secret, Service, ServiceExport,
    },
    kind::{Kind, KindState, ObjectKey},
};
use mention::Mentions;
use peers::Peers;
use store::{Edit, Store};

/// All that is known of all clusters.
#[derive(Debug)]
pub struct World {
    settings: Arc<MeshSettings>,
    roots: Arc<Vec<bytes::Bytes>>,
    definitions: Option<BTreeMap<String, Option<String>>>,
    kinds: BTreeMap<Kind, KindState>,
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    routes: Store<HttpRoute>,
    grants: Store<ReferenceGrant>,
    tls_policies: Store<BackendTlsPolicy>,
    namespaces: Store<Namespace>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    secrets: Store<Secret>,
    exports: Store<ServiceExport>,
    parameters: Store<GatewayParameters>,
    problems: BTreeMap<ObjectKey, Arc<Problem>>,
    mentions: Mentions,
    peers: Peers,
    proxies: BTreeMap<Name, Reports>,
}

/// What the connected proxies of one scope say, by proxy id.
pub type Reports = BTreeMap<Arc<str>, Arc<ProxyReport>>;

/// Something that a change made different.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Touched {
    /// An object's fact, or what is wrong with it.
    Object {
        /// The object.
        key: ObjectKey,
        /// What its fact mentioned before, and what it mentions now.
        mentions: Vec<Mention>,
    },
    /// The settings.
    Settings,
    /// The roots of this cluster's own trust domain.
    Roots,
    /// A peer's own fact, or whether it is there; its exports are touched one by one.
    Peer(Arc<str>),
    /// Some peer's export of this service.
    PeerExport(ObjectRef),
    /// What the proxies of this scope say.
    Proxies(Name),
    /// The state of a kind.
    Kind(Kind),
    /// Where the definitions of kinds come from.
    Definitions,
}

impl World {
    /// A World in which nothing is known yet: every kind is pending.
    pub fn new(settings: MeshSettings) -> Self {
        Self {
            settings: Arc::new(settings),
            roots: Arc::default(),
            definitions: None,
            kinds: Kind::ALL.into_iter().map(|kind| (kind, KindState::Pending)).collect(),
            classes: Store::default(),
            gateways: Store::default(),
            routes: Store::default(),
            grants: Store::default(),
            tls_policies: Store::default(),
            namespaces: Store::default(),
            services: Store::default(),
            slices: Store::default(),
            secrets: Store::default(),
            exports: Store::default(),
            parameters: Store::default(),
            problems: BTreeMap::new(),
            mentions: Mentions::default(),
            peers: Peers::default(),
            proxies: BTreeMap::new(),
        }
    }

    /// Takes a change in and calls `touched` with everything that is different now.
    pub fn apply(&mut self, change: Change, touched: &mut impl FnMut(Touched)) {
        match change {
            Change::Upsert(fact) => self.upsert(fact, touched),
            Change::Delete(key) => self.delete(key, touched),
            Change::Problem { key, problem } => self.set_problem(key, problem, touched),
            Change::Kind { kind, state } => self.set_kind(kind, state, touched),
            Change::Settings(settings) => {
                if *self.settings != settings {
                    self.settings = Arc::new(settings);
                    touched(Touched::Settings);
                }
            }
            Change::Roots(roots) => {
                if *self.roots != roots {
                    self.roots = Arc::new(roots);
                    touched(Touched::Roots);
                }
            }
            Change::Definitions(definitions) => {
                let definitions = Some(definitions);
                if self.definitions != definitions {
                    self.definitions = definitions;
                    touched(Touched::Definitions);
                }
            }
            Change::Peer(peer) => self.peers.upsert(peer, touched),
            Change::PeerGone { cluster } => self.peers.remove(&cluster, touched),
            Change::PeerSnapshot { cluster, services } => {
                self.peers.snapshot(&cluster, services, touched);
            }
            Change::PeerExports { cluster, upserts, removed } => {
                self.peers.edit(&cluster, upserts, &removed, touched);
            }
            Change::Proxy { scope, proxy, report } => self.set_report(&scope, proxy, report, touched),
        }
    }

    fn upsert(&mut self, fact: Fact, touched: &mut impl FnMut(Touched)) {
        let key = fact.key();
        let at = &key.object;
        let edit = match fact {
            Fact::GatewayClass(fact) => self.classes.put(at, fact),
            Fact::Gateway(fact) => self.gateways.put(at, fact),
            Fact::HttpRoute(fact) => self.routes.put(at, fact),
            Fact::ReferenceGrant(fact) => self.grants.put(at, fact),
            Fact::BackendTlsPolicy(fact) => self.tls_policies.put(at, fact),
            Fact::Namespace(fact) => self.namespaces.put(at, fact),
            Fact::Service(fact) => self.services.put(at, fact),
            Fact::EndpointSlice(fact) => self.slices.put(at, fact),
            Fact::Secret(fact) => self.secrets.put(at, fact),
            Fact::ServiceExport(fact) => self.exports.put(at, fact),
            Fact::GatewayParameters(fact) => self.parameters.put(at, fact),
        };
        self.edited(key, edit, touched);
    }

    fn delete(&mut self, key: ObjectKey, touched: &mut impl FnMut(Touched)) {
        let at = &key.object;
        let edit = match key.kind {
            Kind::GatewayClass => self.classes.take(at),
            Kind::Gateway => self.gateways.take(at),
            Kind::HttpRoute => self.routes.take(at),
            Kind::ReferenceGrant => self.grants.take(at),
            Kind::BackendTlsPolicy => self.tls_policies.take(at),
            Kind::Namespace => self.namespaces.take(at),
            Kind::Service => self.services.take(at),
            Kind::EndpointSlice => self.slices.take(at),
            Kind::Secret => self.secrets.take(at),
            Kind::ServiceExport => self.exports.take(at),
            Kind::GatewayParameters => self.parameters.take(at),
        };
        self.edited(key, edit, touched);
    }

    /// Keeps the index, ends a problem of the object, and tells of both.
    fn edited(&mut self, key: ObjectKey, edit: Option<Edit>, touched: &mut impl FnMut(Touched)) {
        let healed = self.problems.remove(&key).is_some();
        if edit.is_none() && !healed {
            return;
        }
        let Edit { old, new } = edit.unwrap_or_default();
        self.mentions.replace(&key, &old, &new);
        let mut mentions = old;
        mentions.extend(new);
        mentions.sort();
        mentions.dedup();
        touched(Touched::Object { key, mentions });
    }

    fn set_problem(&mut self, key: ObjectKey, problem: Problem, touched: &mut impl FnMut(Touched)) {
        if self.problems.get(&key).is_some_and(|stored| **stored == problem) {
            return;
        }
        self.problems.insert(key.clone(), Arc::new(problem));
        touched(Touched::Object { key, mentions: Vec::new() });
    }

    fn set_kind(&mut self, kind: Kind, state: KindState, touched: &mut impl FnMut(Touched)) {
        if self.kinds.insert(kind, state) == Some(state) {
            return;
        }
        if state == KindState::Absent {
            self.keys(kind).into_iter().for_each(|key| self.delete(key, touched));
        }
        touched(Touched::Kind(kind));
    }

    fn set_report(
        &mut self,
        scope: &Name,
        proxy: Arc<str>,
        report: Option<ProxyReport>,
        touched: &mut impl FnMut(Touched),
    ) {
        let reports = self.proxies.entry(scope.clone()).or_default();
        let stored = reports.get(&proxy).map(|stored| &**stored);
        if stored != report.as_ref() {
            match report {
                Some(report) => reports.insert(proxy, Arc::new(report)),
                None => reports.remove(&proxy),
            };
            touched(Touched::Proxies(scope.clone()));
        }
        if self.proxies.get(scope).is_some_and(BTreeMap::is_empty) {
            self.proxies.remove(scope);
        }
    }
}
