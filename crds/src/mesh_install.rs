//! `MeshInstall`: the one object by which an operator says what this cluster's mesh is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// That what listens for peers and what answers names do not want the same port.
const PORTS_DIFFER: &str = "!has(self.gateways) || !has(self.gateways.eastWest) || !has(self.dns) \
     || !self.gateways.eastWest.enabled || self.gateways.eastWest.port != self.dns.port \
     || (has(self.gateways.eastWest.address) && has(self.dns.address) \
     && self.gateways.eastWest.address != self.dns.address)";
/// That each is the address of a socket: one of IPv6 is in brackets, and what is in brackets has a colon.
const ARE_SOCKETS: &str = "self.all(a, a.matches('^([0-9.]+|\\\\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\\\\]):[1-9][0-9]{0,4}$') \
     && isIP(a.substring(0, a.lastIndexOf(':')).replace('[', '').replace(']', '')) \
     && int(a.substring(a.lastIndexOf(':') + 1)) <= 65535)";
/// That the bounds of a number of proxies are in order.
pub(crate) const BOUNDS_IN_ORDER: &str =
    "!has(self.autoscale) || !has(self.replicas) || self.autoscale.maxReplicas >= self.replicas";
/// That no more CPU is set aside than may be used.
const CPU_FITS: &str = "!has(self.requests) || !has(self.limits) || !has(self.requests.cpu) \
     || !has(self.limits.cpu) || quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0";
/// The same of memory.
const MEMORY_FITS: &str = "!has(self.requests) || !has(self.limits) || !has(self.requests.memory) \
     || !has(self.limits.memory) || quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0";
/// A reference to an image: host, path, tag and digest, all but the path if need be.
pub(crate) const IMAGE: &str = r"^((\[[0-9a-fA-F:]+\]|[a-zA-Z0-9.-]+)(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,128})?$";

/// What this cluster's mesh is. Every field has a default that works on one machine.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "isthmus.dev",
    version = "v1alpha1",
    kind = "MeshInstall",
    doc = "MeshInstall says what this cluster's mesh is: its identity, its gateways and its defaults.",
    status = "MeshInstallStatus",
    derive = "PartialEq",
    shortname = "mesh",
    category = "isthmus",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.id"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.healthy.version"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": PORTS_DIFFER,
    "message": "cannot have the same port for gateways.eastWest and dns, unless their addresses differ",
}]))]
pub struct MeshInstallSpec {
    /// The version of the images that are not named in full. The default is the operator's own. On
    /// Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub version: Option<String>,
    /// What this cluster is called, and where it is.
    #[serde(default)]
    pub cluster: Cluster,
    /// How the control plane is run. On Kubernetes only.
    #[serde(default)]
    pub control_plane: ControlPlane,
    /// Gateways that belong to the mesh itself; edge gateways are Gateway objects.
    #[serde(default)]
    pub gateways: Gateways,
    /// The data plane.
    #[serde(default)]
    pub proxy: Proxy,
    /// Answers for names of the ClusterSet (`<service>.<namespace>.svc.clusterset.local`).
    #[serde(default)]
    pub dns: Dns,
    /// What holds where an object does not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// How changes of version, image and the like come into force. On Kubernetes only.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// What happens when somebody else changes what the operator made. On Kubernetes only. The default
    /// is `Repair`.
    #[serde(default)]
    pub drift: Drift,
}

/// What a cluster is called, and where it is.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.id == oldSelf.id",
        "message": "cannot change its id: peers and certificates know it by this name",
    },
    {
        "rule": "has(self.trustDomain) == has(oldSelf.trustDomain) && (!has(self.trustDomain) || self.trustDomain == oldSelf.trustDomain)",
        "message": "cannot change its trust domain: every certificate in it would be void",
    },
]))]
pub struct Cluster {
    /// The cluster's id, unique in its ClusterSet: a DNS label.
    #[serde(default = "default_id")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub id: String,
    /// The network that its workloads share, as peers are told. Requests between clusters go through
    /// east-west gateways in any network so far. The default is the cluster's id, that is a network of
    /// its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub network: Option<String>,
    /// The SPIFFE trust domain of its workloads, unique in its ClusterSet. The default is
    /// `<id>.isthmus.local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[a-z0-9._-]+$"))]
    pub trust_domain: Option<String>,
    /// Where the cluster's gateways run.
    #[serde(default)]
    pub locality: Locality,
}

/// A place.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Locality {
    /// The region, as in `topology.kubernetes.io/region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// The zone, as in `topology.kubernetes.io/zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub zone: Option<String>,
}

/// Gateways that belong to the mesh itself.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateways {
    /// The gateway for other clusters.
    #[serde(default)]
    pub east_west: EastWestGateway,
}

/// The one port through which everything between clusters goes.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EastWestGateway {
    /// Whether there is one, so that other clusters can come in. The default is `true`.
    #[serde(default = "default_enabled")]
    pub enabled: bool,
    /// The IP address to listen on. The default is `127.0.0.1` on one machine, and every address of its
    /// pod on Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45), extend("x-kubernetes-validations" = [
        {"rule": "isIP(self)", "message": "must be an IP address"},
    ]))]
    pub address: Option<String>,
    /// The port. The default is 15443.
    #[serde(default = "default_east_west_port")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
    /// Where peers reach the gateway when that is not where it listens: IP addresses with ports, such as
    /// `192.0.2.1:15443` or `[2001:db8::1]:15443`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 3, max = 53)), extend("x-kubernetes-validations" = [
        {"rule": ARE_SOCKETS, "message": "must be IP addresses with ports, such as 192.0.2.1:15443"},
    ]))]
    pub advertise: Vec<String>,
}

/// The data plane.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": BOUNDS_IN_ORDER, "message": "cannot have more replicas than autoscale.maxReplicas"},
]))]
pub struct Proxy {
    /// Threads of each proxy. The default is the CPU quota of the machine or container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024), extend("format" = "int32"))]
    pub threads: Option<u16>,
    /// Whether each request is logged, as one JSON object a line on standard error. The default is
    /// false.
    #[serde(default)]
    pub access_log: bool,
    /// The image of the proxy. The default is `isthmus.dev/proxy` with the version of this install. On
    /// Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,
    /// How many proxies each Gateway has. The default is 1. On Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub replicas: Option<u16>,
    /// Lets the number of proxies follow their load, from `replicas` up. There is no limit to set when
    /// it is absent: the number is `replicas`. On Kubernetes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// What each proxy is given. On Kubernetes only.
    #[serde(default)]
    pub resources: Resources,
}

/// How the control plane is run.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlane {
    /// The image. The default is `isthmus.dev/isthmus` with the version of this install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,
    /// How many there are. One of them leads: it serves all proxies and writes statuses, and another takes
    /// over when it ends. The default is 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100), extend("format" = "int32"))]
    pub replicas: Option<u16>,
    /// What each of them is given.
    #[serde(default)]
    pub resources: Resources,
}

/// Bounds of a number that follows load.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscale {
    /// The most there may be.
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub max_replicas: u16,
    /// The share of the requested CPU, in percent, that is aimed at. The default is 70.
    #[serde(default = "default_target_cpu")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub target_cpu_percent: u16,
}

/// What a container is given.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": CPU_FITS, "message": "cannot request more cpu than the limit"},
    {"rule": MEMORY_FITS, "message": "cannot request more memory than the limit"},
]))]
pub struct Resources {
    /// What is set aside for it.
    #[serde(default)]
    pub requests: ResourceList,
    /// What it may use at most.
    #[serde(default)]
    pub limits: ResourceList,
}

/// Amounts of resources.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceList {
    /// CPU time, such as `500m` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?m?$"))]
    pub cpu: Option<String>,
    /// Memory, such as `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+(\.[0-9]+)?([KMGT]i|[kMGT])?$"))]
    pub memory: Option<String>,
}

/// How changes come into force.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upgrade {
    /// For how long a changed Deployment may make no progress before the change has failed. The default
    /// is 300.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 5, max = 86400), extend("format" = "int32"))]
    pub timeout_seconds: u32,
    /// Whether a change that has failed is undone: what was healthy last runs again until the
    /// MeshInstall, or the operator's version, changes. The default is `true`.
    #[serde(default = "default_enabled")]
    pub rollback: bool,
}

/// What happens when somebody else changes what the operator made.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drift {
    /// It is put right again.
    #[default]
    Repair,
    /// It is told in the condition `Drifted`, and left until the next change of the MeshInstall.
    Report,
}

/// Names of the ClusterSet.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// The IP address to answer on. The default is `127.0.0.1` on one machine, and every address of its
    /// pod on Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "isIP(self)", "message": "must be an IP address"},
    ]))]
    pub address: Option<String>,
    /// The port, for UDP and TCP. The default is 15353.
    #[serde(default = "default_dns_port")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
}

/// What holds where an object does not say otherwise.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Defaults {
    /// What a backendRef to a Service reaches: with `Cluster` the Service's own cluster only, as
    /// GEP-1748 has it; with `ClusterSet` also the clusters that export a service of the same name, when
    /// this cluster exports it too. The default is `Cluster`.
    #[serde(default)]
    pub service_scope: ServiceScope,
}

/// What a backendRef to a Service reaches.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceScope {
    /// The cluster of the Service.
    #[default]
    Cluster,
    /// Every cluster that exports the Service.
    ClusterSet,
}

/// What became of a MeshInstall.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshInstallStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether all of it is in force, and if not, what is missing. `ProxiesReady`: whether the
    /// proxies of each Gateway run. `GatewayAPISupported`: whether the definitions of Gateway API fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What ran well last: what a failed change is rolled back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<Revision>,
    /// The change that failed and was rolled back, until the MeshInstall is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedRevision>,
    /// The objects that this install consists of, those of its Gateways aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub inventory: Vec<InventoryEntry>,
}

/// What decides how pods of the mesh run.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// The version of Isthmus.
    pub version: String,
    /// `spec.controlPlane`, with the image in full.
    pub control_plane: ControlPlane,
    /// `spec.proxy`, with the image in full.
    pub proxy: Proxy,
}

/// A change that failed.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedRevision {
    /// What did not run.
    pub revision: Revision,
    /// What was wrong with it.
    pub message: String,
    /// The generation that asked for it: it is tried again with another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// One object of an install.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntry {
    /// Its API group, empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, empty for what is in none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Cluster {
    /// The trust domain: the one that is given, or the one that follows from the id.
    pub fn trust_domain(&self) -> String {
        self.trust_domain.clone().unwrap_or_else(|| format!("{}.isthmus.local", self.id))
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self { id: default_id(), network: None, trust_domain: None, locality: Locality::default() }
    }
}

impl Default for EastWestGateway {
    fn default() -> Self {
        Self {
            enabled: default_enabled(),
            address: None,
            port: default_east_west_port(),
            advertise: Vec::new(),
        }
    }
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { timeout_seconds: default_timeout(), rollback: default_enabled() }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { address: None, port: default_dns_port() }
    }
}

fn default_id() -> String {
    "local".to_owned()
}

fn default_enabled() -> bool {
    true
}

fn default_east_west_port() -> u16 {
    15443
}

fn default_dns_port() -> u16 {
    15353
}

fn default_target_cpu() -> u16 {
    70
}

fn default_timeout() -> u32 {
    300
}
