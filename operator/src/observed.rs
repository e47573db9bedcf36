//! What was seen: objects, the time, and what failed when it was tried last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_crds::{MeshInstall, MeshRevision, names};
use isthmus_gateway::CONTROLLER;
use isthmus_world::{
    Change,
    fact::{self, Fact},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::OwnerReference, jiff::Timestamp};
use kube::core::DynamicObject;
use serde_json::Value;

use crate::{
    component::definitions,
    object::{self, Kind, Manifest, ObjectKey},
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
    pub failures: BTreeMap<ObjectKey, String>,
}

impl Observed {
    /// Nothing, seen at `now`.
    pub fn nothing(place: Place, now: Timestamp) -> Self {
        let (objects, absent, forbidden, unknown, failures) = Default::default();
        let definitions = definitions::manifests(&place.version).into();
        Self { place, now, objects, absent, definitions, forbidden, unknown, failures }
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

    /// The MeshInstall in force: the oldest one that can be read.
    pub fn install(&self) -> Option<MeshInstall> {
        self.installs().into_iter().next()
    }

    /// Every MeshInstall that can be read, the oldest first.
    pub fn installs(&self) -> Vec<MeshInstall> {
        let read = |object: &DynamicObject| {
            serde_json::to_value(object).and_then(serde_json::from_value::<MeshInstall>).ok()
        };
        let mut all: Vec<MeshInstall> =
            self.of(object::MESH_INSTALL).filter_map(|(_, object)| read(object)).collect();
        let age = |install: &MeshInstall| {
            let created = install.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created.unwrap_or(Timestamp::MAX), install.metadata.name.clone())
        };
        all.sort_by_key(age);
        all
    }

    /// MeshInstalls that cannot be read, as they are of a later version, and why.
    pub fn unreadable_installs(&self) -> impl Iterator<Item = (&DynamicObject, String)> {
        let read = |object: &DynamicObject| {
            let value = serde_json::to_value(object);
            value.and_then(serde_json::from_value::<MeshInstall>).err().map(|error| error.to_string())
        };
        self.of(object::MESH_INSTALL).filter_map(move |(_, object)| Some((object, read(object)?)))
    }

    /// Every MeshRevision that can be read, in order of name.
    pub fn revisions(&self) -> Vec<MeshRevision> {
        let read = |object: &DynamicObject| {
            serde_json::to_value(object).and_then(serde_json::from_value::<MeshRevision>).ok()
        };
        self.of(object::MESH_REVISION).filter_map(|(_, object)| read(object)).collect()
    }

    /// The MeshRevision that a Gateway asks for by its label or its namespace's, whether there is one or
    /// not.
    pub fn asks_for<'a>(&'a self, gateway: &'a DynamicObject) -> Option<&'a str> {
        let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
        let namespace = self.object(&ObjectKey::new(object::NAMESPACE, "", namespace));
        let labels = |object: &'a DynamicObject| object.metadata.labels.as_ref();
        names::revision_asked(labels(gateway), namespace.and_then(labels))
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

fn is_ours(object: &DynamicObject) -> bool {
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
