//! HTTPRoute -> one IR route a rule, and the route's conditions.
//!
//! An invalid rule is dropped and named; a reference that cannot be resolved answers 500 for its share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::{ObjectRef, Route};
use isthmus_world::fact::{HttpRoute, ParentRef, Service, ServicePort, ServiceScope};

use crate::{Condition, attachment::Attachments, reference::Grants};

/// What is read for one HTTPRoute.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The route.
    pub route: &'a HttpRoute,
    /// What [`attachment`](crate::attachment) decided.
    pub attachments: &'a Attachments,
    /// Those of [`References::services`] that exist.
    pub services: &'a BTreeMap<ObjectRef, Arc<Service>>,
    /// The ports of those of [`References::imports`] that exist.
    pub imports: &'a BTreeMap<ObjectRef, Arc<[ServicePort]>>,
    /// Grants in [`References::namespaces`].
    pub grants: Grants<'a>,
    /// What a backendRef to a Service spans.
    pub scope: ServiceScope,
}

/// What to gather for an HTTPRoute.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct References {
    /// Services, those of mirrors included.
    pub services: BTreeSet<ObjectRef>,
    /// Objects of kind ServiceImport; with `ServiceScope::ClusterSet` also those of the names of Services.
    pub imports: BTreeSet<ObjectRef>,
    /// Namespaces of targets, other than the route's.
    pub namespaces: BTreeSet<String>,
}

/// What follows from an HTTPRoute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRouteOutput {
    /// One for each valid rule; empty when it is accepted nowhere.
    pub rules: Vec<Arc<Route>>,
    /// One for each parentRef to a Gateway of ours, in the route's order.
    pub parents: Vec<ParentReport>,
}

/// The part of `status.parents[]` that follows from manifests alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentReport {
    /// As the route has it.
    pub parent: ParentRef,
    /// The Gateway that it names.
    pub gateway: ObjectRef,
    /// Listeners whose `attachedRoutes` counts this route: none when it is not accepted.
    pub attached: Vec<String>,
    /// `Accepted`, `ResolvedRefs`, and `PartiallyInvalid` where it is so.
    pub conditions: Vec<Condition>,
}

/// What `route` refers to.
pub fn references(route: &HttpRoute, scope: ServiceScope) -> References {
    let _ = (route, scope);
    References::default()
}

/// Decides over one HTTPRoute.
pub fn translate(inputs: Inputs<'_>) -> HttpRouteOutput {
    let parents = inputs.attachments.parents.iter().map(|a| ParentReport {
        parent: a.parent.clone(),
        gateway: a.gateway.clone(),
        attached: a.sections.clone(),
        conditions: vec![a.accepted.clone()],
    });
    HttpRouteOutput { rules: Vec::new(), parents: parents.collect() }
}
