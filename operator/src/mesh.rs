//! What every component is told of the install that it is part of.

use std::collections::BTreeMap;

use isthmus_crds::{MeshInstall, Revision, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::{
    object::{self, Kind},
    place::{Place, Pull},
};

/// An install, with all defaults filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Mesh {
    /// The MeshInstall's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The namespace of the mesh's own parts.
    pub namespace: String,
    /// The trust domain.
    pub trust_domain: String,
    /// What pods run with.
    pub revision: Revision,
    /// How nodes come by the images.
    pub pull: Pull,
    /// For how long a Deployment may make no progress, in seconds.
    pub timeout: u32,
    /// The MeshRevision whose part this is; none for the MeshInstall's own.
    pub side: Option<Side>,
}

/// A MeshRevision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Mesh {
    /// What `install` says, with pods that run with `revision`.
    pub fn new(install: &MeshInstall, place: &Place, revision: Revision) -> Self {
        let meta = &install.metadata;
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            namespace: place.namespace.clone(),
            trust_domain: install.spec.cluster.trust_domain(),
            revision,
            pull: place.pull.clone(),
            timeout: install.spec.upgrade.timeout_seconds,
            side: None,
        }
    }

    /// What its control plane is called.
    pub fn control_plane(&self) -> String {
        names::control_plane(self.side.as_ref().map(|side| side.name.as_str()))
    }

    /// Which pods are its control plane's: no two revisions have the same labels.
    pub fn control_plane_labels(&self) -> BTreeMap<String, String> {
        let Some(side) = &self.side else { return object::labels("control-plane") };
        let mut labels = object::labels("control-plane-revision");
        labels.insert(names::REVISION_LABEL.to_owned(), side.name.clone());
        labels
    }

    /// Metadata of an object of the install itself, which goes when the MeshInstall goes.
    pub fn meta(&self, kind: &Kind, component: &str, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: kind.namespaced.then(|| self.namespace.clone()),
            labels: Some(object::labels(component)),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// Metadata of an object of its control plane that no other revision shares.
    pub fn control_plane_meta(&self, kind: &Kind) -> ObjectMeta {
        let meta = self.meta(kind, "control-plane", &self.control_plane());
        ObjectMeta { labels: Some(self.control_plane_labels()), ..meta }
    }

    fn owner(&self) -> OwnerReference {
        match &self.side {
            None => owner(object::MESH_INSTALL, &self.name, &self.uid),
            Some(side) => owner(object::MESH_REVISION, &side.name, &side.uid),
        }
    }
}

/// A reference to the one owner of an object.
pub fn owner(kind: &Kind, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
