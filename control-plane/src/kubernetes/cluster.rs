//! What surrounds the core in a cluster: from what watches tell to changes of the World, and from a refresh
//! to whoever has to act on it.
//!
//! Decides when a kind of objects is known well enough to publish. One that may not be read from the start
//! is not: to publish without it would take down what it says (case E3), and proxies go on with what they
//! have. One that is lost later stands as it was (case F18).
//!
//! A Gateway that has come to refer to other Secrets is as it was until those are read: listeners that
//! serve must not be without a certificate in between, and no status must say that there is none.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_api_server::{DynamicObject, Event, State};
use isthmus_compiler::{Compiler, Refresh, gateway_of};
use isthmus_gateway::listener::secrets;
use isthmus_ir::{Name, ObjectRef};
use isthmus_world::{
    Change, Kind, KindState, ObjectKey,
    fact::{Fact, Gateway},
    ingest,
};
use isthmus_xds::server::{Proxy, ProxyReport};
use tokio::sync::watch;

use super::{proof::Gateways, statuses::Statuses};
use crate::{
    core::{Surroundings, tell},
    settings::Settings,
};

/// Kinds without which everything that worked goes on to work: they only add.
const OPTIONAL: [Kind; 2] = [Kind::ServiceExport, Kind::GatewayParameters];

/// What is told to the core.
#[derive(Debug)]
pub(super) enum News {
    /// Of a kind that is watched as a whole.
    Object(Kind, Event),
    /// Of one Secret.
    Secret(ObjectRef, Event),
    /// A Secret is not asked for any more.
    SecretUnwanted(ObjectRef),
    /// The MeshInstall says something else.
    Settings(Box<Settings>),
}

/// Who has to act.
pub(super) struct Outlets {
    /// Statuses go here.
    pub(super) statuses: Statuses,
    /// Which service account stands for which Gateway.
    pub(super) gateways: Gateways,
    /// The Secrets that are to be read.
    pub(super) wanted: watch::Sender<BTreeSet<ObjectRef>>,
    /// Namespaces that have a Gateway of ours.
    pub(super) namespaces: watch::Sender<BTreeSet<String>>,
    /// Whether something was published.
    pub(super) ready: watch::Sender<bool>,
}

/// This cluster.
pub(super) struct Cluster {
    settings: Settings,
    outlets: Outlets,
    known: BTreeSet<Kind>,
    /// Secrets that are there, or known not to be.
    answered: BTreeSet<ObjectRef>,
    secrets_known: bool,
    /// Whether what a Gateway may refer to could be different.
    references_moved: bool,
    /// Gateways as they will be once their Secrets have answered.
    held: BTreeMap<ObjectRef, Gateway>,
    scopes: BTreeSet<Name>,
}

impl Cluster {
    pub(super) fn new(settings: Settings, outlets: Outlets) -> Self {
        Self {
            settings,
            outlets,
            known: BTreeSet::new(),
            answered: BTreeSet::new(),
            secrets_known: false,
            references_moved: true,
            held: BTreeMap::new(),
            scopes: BTreeSet::new(),
        }
    }

    fn object(&mut self, kind: Kind, event: Event) -> Option<Change> {
        if matches!(kind, Kind::GatewayClass | Kind::Gateway | Kind::ReferenceGrant) {
            self.references_moved = true;
        }
        match event {
            Event::Upsert(object) => {
                self.outlets.statuses.observed(kind, &object);
                self.newest(change(*object)?)
            }
            Event::Delete { namespace, name } => {
                let key = ObjectKey::new(kind, namespace, name);
                self.outlets.statuses.gone(&key);
                if kind == Kind::Gateway {
                    self.held.remove(&key.object);
                }
                Some(Change::Delete(key))
            }
            Event::State(state) => self.state(kind, state),
        }
    }

    /// A change of an object; none while it is held back.
    fn newest(&mut self, change: Change) -> Option<Change> {
        match change {
            Change::Upsert(Fact::Gateway(gateway)) => {
                let object = gateway.meta.object();
                // Before Secrets are known at all, nothing is published and all of them are waited for.
                if self.secrets_known && !secrets(&gateway).is_subset(&self.answered) {
                    self.held.insert(object, gateway);
                    return None;
                }
                self.held.remove(&object);
                Some(Change::Upsert(Fact::Gateway(gateway)))
            }
            Change::Problem { key, problem } => {
                if key.kind == Kind::Gateway {
                    self.held.remove(&key.object);
                }
                Some(Change::Problem { key, problem })
            }
            other => Some(other),
        }
    }

    /// The Gateways that were held back and need not be any more.
    fn released(&mut self, compiler: &Compiler) -> Vec<Change> {
        let ready = |gateway: &Gateway| compiler.secrets_wanted_by(gateway).is_subset(&self.answered);
        let ready = self.held.extract_if(.., |_, gateway| ready(gateway));
        ready.map(|(_, gateway)| Change::Upsert(Fact::Gateway(gateway))).collect()
    }

    fn state(&mut self, kind: Kind, state: State) -> Option<Change> {
        let state = match state {
            State::Synced => KindState::Synced,
            State::Absent => {
                tracing::warn!(kind = kind.as_str(), "the API server does not have this kind");
                self.outlets.statuses.absent(kind);
                if kind == Kind::Gateway {
                    self.held.clear();
                }
                KindState::Absent
            }
            State::Forbidden(reason) => {
                let known = self.known.contains(&kind) || OPTIONAL.contains(&kind);
                tracing::error!(kind = kind.as_str(), reason, publishing = known, "may not be read");
                if !known {
                    return None;
                }
                KindState::Frozen
            }
        };
        self.known.insert(kind);
        Some(Change::Kind { kind, state })
    }

    fn secret(&mut self, secret: ObjectRef, event: Event) -> Option<Change> {
        match event {
            Event::Upsert(object) => change(*object),
            Event::Delete { .. } => {
                Some(Change::Delete(ObjectKey { kind: Kind::Secret, object: secret }))
            }
            Event::State(state) => {
                if let State::Forbidden(reason) = state {
                    tracing::warn!(secret = %secret, reason, "may not be read");
                }
                self.answered.insert(secret);
                self.secrets_state()
            }
        }
    }

    /// Secrets are known once every one that is asked for has answered, and it is known which those are.
    fn secrets_state(&mut self) -> Option<Change> {
        let asking = [Kind::GatewayClass, Kind::Gateway, Kind::ReferenceGrant];
        if self.secrets_known || !asking.iter().all(|kind| self.known.contains(kind)) {
            return None;
        }
        let wanted = self.outlets.wanted.borrow();
        if self.references_moved || !wanted.is_subset(&self.answered) {
            return None;
        }
        drop(wanted);
        self.secrets_known = true;
        Some(Change::Kind { kind: Kind::Secret, state: KindState::Synced })
    }

    fn settle(&mut self, settings: Settings) -> Option<Change> {
        if !settings.same_cluster(&self.settings) {
            tracing::error!(cluster = %settings.cluster, trust_domain = %settings.trust_domain,
                "a cluster cannot become another one, the settings before stand");
            return None;
        }
        self.settings = settings;
        Some(Change::Settings(self.settings.mesh_of_pods()))
    }

    fn look_for_secrets(&mut self, compiler: &Compiler) {
        if !std::mem::take(&mut self.references_moved) {
            return;
        }
        let mut wanted = compiler.wanted_secrets();
        wanted.extend(self.held.values().flat_map(|gateway| compiler.secrets_wanted_by(gateway)));
        tell(&self.outlets.wanted, wanted);
    }

    /// Notes which Gateways there are.
    fn follow_scopes(&mut self, refresh: &Refresh) {
        if refresh.opened.is_empty() && refresh.closed.is_empty() {
            return;
        }
        self.scopes.extend(refresh.opened.iter().cloned());
        for scope in &refresh.closed {
            self.scopes.remove(scope);
        }
        self.outlets.gateways.replace(&self.scopes);
        let gateways = self.scopes.iter().filter_map(gateway_of);
        tell(&self.outlets.namespaces, gateways.map(|gateway| gateway.namespace).collect());
    }
}

impl Surroundings for Cluster {
    type News = News;

    fn told(&mut self, news: News) -> Vec<Change> {
        let change = match news {
            News::Object(kind, event) => self.object(kind, event),
            News::Secret(secret, event) => self.secret(secret, event),
            News::SecretUnwanted(secret) => {
                self.answered.remove(&secret);
                Some(Change::Delete(ObjectKey { kind: Kind::Secret, object: secret }))
            }
            News::Settings(settings) => self.settle(*settings),
        };
        change.into_iter().collect()
    }

    fn heard(&mut self, _: &Proxy, _: Option<&ProxyReport>) {}

    fn waiting(&mut self, compiler: &Compiler) -> Vec<Change> {
        self.look_for_secrets(compiler);
        self.secrets_state().into_iter().collect()
    }

    fn refreshed(&mut self, refresh: Refresh, compiler: &Compiler, first: bool) -> Vec<Change> {
        self.look_for_secrets(compiler);
        self.follow_scopes(&refresh);
        self.outlets.statuses.desire(refresh.statuses);
        if first {
            tracing::info!(scopes = self.scopes.len(), "everything is known, publishing");
            self.outlets.ready.send_replace(true);
        }
        self.released(compiler)
    }
}

/// What an object means to the World; none when it means nothing there.
fn change(object: DynamicObject) -> Option<Change> {
    let read = ingest::ingest(object);
    read.inspect_err(|error| tracing::debug!(%error, "object means nothing to the world")).ok()
}

#[cfg(test)]
mod tests {
    use isthmus_api_server::{Client, Elector};
    use isthmus_east_west::handle::HandleKey;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A cluster in which nobody is asked anything.
    fn cluster() -> Cluster {
        let silent = tower::service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, tower::BoxError>>()
        });
        let client = Client::new(silent, "default");
        let leadership = Elector::new(client.clone(), "default", "writers", "one").leadership();
        let outlets = Outlets {
            statuses: Statuses::new(client, leadership, None),
            gateways: Gateways::default(),
            wanted: watch::Sender::default(),
            namespaces: watch::Sender::default(),
            ready: watch::Sender::default(),
        };
        let spec = json!({"cluster": {"id": "east", "trustDomain": "east.example"}});
        Cluster::new(Settings::of(Some(&json!({ "spec": spec }))).unwrap(), outlets)
    }

    fn told(cluster: &mut Cluster, object: Value) -> Vec<Change> {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        cluster.told(News::Object(Kind::Gateway, Event::Upsert(Box::new(object))))
    }

    #[tokio::test]
    async fn f12_a_gateway_that_is_held_back_does_not_outlive_its_kind() {
        let mut cluster = cluster();
        let compiler = Compiler::new(cluster.settings.mesh_of_pods(), HandleKey::new([7; 32]));
        cluster.secrets_known = true;
        let listener = json!({"name": "https", "port": 443, "protocol": "HTTPS",
            "tls": {"certificateRefs": [{"name": "cert"}]}});
        let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "gw", "namespace": "shop", "resourceVersion": "1"},
            "spec": {"gatewayClassName": "isthmus", "listeners": [listener]}});
        assert!(told(&mut cluster, gateway.clone()).is_empty(), "its Secret is not known");
        assert_eq!(cluster.released(&compiler).len(), 1, "without a class it needs none");

        assert!(told(&mut cluster, gateway).is_empty());
        let gone = cluster.told(News::Object(Kind::Gateway, Event::State(State::Absent)));
        assert!(matches!(gone.as_slice(), [Change::Kind { state: KindState::Absent, .. }]), "{gone:?}");
        assert!(cluster.released(&compiler).is_empty());
    }
}
