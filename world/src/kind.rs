//! The kinds of objects that Isthmus reads, and what is known of each kind as a whole.

use isthmus_ir::ObjectRef;

/// A kind of object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// `GatewayClass` of Gateway API.
    GatewayClass,
    /// `Gateway` of Gateway API.
    Gateway,
    /// `HTTPRoute` of Gateway API.
    HttpRoute,
    /// `ReferenceGrant` of Gateway API.
    ReferenceGrant,
    /// `BackendTLSPolicy` of Gateway API.
    BackendTlsPolicy,
    /// `Namespace` of the core group.
    Namespace,
    /// `Service` of the core group.
    Service,
    /// `EndpointSlice` of `discovery.k8s.io`.
    EndpointSlice,
    /// `Secret` of the core group.
    Secret,
    /// `ServiceExport` of `multicluster.x-k8s.io`.
    ServiceExport,
    /// `GatewayParameters` of `isthmus.dev`.
    GatewayParameters,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 11] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::HttpRoute,
        Self::ReferenceGrant,
        Self::BackendTlsPolicy,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::ServiceExport,
        Self::GatewayParameters,
    ];

    /// The kind as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ServiceExport => "ServiceExport",
            Self::GatewayParameters => "GatewayParameters",
        }
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::GatewayClass
            | Self::Gateway
            | Self::HttpRoute
            | Self::ReferenceGrant
            | Self::BackendTlsPolicy => "gateway.networking.k8s.io",
            Self::Namespace | Self::Service | Self::Secret => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::ServiceExport => "multicluster.x-k8s.io",
            Self::GatewayParameters => isthmus_crds::GROUP,
        }
    }

    /// The versions that are read, the preferred one first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::GatewayClass | Self::Gateway | Self::HttpRoute | Self::ReferenceGrant => {
                &["v1", "v1beta1"]
            }
            Self::BackendTlsPolicy => &["v1", "v1alpha3"],
            Self::Namespace | Self::Service | Self::Secret | Self::EndpointSlice => &["v1"],
            Self::ServiceExport => &["v1beta1", "v1alpha1"],
            Self::GatewayParameters => &["v1alpha1"],
        }
    }

    /// Whether its objects belong to no namespace.
    pub fn cluster_scoped(self) -> bool {
        matches!(self, Self::GatewayClass | Self::Namespace)
    }

    /// The kind of that group and name, when it is one that Isthmus reads.
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.group() == group && k.as_str() == kind)
    }
}

/// What is known of a kind as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KindState {
    /// Its objects have not all been read yet: nothing is published (case E3).
    Pending,
    /// All of its objects are known.
    Synced,
    /// The API does not have it (its CRD is missing): known to be empty.
    Absent,
    /// It can no longer be read (permission or watch lost): the last known facts stand.
    Frozen,
}

/// What identifies an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, empty for cluster-scoped kinds, and its name.
    pub object: ObjectRef,
}

impl ObjectKey {
    /// The object `namespace/name` of `kind`; `namespace` is dropped for cluster-scoped kinds.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let namespace = if kind.cluster_scoped() { String::new() } else { namespace.into() };
        Self { kind, object: ObjectRef::new(namespace, name) }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.kind.cluster_scoped() {
            write!(f, "{} {}", self.kind.as_str(), self.object.name)
        } else {
            write!(f, "{} {}", self.kind.as_str(), self.object)
        }
    }
}
