//! `MeshPeer`: another cluster of the ClusterSet, as this one knows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How this cluster treats the peer that has the object's name as its cluster id. Peers are made by
/// `isthmus peer invite` and `join`; the object holds what may be tuned, and shows what is known.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "isthmus.dev",
    version = "v1alpha1",
    kind = "MeshPeer",
    doc = "MeshPeer is another cluster of the ClusterSet; its name is that cluster's id.",
    status = "MeshPeerStatus",
    derive = "PartialEq",
    shortname = "peer",
    category = "isthmus",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Trust domain", type_ = "string", json_path = ".status.trustDomain"),
    printcolumn(name = "Imports", type_ = "integer", json_path = ".status.imports"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshPeerSpec {
    /// The order of failover among peers: of those that serve, the ones with the lowest number are
    /// taken first. The default is 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 255), extend("format" = "int32"))]
    pub priority: u8,
}

/// What is known of a peer.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshPeerStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Whether the peer can be reached, by control planes and by proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<PeerState>,
    /// Its SPIFFE trust domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// Addresses of its east-west gateways, with ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// How many services it exports to this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32"))]
    pub imports: Option<u32>,
    /// When its control plane was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_heartbeat: Option<Time>,
    /// `Ready`: whether the peer is `Connected`, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The state of a peer, from its control lease and its data lease.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerState {
    /// Both leases live.
    Connected,
    /// The control stream is gone: its endpoints are kept and still used.
    ControlLost,
    /// Proxies cannot reach it: it is out of load balancing, though its control plane answers.
    DataLost,
    /// Both are gone: it is out of load balancing, and forgotten after a grace period.
    Lost,
}
