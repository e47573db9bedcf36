//! Which Gateways are ours to speak of, where several revisions of the mesh run side by side (case F20).
//!
//! Each Gateway has one owner: the MeshRevision that the label `isthmus.dev/revision` names, on the Gateway
//! or else on its namespace, where there is one of that name; and the MeshInstall's own control plane
//! otherwise. Every control plane knows and serves all Gateways, so that proxies which move from one to
//! another never miss anything; of a Gateway and of what routes say of it, only the owner writes.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_api_server::{Client, DynamicObject, Event, Resource, State, Watched};
use isthmus_crds::{GROUP, MeshRevision, names::revision_asked};
use isthmus_ir::ObjectRef;
use isthmus_world::{Kind, ObjectKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Resource as _};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Duration, sleep},
};

use super::statuses::Statuses;

/// Between two attempts to reach the API server.
const RETRY: Duration = Duration::from_secs(2);

/// What is known of who owns which Gateway.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Which revision we are; none for the MeshInstall's own.
    own: Option<String>,
    /// The MeshRevisions that there are; none until that is known, and then nothing is said of Gateways.
    revisions: Option<BTreeSet<String>>,
    /// What Gateways ask for, and what their namespaces do.
    gateways: BTreeMap<ObjectRef, String>,
    namespaces: BTreeMap<String, String>,
}

impl Owners {
    /// For the control plane of a revision; none for the MeshInstall's own.
    pub(super) fn new(own: Option<String>) -> Self {
        Self { own, ..Self::default() }
    }

    /// An object was seen; whether somebody else may own something now.
    pub(super) fn saw(&mut self, kind: Kind, object: &DynamicObject) -> bool {
        let asked = revision_asked(object.metadata.labels.as_ref(), None).map(str::to_owned);
        let name = object.metadata.name.clone().unwrap_or_default();
        match kind {
            Kind::Gateway => {
                let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
                note(&mut self.gateways, ObjectRef::new(namespace, &name), asked)
            }
            Kind::Namespace => note(&mut self.namespaces, name, asked),
            _ => false,
        }
    }

    /// An object is gone; whether somebody else may own something now.
    pub(super) fn gone(&mut self, key: &ObjectKey) -> bool {
        match key.kind {
            Kind::Gateway => note(&mut self.gateways, key.object.clone(), None),
            Kind::Namespace => note(&mut self.namespaces, key.object.name.clone(), None),
            _ => false,
        }
    }

    /// These are the MeshRevisions; whether somebody else may own something now.
    pub(super) fn there_are(&mut self, revisions: BTreeSet<String>) -> bool {
        let changed = self.revisions.as_ref() != Some(&revisions);
        self.revisions = Some(revisions);
        changed
    }

    fn asked(&self, gateway: &ObjectRef) -> Option<&String> {
        self.gateways.get(gateway).or_else(|| self.namespaces.get(&gateway.namespace))
    }

    fn owns(&self, gateway: &ObjectRef) -> bool {
        let Some(revisions) = &self.revisions else { return false };
        self.asked(gateway).filter(|name| revisions.contains(*name)) == self.own.as_ref()
    }

    /// What of `status`, as it should be, is ours to write; none when nothing is.
    pub(super) fn ours(&self, key: &ObjectKey, status: Value) -> Option<Value> {
        match key.kind {
            Kind::Gateway => self.owns(&key.object).then(|| self.with_label(&key.object, status)),
            Kind::HttpRoute => {
                self.revisions.as_ref()?;
                let parents = status.get("parents").and_then(Value::as_array).into_iter().flatten();
                let ours: Vec<_> =
                    parents.filter(|parent| !self.is_others(key, parent)).cloned().collect();
                Some(if ours.is_empty() { Value::Null } else { json!({ "parents": ours }) })
            }
            _ => self.own.is_none().then_some(status),
        }
    }

    /// Whether an entry of the status of the route `key` is of a Gateway that another revision owns.
    pub(super) fn is_others(&self, key: &ObjectKey, parent: &Value) -> bool {
        let field = |name: &str| parent.pointer(&format!("/parentRef/{name}")).and_then(Value::as_str);
        let namespace = field("namespace").unwrap_or(&key.object.namespace);
        !self.owns(&ObjectRef::new(namespace, field("name").unwrap_or_default()))
    }

    /// A Gateway's status, with a condition when its label names nothing.
    fn with_label(&self, gateway: &ObjectRef, mut status: Value) -> Value {
        let unknown = self.asked(gateway).filter(|name| Some(*name) != self.own.as_ref());
        let Some(name) = unknown else { return status };
        if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
            let generation = conditions.first().and_then(|one| one.get("observedGeneration").cloned());
            conditions.push(json!({
                "type": "isthmus.dev/RevisionResolved",
                "status": "False",
                "reason": "NoSuchRevision",
                "message": format!(
                    "there is no MeshRevision {name}, which the label isthmus.dev/revision names: the \
                     MeshInstall's own runs the Gateway"
                ),
                "observedGeneration": generation,
            }));
        }
        status
    }
}

/// Notes what is asked for; whether it is something else than before.
fn note<K: Ord>(all: &mut BTreeMap<K, String>, key: K, asked: Option<String>) -> bool {
    match asked {
        Some(asked) => all.insert(key, asked.clone()) != Some(asked),
        None => all.remove(&key).is_some(),
    }
}

/// Tells `statuses` which MeshRevisions `install` has, for ever.
pub(super) async fn follow(client: Client, install: String, statuses: Statuses) {
    let resource = Resource {
        group: GROUP.to_owned(),
        versions: vec!["v1alpha1".to_owned()],
        kind: "MeshRevision".to_owned(),
    };
    let (events, told) = mpsc::channel(16);
    let following = isthmus_api_server::follow(client, Watched::all(resource), events);
    tokio::join!(following, listen(told, &install, statuses));
}

async fn listen(mut told: mpsc::Receiver<Event>, install: &str, statuses: Statuses) {
    let (mut names, mut known) = (BTreeSet::new(), false);
    while let Some(event) = told.recv().await {
        match event {
            Event::Upsert(object) => {
                let name = object.metadata.name.clone().unwrap_or_default();
                let ours =
                    object.data.pointer("/spec/meshInstall").and_then(Value::as_str) == Some(install);
                if ours {
                    names.insert(name)
                } else {
                    names.remove(&name)
                };
            }
            Event::Delete { name, .. } => drop(names.remove(&name)),
            Event::State(State::Synced) => known = true,
            Event::State(State::Absent) => {
                names.clear();
                known = true;
            }
            Event::State(State::Forbidden(why)) => {
                tracing::error!(why, "mesh revisions may not be read: who owns a Gateway is not known");
            }
        }
        if known {
            statuses.revisions(names.clone());
        }
    }
}

/// The MeshRevision `name` as the owner of other objects. Waits until it is there.
pub(super) async fn owner(client: &Client, name: &str) -> OwnerReference {
    let revisions: Api<MeshRevision> = Api::all(client.clone());
    loop {
        match revisions.get(name).await {
            Ok(revision) => return revision.controller_owner_ref(&()).unwrap_or_default(),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(name, error, "the mesh revision cannot be read, trying again");
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use isthmus_api_server::DynamicObject;
    use isthmus_ir::ObjectRef;
    use isthmus_world::{Kind, ObjectKey};
    use serde_json::{Value, json};

    use super::Owners;

    fn labelled(namespace: &str, name: &str, revision: Option<&str>) -> DynamicObject {
        let labels = revision.map(|name| json!({ "isthmus.dev/revision": name }));
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": namespace, "labels": labels },
        }))
        .unwrap()
    }

    /// The control planes of a mesh with the revision `next`.
    fn both() -> [Owners; 2] {
        [None, Some("next".to_owned())].map(|own| {
            let mut owners = Owners::new(own);
            owners.there_are(BTreeSet::from(["next".to_owned()]));
            owners.saw(Kind::Namespace, &labelled("", "moved", Some("next")));
            for (namespace, name, revision) in [
                ("shop", "old", None),
                ("shop", "new", Some("next")),
                ("shop", "typo", Some("nxet")),
                ("moved", "with-it", None),
                ("moved", "apart", Some("nxet")),
            ] {
                owners.saw(Kind::Gateway, &labelled(namespace, name, revision));
            }
            owners
        })
    }

    #[test]
    fn f20_each_gateway_has_one_owner() {
        let [first, next] = both();
        for (namespace, name, by_next) in [
            ("shop", "old", false),
            ("shop", "new", true),
            ("shop", "typo", false),
            ("moved", "with-it", true),
            ("moved", "apart", false),
            ("nowhere", "gone", false),
        ] {
            let gateway = ObjectRef::new(namespace, name);
            assert_eq!((first.owns(&gateway), next.owns(&gateway)), (!by_next, by_next), "{gateway}");
        }
        let unknown = Owners::new(None);
        assert!(!unknown.owns(&ObjectRef::new("shop", "old")), "nobody knows yet");
    }

    #[test]
    fn f20_of_a_route_each_writes_what_is_of_its_gateways() {
        let [first, next] = both();
        let key = ObjectKey::new(Kind::HttpRoute, "shop", "route");
        let parent = |name: &str| json!({ "parentRef": { "name": name } });
        let status = json!({ "parents": [parent("old"), parent("new")] });
        assert_eq!(first.ours(&key, status.clone()), Some(json!({ "parents": [parent("old")] })));
        assert_eq!(next.ours(&key, status.clone()), Some(json!({ "parents": [parent("new")] })));
        assert!(first.is_others(&key, &parent("new")) && next.is_others(&key, &parent("old")));
        let class = ObjectKey::new(Kind::GatewayClass, "", "isthmus");
        assert!(first.ours(&class, status.clone()).is_some() && next.ours(&class, status).is_none());
    }

    #[test]
    fn a_label_that_names_nothing_is_told() {
        let [first, next] = both();
        let status = || json!({ "conditions": [{ "type": "Accepted", "observedGeneration": 3 }] });
        let told = |owners: &Owners, name: &str| {
            let key = ObjectKey::new(Kind::Gateway, "shop", name);
            owners.ours(&key, status()).map(|status| status["conditions"][1]["reason"].clone())
        };
        assert_eq!(told(&first, "typo"), Some(json!("NoSuchRevision")));
        assert_eq!(told(&first, "old"), Some(Value::Null));
        assert_eq!(told(&next, "new"), Some(Value::Null));
        assert_eq!(told(&next, "typo"), None);
    }
}
