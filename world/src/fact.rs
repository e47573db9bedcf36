//! Facts: objects projected to the fields that Isthmus uses, normalised, and compared by value.
//!
//! An object whose fact is equal to the stored one is dropped at ingest; so heartbeats, managed fields
//! and our own status writes wake nothing. A fact holds what the user declared, not what follows from
//! it: nothing here is resolved or validated against another object.

mod backend_tls_policy;
mod core;
mod gateway;
mod http_route;
mod multicluster;
mod runtime;

pub use backend_tls_policy::{BackendTlsPolicy, PolicyTarget};
pub use core::{
    Address, AddressFamily, EndpointConditions, EndpointSlice, Namespace, Secret, Service, ServicePort,
    ServiceType, SliceEndpoint, SlicePort,
};
pub use gateway::{
    AllowedNamespaces, AllowedRoutes, Gateway, GatewayClass, GatewayParameters, GrantFrom, GrantTo,
    GroupKind, LabelSelector, Listener, ListenerTls, ReferenceGrant, RequestedAddress, Requirement,
    SelectorOperator, TlsMode,
};
pub use http_route::{
    BackendRef, HttpFilter, HttpRoute, HttpRule, ObjectReference, ParentRef, RuleRetry, RuleTimeouts,
};
pub use multicluster::{
    ExportedEndpoint, ExportedPort, ExportedService, ImportType, MeshSettings, NameSettings, PeerFact,
    PeerState, Place, ServiceExport, ServiceScope, SessionAffinity,
};
pub use runtime::{Problem, ProxyReport};

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::ObjectRef;

use crate::kind::{Kind, ObjectKey};

/// The fact of one object of this cluster.
#[derive(Clone, PartialEq, Debug)]
pub enum Fact {
    /// Of a GatewayClass.
    GatewayClass(GatewayClass),
    /// Of a Gateway.
    Gateway(Gateway),
    /// Of an HTTPRoute.
    HttpRoute(HttpRoute),
    /// Of a ReferenceGrant.
    ReferenceGrant(ReferenceGrant),
    /// Of a BackendTLSPolicy.
    BackendTlsPolicy(BackendTlsPolicy),
    /// Of a Namespace.
    Namespace(Namespace),
    /// Of a Service.
    Service(Service),
    /// Of an EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// Of a Secret.
    Secret(Secret),
    /// Of a ServiceExport.
    ServiceExport(ServiceExport),
    /// Of GatewayParameters.
    GatewayParameters(GatewayParameters),
}

impl Fact {
    /// The kind of its object.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::BackendTlsPolicy(_) => Kind::BackendTlsPolicy,
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::ServiceExport(_) => Kind::ServiceExport,
            Self::GatewayParameters(_) => Kind::GatewayParameters,
        }
    }

    /// What its object's `metadata` says.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::GatewayClass(fact) => &fact.meta,
            Self::Gateway(fact) => &fact.meta,
            Self::HttpRoute(fact) => &fact.meta,
            Self::ReferenceGrant(fact) => &fact.meta,
            Self::BackendTlsPolicy(fact) => &fact.meta,
            Self::Namespace(fact) => &fact.meta,
            Self::Service(fact) => &fact.meta,
            Self::EndpointSlice(fact) => &fact.meta,
            Self::Secret(fact) => &fact.meta,
            Self::ServiceExport(fact) => &fact.meta,
            Self::GatewayParameters(fact) => &fact.meta,
        }
    }

    /// What identifies its object.
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey::new(self.kind(), &meta.namespace, &meta.name)
    }
}

/// What every fact of an object carries of `metadata`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.generation`; counted in the state directory for objects from files.
    pub generation: i64,
    /// `metadata.creationTimestamp`, seconds since 1970; for a file without one, when it was first read.
    pub created: i64,
    /// `metadata.labels`, kept only by kinds that are selected by labels or read a well-known one.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Annotations of our own group, and no others.
    pub annotations: Arc<BTreeMap<String, String>>,
}

impl Meta {
    /// The object's namespace and name.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(&self.namespace, &self.name)
    }
}
