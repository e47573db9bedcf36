//! What clusters tell each other, as plain data. It is neither facts nor IR: each side makes of it what it
//! believes.

use std::{net::SocketAddr, sync::Arc};

use isthmus_ir::{Name, ObjectRef, SpiffeId};

use crate::delta::client::Weigh;

/// One thing that a cluster tells a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FederationResource {
    /// The cluster itself.
    Cluster(Cluster),
    /// Whom to believe about its identities.
    TrustBundle(isthmus_ir::TrustBundle),
    /// A service that it exports to the peer.
    Service(Service),
    /// What it made of a service that the peer exports to it.
    ImportReport(ImportReport),
}

/// The exporting cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Its cluster id.
    pub cluster: Arc<str>,
    /// Its east-west gateways, in order of preference.
    pub gateways: Vec<SocketAddr>,
    /// Its network.
    pub network: Arc<str>,
    /// Where its gateways are, when known.
    pub zone: Option<Arc<str>>,
}

/// An exported service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Its namespace and name.
    pub object: ObjectRef,
    /// When it was exported, seconds since 1970.
    pub created: i64,
    /// `Headless`, else `ClusterSetIP`.
    pub headless: bool,
    /// `sessionAffinity: ClientIP`.
    pub client_ip_affinity: bool,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A port of an exported service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// Empty for a single unnamed port.
    pub name: String,
    /// The service port.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
    /// Ready endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The whole service behind one handle, for importers whose handles have all gone stale.
    pub fallback: Option<Endpoint>,
}

/// An endpoint as its exporter shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The SNI by which the exporter's gateways know it.
    pub handle: Arc<str>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its weight as the exporter says; at least 1.
    pub weight: u32,
    /// Who may answer; all of the exporter's trust domain.
    pub identities: Vec<SpiffeId>,
}

/// What an importer made of a service, for its exporter's status.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportReport {
    /// The service.
    pub object: ObjectRef,
    /// Whether it is imported.
    pub imported: bool,
    /// Where exports do not agree, as (reason, message).
    pub conflicts: Vec<(String, String)>,
}

/// The kind of a [`FederationResource`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FederationKind {
    /// [`FederationResource::Service`].
    Service,
    /// [`FederationResource::ImportReport`].
    ImportReport,
    /// [`FederationResource::Cluster`].
    Cluster,
    /// [`FederationResource::TrustBundle`].
    TrustBundle,
}

/// What identifies a [`FederationResource`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FederationKey {
    /// Its kind.
    pub kind: FederationKind,
    /// `namespace/name`, the cluster id, or the trust domain.
    pub name: Name,
}

/// One edit of what a cluster tells a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FederationChange {
    /// New, or replaced.
    Upsert(FederationResource),
    /// Gone.
    Remove(FederationKey),
}

impl FederationResource {
    /// What identifies it.
    pub fn key(&self) -> FederationKey {
        let (kind, name) = match self {
            Self::Cluster(r) => (FederationKind::Cluster, r.cluster.clone().into()),
            Self::TrustBundle(r) => (FederationKind::TrustBundle, r.trust_domain.as_str().into()),
            Self::Service(r) => (FederationKind::Service, r.object.to_string().into()),
            Self::ImportReport(r) => (FederationKind::ImportReport, r.object.to_string().into()),
        };
        FederationKey { kind, name }
    }
}

impl FederationChange {
    /// What is edited.
    pub fn key(&self) -> FederationKey {
        match self {
            Self::Upsert(resource) => resource.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}

/// Endpoints and ports are what a peer could flood its importers with (case H4).
impl Weigh for FederationResource {
    fn weight(&self) -> usize {
        let Self::Service(service) = self else { return 0 };
        service.ports.iter().map(|port| port.endpoints.len() + 1).sum()
    }
}
