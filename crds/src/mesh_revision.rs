//! `MeshRevision`: another control plane of a mesh, beside the MeshInstall's own, for the Gateways that ask
//! for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ControlPlane, Proxy, ResourceList, Resources};

/// A revision of a mesh, by the object's name. A Gateway with the label `isthmus.dev/revision` of that
/// name, or in a namespace with it, is run by this revision; a label on the Gateway counts more than the
/// namespace's. Gateways without are run by the MeshInstall itself.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "isthmus.dev",
    version = "v1alpha1",
    kind = "MeshRevision",
    doc = "MeshRevision is another control plane of a mesh, with proxies of its own version, for the Gateways with the label isthmus.dev/revision of its name.",
    status = "MeshRevisionStatus",
    derive = "PartialEq",
    shortname = "meshrev",
    category = "isthmus",
    printcolumn(name = "Mesh", type_ = "string", json_path = ".spec.meshInstall"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "In use",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"InUse\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshRevisionSpec {
    /// The name of the MeshInstall that it is a revision of.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = [
        {"rule": "self == oldSelf", "message": "cannot be changed: what it runs is of this MeshInstall"},
    ]))]
    pub mesh_install: String,
    /// The version of the images that are not named in full. The default is the MeshInstall's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"))]
    pub version: Option<String>,
    /// How its control plane is run. What is not given here is as in the MeshInstall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
    /// The proxies of its Gateways. What is not given here is as in the MeshInstall, but for `accessLog`,
    /// which holds as it is here where `proxy` is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// What became of a MeshRevision.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshRevisionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `Ready`: whether its control plane and the proxies of its Gateways run. `InUse`: whether Gateways
    /// are run by it, and which; one in use is not removed until they are run by another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl ControlPlane {
    /// What is given here, and where nothing is, what `others` say.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            image: self.image.or_else(|| others.image.clone()),
            replicas: self.replicas.or(others.replicas),
            resources: self.resources.or(&others.resources),
        }
    }
}

impl Proxy {
    /// What is given here, and where nothing is, what `others` say; whether requests are logged is always
    /// given.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            threads: self.threads.or(others.threads),
            access_log: self.access_log,
            image: self.image.or_else(|| others.image.clone()),
            replicas: self.replicas.or(others.replicas),
            autoscale: self.autoscale.or_else(|| others.autoscale.clone()),
            resources: self.resources.or(&others.resources),
        }
    }
}

impl Resources {
    /// What is given here, and where nothing is, what `others` say.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self { requests: self.requests.or(&others.requests), limits: self.limits.or(&others.limits) }
    }
}

impl ResourceList {
    fn or(self, others: &Self) -> Self {
        Self {
            cpu: self.cpu.or_else(|| others.cpu.clone()),
            memory: self.memory.or_else(|| others.memory.clone()),
        }
    }
}
