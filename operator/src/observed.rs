//! What was seen: objects, the time, and what failed when it was tried last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_crds::{Drift, MeshInstall, MeshRevision, names};
use isthmus_gateway::CONTROLLER;
use isthmus_world::{
    Change,
    fact::{self, Fact},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    apply::Failure,
    component::definitions,
    difference::Difference,
    object::{self, Kind, Manifest, ObjectKey, digest_of},
};

pub use crate::place::Place;

/// All that a plan is made from, the MeshInstall aside.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Where and as what this operator runs.
    pub place: Place,
    /// The time.
    pub now: Timestamp,
    /// Every object of the kinds that are watched. Of definitions the metadata is enough.
    pub objects: BTreeMap<ObjectKey, Arc<DynamicObject>>,
    /// Kinds that the API server does not have.
    pub absent: BTreeSet<&'static Kind>,
    /// The definitions that this operator installs.
    pub definitions: Arc<[Manifest]>,
    /// Kinds that may not be read, and why: what is known of them is old, or nothing.
    pub forbidden: BTreeMap<&'static Kind, String>,
    /// Those among them of which nothing was ever known.
    pub unknown: BTreeSet<&'static Kind>,
    /// What could not be written when it was tried last, and why.
    pub failures: BTreeMap<ObjectKey, Failure>,
    /// Fields, by their paths, that were another one's again as soon as they were written: he decides when
    /// an object is written, and there is no use in writing it once more.
    pub overruled: BTreeMap<ObjectKey, BTreeSet<String>>,
}

/// The MeshInstall that counts: the oldest one.
#[derive(Clone, Debug)]
pub enum InForce {
    /// There is none.
    Nobody,
    /// This one.
    Install(Box<MeshInstall>),
    /// The one of this name, of which nobody knows what it asks for, as it is of a later version.
    Unreadable(String),
}

impl Observed {
    /// Nothing, seen at `now`.
    pub fn nothing(place: Place, now: Timestamp) -> Self {
        let (objects, absent, forbidden, unknown, failures, overruled) = Default::default();
        let definitions = definitions::manifests(&place.version).into();
        Self { place, now, objects, absent, definitions, forbidden, unknown, failures, overruled }
    }

    /// The object with this key.
    pub fn object(&self, key: &ObjectKey) -> Option<&DynamicObject> {
        self.objects.get(key).map(Arc::as_ref)
    }

    /// The objects of a kind, in order of namespace and name.
    pub fn of(&self, kind: &'static Kind) -> impl Iterator<Item = (&ObjectKey, &DynamicObject)> {
        let first = ObjectKey::new(kind, "", "");
        let of_kind = self.objects.range(first..).take_while(move |(key, _)| key.kind == kind);
        of_kind.map(|(key, object)| (key, object.as_ref()))
    }

    /// The MeshInstall in force, where it can be read.
    pub fn install(&self) -> Option<MeshInstall> {
        match self.in_force() {
            InForce::Install(install) => Some(*install),
            InForce::Nobody | InForce::Unreadable(_) => None,
        }
    }

    /// The oldest MeshInstall. One that cannot be read is in force all the same: a younger one does not
    /// come in its place, and nothing is undone that it may ask for.
    pub fn in_force(&self) -> InForce {
        let age = |object: &&DynamicObject| age(&object.metadata);
        let Some(oldest) = self.of(object::MESH_INSTALL).map(|(_, object)| object).min_by_key(age)
        else {
            return InForce::Nobody;
        };
        match read::<MeshInstall>(oldest) {
            Ok(install) => InForce::Install(Box::new(install)),
            Err(_) => InForce::Unreadable(oldest.metadata.name.clone().unwrap_or_default()),
        }
    }

    /// Every MeshInstall that can be read, the oldest first.
    pub fn installs(&self) -> Vec<MeshInstall> {
        let all = self.of(object::MESH_INSTALL);
        let mut all: Vec<MeshInstall> = all.filter_map(|(_, object)| read(object).ok()).collect();
        all.sort_by_key(|install| age(&install.metadata));
        all
    }

    /// MeshInstalls that cannot be read, as they are of a later version, and why.
    pub fn unreadable_installs(&self) -> impl Iterator<Item = (&DynamicObject, String)> {
        self.unreadable::<MeshInstall>(object::MESH_INSTALL)
    }

    /// Every MeshRevision that can be read, in order of name.
    pub fn revisions(&self) -> Vec<MeshRevision> {
        self.of(object::MESH_REVISION).filter_map(|(_, object)| read(object).ok()).collect()
    }

    /// MeshRevisions that cannot be read, as they are of a later version, and why.
    pub fn unreadable_revisions(&self) -> impl Iterator<Item = (&DynamicObject, String)> {
        self.unreadable::<MeshRevision>(object::MESH_REVISION)
    }

    fn unreadable<T: DeserializeOwned>(
        &self,
        kind: &'static Kind,
    ) -> impl Iterator<Item = (&DynamicObject, String)> {
        let why = |object: &DynamicObject| read::<T>(object).err().map(|error| error.to_string());
        self.of(kind).filter_map(move |(_, object)| Some((object, why(object)?)))
    }

    /// The MeshRevision that a Gateway asks for by its label or its namespace's, whether there is one or
    /// not.
    pub fn asks_for<'a>(&'a self, gateway: &'a DynamicObject) -> Option<&'a str> {
        let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
        let namespace = self.object(&ObjectKey::new(object::NAMESPACE, "", namespace));
        let labels = |object: &'a DynamicObject| object.metadata.labels.as_ref();
        names::revision_asked(labels(gateway), namespace.and_then(labels))
    }

    /// Whether it is known what [`Self::asks_for`] says.
    pub fn knows_label(&self, gateway: &DynamicObject) -> bool {
        let own = names::revision_asked(gateway.metadata.labels.as_ref(), None);
        let nobody =
            self.knows(object::MESH_REVISION) && self.of(object::MESH_REVISION).next().is_none();
        own.is_some() || nobody || self.knows(object::NAMESPACE)
    }

    /// Whether it is known which objects of this kind there are, or that there are none.
    pub fn knows(&self, kind: &Kind) -> bool {
        !self.unknown.contains(kind)
    }

    /// The names of the GatewayClasses that are ours.
    pub fn classes(&self) -> BTreeSet<&str> {
        let ours = |object: &DynamicObject| {
            object.data.pointer("/spec/controllerName").and_then(Value::as_str) == Some(CONTROLLER)
        };
        let all = self.of(object::GATEWAY_CLASS).filter(|(_, object)| ours(object));
        all.map(|(key, _)| key.name.as_str()).collect()
    }

    /// A GatewayClass, if it can be read.
    pub fn class(&self, name: &str) -> Option<fact::GatewayClass> {
        let object = self.object(&ObjectKey::new(object::GATEWAY_CLASS, "", name))?;
        match fact(object::GATEWAY_CLASS, object) {
            Some(Fact::GatewayClass(class)) => Some(class),
            _ => None,
        }
    }

    /// Each Gateway of our classes that is not going away.
    pub fn gateways(&self) -> Vec<SeenGateway<'_>> {
        let classes = self.classes();
        let live = |object: &DynamicObject| object.metadata.deletion_timestamp.is_none();
        let class = |object: &DynamicObject| {
            let class = object.data.pointer("/spec/gatewayClassName").and_then(Value::as_str);
            class.is_some_and(|class| classes.contains(class))
        };
        let all = self.of(object::GATEWAY).filter(|(_, object)| live(object) && class(object));
        all.map(|(key, object)| SeenGateway { key, object, fact: gateway(object) }).collect()
    }

    /// Each Gateway that is run although its class is not there: one that is deleted takes nothing from it.
    pub fn classless(&self) -> Vec<SeenGateway<'_>> {
        let all = self.of(object::GATEWAY).filter(|(key, object)| {
            let class = object.data.pointer("/spec/gatewayClassName").and_then(Value::as_str);
            let class = ObjectKey::new(object::GATEWAY_CLASS, "", class.unwrap_or_default());
            let live = object.metadata.deletion_timestamp.is_none();
            live && self.object(&class).is_none() && self.is_run(key, object)
        });
        all.map(|(key, object)| SeenGateway { key, object, fact: gateway(object) }).collect()
    }

    /// Whether there are proxies of a Gateway, as far as is known.
    fn is_run(&self, key: &ObjectKey, gateway: &DynamicObject) -> bool {
        let name = names::of_gateway(&key.name);
        let proxies = self.object(&ObjectKey::new(object::DEPLOYMENT, &key.namespace, &name));
        let of = |owner: &OwnerReference| gateway.metadata.uid.as_ref() == Some(&owner.uid);
        !self.knows(object::DEPLOYMENT) || proxies.and_then(owner).is_some_and(of)
    }

    /// Whether an object stays as it is although these fields are not as they are to be: others changed
    /// them, which is only told with [`Drift::Report`], or they do so whenever it is written.
    pub fn leaves(&self, wanted: &Manifest, fields: &[Difference], drift: Drift) -> bool {
        // It was once exactly as it is to be.
        let was_written =
            self.object(&wanted.key).is_some_and(|found| digest_of(found) == wanted.digest());
        let overruled = self.overruled.get(&wanted.key);
        let overruled =
            overruled.is_some_and(|all| fields.iter().all(|field| all.contains(&field.path)));
        was_written && (drift == Drift::Report || overruled)
    }

    /// Every ReferenceGrant that can be read.
    pub fn grants(&self) -> Vec<Arc<fact::ReferenceGrant>> {
        let fact = |object: &DynamicObject| match fact(object::REFERENCE_GRANT, object) {
            Some(Fact::ReferenceGrant(grant)) => Some(Arc::new(grant)),
            _ => None,
        };
        self.of(object::REFERENCE_GRANT).filter_map(|(_, object)| fact(object)).collect()
    }

    /// Whether things can still be made in this namespace. One that was not seen counts as usable.
    pub fn is_usable(&self, namespace: &str) -> bool {
        let key = ObjectKey::new(object::NAMESPACE, "", namespace);
        self.object(&key).is_none_or(|object| object.metadata.deletion_timestamp.is_none())
    }

    /// The objects that the operator made, those of the kinds in [`object::OWNED`].
    pub fn ours(&self) -> impl Iterator<Item = (&ObjectKey, &DynamicObject)> {
        let all = object::OWNED.iter().flat_map(|kind| self.of(kind));
        all.filter(|(_, object)| is_ours(object))
    }
}

/// A Gateway of ours.
#[derive(Clone, Debug)]
pub struct SeenGateway<'a> {
    /// Its key.
    pub key: &'a ObjectKey,
    /// The object as it is.
    pub object: &'a DynamicObject,
    /// What it means; none when it cannot be read, as its status then says.
    pub fact: Option<fact::Gateway>,
}

/// An object as its kind says it.
fn read<T: DeserializeOwned>(object: &DynamicObject) -> serde_json::Result<T> {
    serde_json::to_value(object).and_then(serde_json::from_value)
}

/// When something came, and what tells it from others that came with it.
fn age(meta: &ObjectMeta) -> (Timestamp, Option<String>) {
    let created = meta.creation_timestamp.as_ref().map(|time| time.0);
    (created.unwrap_or(Timestamp::MAX), meta.name.clone())
}

fn gateway(object: &DynamicObject) -> Option<fact::Gateway> {
    match fact(object::GATEWAY, object) {
        Some(Fact::Gateway(gateway)) => Some(gateway),
        _ => None,
    }
}

/// What `object` means to the mesh, by the same reading as the control plane's.
fn fact(kind: &Kind, object: &DynamicObject) -> Option<Fact> {
    match isthmus_world::ingest::ingest(object::typed(kind, object.clone())) {
        Ok(Change::Upsert(fact)) => Some(fact),
        _ => None,
    }
}

/// Whether the operator made this object.
pub(crate) fn is_ours(object: &DynamicObject) -> bool {
    let (key, value) = object::OURS;
    object
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(key))
        .is_some_and(|found| found == value)
}

/// The controller that `object` belongs to.
pub fn owner(object: &DynamicObject) -> Option<&OwnerReference> {
    object.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
