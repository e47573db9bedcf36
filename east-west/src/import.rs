//! Exports of all clusters of one (namespace, name) -> the ServiceImport, and what proxies balance over
//! (KEP-1645, "Constraints and Conflict Resolution").
//!
//! Every cluster computes the same winners from the same exports: the oldest export wins, cluster ids
//! break ties, and neither leases nor the order of arrival have a say (cases H1, H6). What a peer says is
//! first cut down to what it may say ([`accept`]).

pub mod accept;
mod balance;
mod conflict;
mod merge;

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::{Endpoints, ObjectRef, Service};
use isthmus_world::fact::{ExportedService, ImportType, MeshSettings, PeerFact, SessionAffinity};
use serde_json::{Value, json};

pub use conflict::{Conflict, ConflictKind, conflict_condition};

use crate::refusal::Refusal;

/// What [`import`] decides from.
#[derive(Clone, Copy, Debug)]
pub struct ImportInput<'a> {
    /// This cluster.
    pub settings: &'a MeshSettings,
    /// The namespace and name.
    pub object: &'a ObjectRef,
    /// This cluster's own export, if it has one.
    pub local: Option<LocalExport<'a>>,
    /// Exports of peers, in any order.
    pub peers: &'a [PeerExport<'a>],
    /// Whether endpoints in the own zone are tried before others of the own cluster.
    pub prefer_zone: bool,
}

/// What this cluster exports.
#[derive(Clone, Copy, Debug)]
pub struct LocalExport<'a> {
    /// As peers are told.
    pub exported: &'a ExportedService,
    /// The Service's endpoints by service port, with addresses.
    pub endpoints: &'a BTreeMap<u16, Arc<Endpoints>>,
}

/// What a peer exports.
#[derive(Clone, Copy, Debug)]
pub struct PeerExport<'a> {
    /// The peer.
    pub peer: &'a PeerFact,
    /// What it says.
    pub exported: &'a ExportedService,
}

/// A derived ServiceImport and its resources. It exists as long as `clusters` is not empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// Its namespace and name.
    pub object: ObjectRef,
    /// `spec.type`.
    pub kind: ImportType,
    /// `spec.sessionAffinity`.
    pub affinity: SessionAffinity,
    /// When the oldest of its exports was made, seconds since 1970.
    pub created: i64,
    /// `spec.ports`, in order of number.
    pub ports: Vec<ImportPort>,
    /// `status.clusters`, in order.
    pub clusters: Vec<Arc<str>>,
    /// One for each port, named [`Service::clusterset_name`].
    pub services: Vec<Arc<Service>>,
    /// One for each port.
    pub endpoints: Vec<Arc<Endpoints>>,
    /// Where the exports disagree: for the condition of every one of them.
    pub conflicts: Vec<Conflict>,
    /// What of the peers' words was left out.
    pub refusals: Vec<Refusal>,
}

/// One of `spec.ports` of a ServiceImport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportPort {
    /// `name`; empty for a single unnamed port.
    pub name: String,
    /// `port`.
    pub port: u16,
    /// `protocol`.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// Merges all exports of one namespace and name.
pub fn import(input: &ImportInput<'_>) -> Import {
    let (exports, refusals) = merge::believed(input);
    let merged = merge::merge(&exports);
    let (services, endpoints) = balance::resources(input, &exports, &merged.ports);
    Import {
        object: input.object.clone(),
        kind: merged.kind,
        affinity: merged.affinity,
        created: exports.first().map_or(0, |oldest| oldest.exported.created),
        ports: merged.ports,
        clusters: merge::clusters(&exports),
        services,
        endpoints,
        conflicts: merged.conflicts,
        refusals,
    }
}

impl Import {
    /// Whether any cluster exports it.
    pub fn exists(&self) -> bool {
        !self.clusters.is_empty()
    }

    /// The derived object as `multicluster.x-k8s.io/v1beta1` has it, without times. `ips` are the
    /// clusterset IPs, when it has any.
    pub fn to_json(&self, ips: &[std::net::IpAddr]) -> Value {
        let ports: Vec<_> = self.ports.iter().map(ImportPort::to_json).collect();
        let clusters: Vec<_> = self.clusters.iter().map(|c| json!({ "cluster": &**c })).collect();
        let mut object = json!({
            "apiVersion": "multicluster.x-k8s.io/v1beta1",
            "kind": "ServiceImport",
            "metadata": { "namespace": self.object.namespace, "name": self.object.name },
            "spec": {
                "type": match self.kind {
                    ImportType::ClusterSetIp => "ClusterSetIP",
                    ImportType::Headless => "Headless",
                },
                "ports": ports,
                "sessionAffinity": match self.affinity {
                    SessionAffinity::None => "None",
                    SessionAffinity::ClientIp => "ClientIP",
                },
            },
            "status": {
                "clusters": clusters,
                "conditions": [{
                    "type": "Ready",
                    "status": "True",
                    "reason": "Ready",
                    "message": "the service can be used",
                }],
            },
        });
        if let Some(spec) =
            object.get_mut("spec").and_then(Value::as_object_mut).filter(|_| !ips.is_empty())
        {
            spec.insert("ips".into(), json!(ips));
        }
        object
    }
}

impl ImportPort {
    fn to_json(&self) -> Value {
        let mut port = json!({ "port": self.port, "protocol": self.protocol });
        if let Some(fields) = port.as_object_mut() {
            if !self.name.is_empty() {
                fields.insert("name".into(), self.name.clone().into());
            }
            if let Some(app) = &self.app_protocol {
                fields.insert("appProtocol".into(), app.clone().into());
            }
        }
        port
    }
}
