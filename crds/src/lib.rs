//! Isthmus's custom resources and those of the Multi-Cluster Services API, as Rust types.
//!
//! The types are the one source: `manifests/*.yaml` is generated from them (`ISTHMUS_UPDATE=1 cargo test
//! -p isthmus-crds`), and a test holds the two together. Every field is documented here, because these
//! comments are what `kubectl explain` shows. Defaults and rules live in the schema, so that an API
//! server and a directory of manifests treat an object alike; nothing here interprets an object.

#![allow(clippy::duplicated_attributes, reason = "printer columns repeat `type_` within one attribute")]

pub mod names;

mod gateway_parameters;
mod mcs;
mod mesh_install;
mod mesh_peer;
mod mesh_revision;
mod schema;

pub use gateway_parameters::{
    Drain, ExternalTrafficPolicy, GatewayParameters, GatewayParametersSpec, GatewayProxy,
    GatewayService, GatewayServiceType,
};
pub use mcs::{
    ClientIpConfig, ImportPort, ImportingCluster, ServiceExport, ServiceExportSpec, ServiceExportStatus,
    ServiceImport, ServiceImportSpec, ServiceImportStatus, ServiceImportType, SessionAffinity,
    SessionAffinityConfig,
};
pub use mesh_install::{
    Autoscale, Cluster, ControlPlane, Defaults, Dns, Drift, EastWestGateway, FailedRevision, Gateways,
    InventoryEntry, Locality, MeshInstall, MeshInstallSpec, MeshInstallStatus, Proxy, ResourceList,
    Resources, Revision, ServiceScope, Upgrade,
};
pub use mesh_peer::{MeshPeer, MeshPeerSpec, MeshPeerStatus, PeerState};
pub use mesh_revision::{MeshRevision, MeshRevisionSpec, MeshRevisionStatus};
pub use schema::{Definition, definitions};

/// The API group of Isthmus's own kinds.
pub const GROUP: &str = "isthmus.dev";

/// The API group of the Multi-Cluster Services API.
pub const MCS_GROUP: &str = "multicluster.x-k8s.io";
