//! `GatewayParameters`: how the proxies of Gateways are run, and the Service in front of them.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Autoscale, Proxy, Resources,
    mesh_install::{BOUNDS_IN_ORDER, IMAGE},
};

/// How a Gateway is run, where `spec.infrastructure.parametersRef` of the Gateway names these parameters
/// (those of its own namespace), or `spec.parametersRef` of its GatewayClass. What the Gateway's say counts
/// more than what those of its class say, field by field, and that more than what the MeshInstall, or the
/// MeshRevision, says. Nothing is written to this object: whether it can be used is told by the condition
/// `Accepted` of each Gateway and GatewayClass that names it. On Kubernetes only: in a directory it is
/// checked, and changes nothing.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "isthmus.dev",
    version = "v1alpha1",
    kind = "GatewayParameters",
    plural = "gatewayparameters",
    doc = "GatewayParameters says how the proxies of the Gateways that name it are run, and what their Service is like.",
    namespaced,
    derive = "PartialEq",
    shortname = "gwparams",
    category = "isthmus",
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.proxy.replicas"),
    printcolumn(
        name = "Max replicas",
        type_ = "integer",
        json_path = ".spec.proxy.autoscale.maxReplicas"
    ),
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service.type"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.proxy.image", priority = 1),
    printcolumn(
        name = "Drain",
        type_ = "integer",
        json_path = ".spec.drain.deadlineSeconds",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayParametersSpec {
    /// The proxies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<GatewayProxy>,
    /// The Service in front of the proxies, which gives the Gateway its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<GatewayService>,
    /// How a proxy ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// The proxies of a Gateway.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": BOUNDS_IN_ORDER, "message": "cannot have more replicas than autoscale.maxReplicas"},
]))]
pub struct GatewayProxy {
    /// How many there are; with `autoscale`, the least there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub replicas: Option<u16>,
    /// Lets the number of proxies follow their load, from `replicas` up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Autoscale>,
    /// The image, in full. It does not follow the version of the mesh, and it has the identity of the
    /// Gateway and the keys of its listeners: who may write this object may run any image with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,
    /// Threads of each proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024), extend("format" = "int32"))]
    pub threads: Option<u16>,
    /// Whether each request is logged, as one JSON object a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<bool>,
    /// What each proxy is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// The Service in front of the proxies of a Gateway.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.loadBalancerClass) || !has(self.type) || self.type == 'LoadBalancer'",
        "message": "can have a loadBalancerClass with type LoadBalancer only",
    },
    {
        "rule": "!has(self.externalTrafficPolicy) || !has(self.type) || self.type != 'ClusterIP'",
        "message": "cannot have an externalTrafficPolicy with type ClusterIP",
    },
]))]
pub struct GatewayService {
    /// Its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<GatewayServiceType>,
    /// Where what comes in by a node goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Which load balancer implements the Service; the default is the cluster's own. Kubernetes lets it
    /// be chosen once: to change it, delete the Service, which is made anew. It means nothing to Services
    /// of other types than LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
        )
    )]
    pub load_balancer_class: Option<String>,
    /// Annotations of the Service, by which a cloud's load balancer is configured. Those of the Gateway's
    /// own `spec.infrastructure.annotations` count more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// The type of the Service of a Gateway. The default is `LoadBalancer`. Whatever it says, a Gateway all of
/// whose `spec.addresses` have the routability `Cluster` gets a Service of type `ClusterIP`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayServiceType {
    /// A load balancer, from outside the cluster.
    LoadBalancer,
    /// From within the cluster.
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// A port of each node.
    NodePort,
}

impl GatewayServiceType {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LoadBalancer => "LoadBalancer",
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
        }
    }
}

/// Where what comes in by a node goes. `Local`: to proxies of that node only, which see the client's address; a
/// node without one gets nothing. `Cluster`: to any proxy, from the node's address. The default is Kubernetes'
/// own, `Cluster`. It means nothing to a Service of type `ClusterIP`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExternalTrafficPolicy {
    /// To any proxy.
    Cluster,
    /// To proxies of that node.
    Local,
}

impl ExternalTrafficPolicy {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// How a proxy ends: it goes on serving for `waitSeconds`, while whoever sends it requests learns of it; then
/// what is open has `deadlineSeconds` to finish. Kubernetes gives its pod a little more than both.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drain {
    /// For how long it serves as before, though it is not ready. The default is 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600), extend("format" = "int32"))]
    pub wait_seconds: Option<u16>,
    /// How long requests and connections may take to finish after that. The default is 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400), extend("format" = "int32"))]
    pub deadline_seconds: Option<u32>,
}

impl GatewayParametersSpec {
    /// What is given here, and where nothing is, what `others` say.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            proxy: either(self.proxy, others.proxy.as_ref(), GatewayProxy::or),
            service: either(self.service, others.service.as_ref(), GatewayService::or),
            drain: either(self.drain, others.drain.as_ref(), Drain::or),
        }
    }
}

/// What is given of both, or either.
fn either<T: Clone>(own: Option<T>, other: Option<&T>, both: impl FnOnce(T, &T) -> T) -> Option<T> {
    match (own, other) {
        (Some(own), Some(other)) => Some(both(own, other)),
        (own, other) => own.or_else(|| other.cloned()),
    }
}

impl GatewayProxy {
    fn or(self, others: &Self) -> Self {
        Self {
            replicas: self.replicas.or(others.replicas),
            autoscale: self.autoscale.or_else(|| others.autoscale.clone()),
            image: self.image.or_else(|| others.image.clone()),
            threads: self.threads.or(others.threads),
            access_log: self.access_log.or(others.access_log),
            resources: either(self.resources, others.resources.as_ref(), Resources::or),
        }
    }

    /// What is given here, and where nothing is, what `proxy` says.
    #[must_use]
    pub fn over(&self, proxy: &Proxy) -> Proxy {
        let resources = self.resources.clone().unwrap_or_default();
        Proxy {
            threads: self.threads.or(proxy.threads),
            access_log: self.access_log.unwrap_or(proxy.access_log),
            image: self.image.clone().or_else(|| proxy.image.clone()),
            replicas: self.replicas.or(proxy.replicas),
            autoscale: self.autoscale.clone().or_else(|| proxy.autoscale.clone()),
            resources: resources.or(&proxy.resources),
        }
    }
}

impl GatewayService {
    fn or(self, others: &Self) -> Self {
        let mut annotations = others.annotations.clone();
        annotations.extend(self.annotations);
        Self {
            type_: self.type_.or(others.type_),
            external_traffic_policy: self.external_traffic_policy.or(others.external_traffic_policy),
            load_balancer_class: self.load_balancer_class.or_else(|| others.load_balancer_class.clone()),
            annotations,
        }
    }
}

impl Drain {
    fn or(self, others: &Self) -> Self {
        Self {
            wait_seconds: self.wait_seconds.or(others.wait_seconds),
            deadline_seconds: self.deadline_seconds.or(others.deadline_seconds),
        }
    }
}
