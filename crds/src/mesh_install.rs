//! `MeshInstall`: the one object by which an operator says what this cluster's mesh is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshInstallSpec {
    /// What this cluster is called, and where it is.
    #[serde(default)]
    pub cluster: Cluster,
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
    /// The IP address to listen on. The default is `127.0.0.1`.
    #[serde(default = "default_address")]
    #[schemars(length(min = 2, max = 45), extend("x-kubernetes-validations" = [
        {"rule": "isIP(self)", "message": "must be an IP address"},
    ]))]
    pub address: String,
    /// The port. The default is 15443.
    #[serde(default = "default_east_west_port")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
    /// Where peers reach the gateway when that is not where it listens: IP addresses with ports, such as
    /// `192.0.2.1:15443` or `[2001:db8::1]:15443`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 3, max = 53)), extend("x-kubernetes-validations" = [
        {
            "rule": "self.all(a, a.matches('^([0-9.]+|\\\\[[0-9a-fA-F:.]+\\\\]):[1-9][0-9]{0,4}$'))",
            "message": "must be IP addresses with ports, such as 192.0.2.1:15443",
        },
    ]))]
    pub advertise: Vec<String>,
}

/// The data plane.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// Threads of each proxy. The default is the CPU quota of the machine or container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024), extend("format" = "int32"))]
    pub threads: Option<u16>,
    /// Whether each request is logged, as one JSON object a line on standard error. The default is
    /// false.
    #[serde(default)]
    pub access_log: bool,
}

/// Names of the ClusterSet.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// The IP address to answer on. The default is `127.0.0.1`.
    #[serde(default = "default_address")]
    #[schemars(length(min = 2, max = 45))]
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "isIP(self)", "message": "must be an IP address"},
    ]))]
    pub address: String,
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
    /// `Ready`: whether all of it is in force, and if not, what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
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
            address: default_address(),
            port: default_east_west_port(),
            advertise: Vec::new(),
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self { address: default_address(), port: default_dns_port() }
    }
}

fn default_id() -> String {
    "local".to_owned()
}

fn default_address() -> String {
    "127.0.0.1".to_owned()
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
