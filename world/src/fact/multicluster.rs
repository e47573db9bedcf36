//! Facts of federation: exports of this cluster, exports of peers, and what MeshInstall says.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
};

use isthmus_ir::{SpiffeId, TrustDomain};

use super::Meta;

/// A ServiceExport of this cluster (MCS v1beta1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceExport {
    /// Its namespace and name are those of the Service.
    pub meta: Meta,
}

/// Settings of this cluster, from its MeshInstall or from defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeshSettings {
    /// `spec.cluster.id`.
    pub cluster: Arc<str>,
    /// `spec.cluster.trustDomain`.
    pub trust_domain: TrustDomain,
    /// `spec.cluster.network`.
    pub network: Arc<str>,
    /// The zone of this cluster's gateways, when known.
    pub zone: Option<Arc<str>>,
    /// Where the east-west gateway listens, when there is one.
    pub east_west: Vec<SocketAddr>,
    /// Where the control plane's federation port is: the target of the handle `control`.
    pub federation: Option<SocketAddr>,
    /// The identity of this cluster's east-west gateways, when there is one.
    pub gateway_identity: Option<SpiffeId>,
    /// `spec.defaults.serviceScope`.
    pub service_scope: ServiceScope,
    /// How services of the ClusterSet are reached by name; none when no names are answered.
    pub names: Option<NameSettings>,
    /// Where the objects are from, and so where proxies run.
    pub place: Place,
}

/// Where a mesh is at home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Objects are those of a directory. Gateways share this machine: they bind the addresses that they ask
    /// for, and EndpointSlices may name loopback addresses.
    Host,
    /// Objects are those of an API server. Each Gateway has pods of its own behind a Service, from which its
    /// addresses come.
    Pods,
}

/// How names of `clusterset.local` are served where services have no address of their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameSettings {
    /// What every name resolves to, and where its ports are listened on.
    pub address: IpAddr,
    /// The ports that are given out, one to each port of a ServiceImport.
    pub ports: RangeInclusive<u16>,
    /// Those that are not, as this cluster has another use for them.
    pub reserved: BTreeSet<u16>,
}

/// What a backendRef to a Service spans (GEP-1748).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceScope {
    /// Its own cluster.
    Cluster,
    /// The ClusterSet, when the Service is imported too.
    ClusterSet,
}

/// What one peer is and what it exports; replaced as a whole per service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerFact {
    /// Its cluster id.
    pub cluster: Arc<str>,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Its east-west gateways.
    pub gateways: Vec<SocketAddr>,
    /// What its leases say.
    pub state: PeerState,
    /// Roots of its trust domain as DER.
    pub roots: Vec<bytes::Bytes>,
    /// Failover order among peers: lower first.
    pub priority: u8,
    /// Order among peers of the same priority: lower first. Equal: they share the load.
    pub cost: u32,
    /// Import rule: the namespaces that it may speak for here. None: all.
    pub namespaces: Option<Arc<BTreeSet<String>>>,
}

/// The state of a peer, from its two leases (design, section 7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerState {
    /// Both leases live.
    Connected,
    /// The control stream is gone: endpoints are kept and marked.
    ControlLost,
    /// Proxies cannot reach it: out of load balancing, though control lives.
    DataLost,
    /// Both gone: out, and forgotten after the grace period.
    Lost,
}

/// A service that one cluster exports, as its importers know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportedService {
    /// The exporting cluster.
    pub cluster: Arc<str>,
    /// The namespace, which means the same in every cluster (namespace sameness).
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// When it was exported, seconds since 1970: the oldest wins conflicts.
    pub created: i64,
    /// Headless or not.
    pub kind: ImportType,
    /// Session affinity.
    pub affinity: SessionAffinity,
    /// Ports.
    pub ports: Vec<ExportedPort>,
}

/// `type` of a ServiceImport.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImportType {
    /// `ClusterSetIP`.
    ClusterSetIp,
    /// `Headless`.
    Headless,
}

/// `sessionAffinity` of a Service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionAffinity {
    /// `None`.
    None,
    /// `ClientIP`.
    ClientIp,
}

/// One exported port with its endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportedPort {
    /// Empty for a single unnamed port.
    pub name: String,
    /// The service port.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
    /// Ready endpoints, in order of handle.
    pub endpoints: Vec<ExportedEndpoint>,
    /// The whole service behind one handle, for importers whose handles have all gone stale.
    pub fallback: Option<ExportedEndpoint>,
}

/// One endpoint as an exporter shows it: a handle and no address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportedEndpoint {
    /// The SNI by which the exporter's gateway knows it.
    pub handle: Arc<str>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its weight, at least 1; clamped by importers.
    pub weight: u32,
    /// Who may answer.
    pub identities: Vec<SpiffeId>,
}
