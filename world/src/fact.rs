//! Facts: objects projected to the fields that Isthmus uses, normalised, and compared by value.
//!
//! An object whose fact is equal to the stored one is dropped at ingest; so heartbeats, managed fields
//! and our own status writes wake nothing. A fact holds what the user declared, not what follows from
//! it: nothing here is resolved or validated against another object.

mod core;
mod gateway;
mod http_route;
mod multicluster;
mod runtime;

pub use core::{
    AddressFamily, EndpointConditions, EndpointSlice, Namespace, Secret, Service, ServicePort,
    ServiceType, SliceEndpoint, SlicePort,
};
pub use gateway::{
    AllowedNamespaces, AllowedRoutes, Gateway, GatewayClass, GrantFrom, GrantTo, GroupKind,
    LabelSelector, Listener, ListenerTls, ReferenceGrant, Requirement, SelectorOperator, TlsMode,
};
pub use http_route::{
    BackendRef, HttpFilter, HttpRoute, HttpRule, ObjectReference, ParentRef, RuleTimeouts,
};
pub use multicluster::{
    ExportedEndpoint, ExportedPort, ExportedService, ImportType, MeshSettings, PeerFact, PeerState,
    ServiceExport, ServiceScope, SessionAffinity,
};
pub use runtime::{Problem, ProxyReport};

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::ObjectRef;

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
