//! Gateway -> listeners, their conditions, and the Gateway's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::{Listener, ObjectRef};
use isthmus_world::fact::{Gateway, GroupKind};

use crate::{
    Condition,
    attachment::Parent,
    certificate::CertificateOutput,
    reference::{Grants, Source},
};

/// What is read for one Gateway of ours.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The Gateway.
    pub gateway: &'a Gateway,
    /// Whether its class is accepted.
    pub class_accepted: bool,
    /// Those of [`secrets`] that exist.
    pub certificates: &'a BTreeMap<ObjectRef, Arc<CertificateOutput>>,
    /// Grants in the namespaces of [`secrets`].
    pub grants: Grants<'a>,
    /// This Gateway's share of [`port_conflicts`].
    pub taken: &'a [Taken],
}

/// What follows from a Gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayOutput {
    /// Listeners to serve; empty when the Gateway is not accepted. They name the certificates that they
    /// need.
    pub listeners: Vec<Arc<Listener>>,
    /// How routes see the Gateway.
    pub parent: Arc<Parent>,
    /// Its status, as far as it does not depend on routes and proxies.
    pub report: GatewayReport,
}

/// The part of a Gateway's status that follows from manifests alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayReport {
    /// `Accepted` and `ResolvedRefs`.
    pub conditions: Vec<Condition>,
    /// Why it can never be programmed as it is, when so: `Programmed` is False with this reason.
    pub unprogrammable: Option<Condition>,
    /// Addresses that its listeners bind.
    pub addresses: Vec<std::net::IpAddr>,
    /// One for each of `spec.listeners`, in order.
    pub listeners: Vec<ListenerReport>,
}

/// The part of a listener's status that follows from manifests alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerReport {
    /// `name`.
    pub name: String,
    /// `supportedKinds`.
    pub kinds: Vec<GroupKind>,
    /// `Accepted`, `ResolvedRefs`, `Conflicted`, and `OverlappingTLSConfig` where it is so.
    pub conditions: Vec<Condition>,
    /// Whether there is an [`ir::Listener`](isthmus_ir::Listener) for it.
    pub served: bool,
}

/// A listener that would bind what an older Gateway binds already. Gateways are not merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The listener's name.
    pub section: String,
    /// What both bind.
    pub address: std::net::SocketAddr,
    /// The older Gateway.
    pub by: ObjectRef,
}

/// The Secrets that listeners of `gateway` refer to: what to gather, and in which namespaces grants.
pub fn secrets(gateway: &Gateway) -> BTreeSet<ObjectRef> {
    let source = Source::gateway_api("Gateway", &gateway.meta.namespace);
    gateway
        .listeners
        .iter()
        .filter_map(|l| l.tls.as_ref())
        .flat_map(|tls| &tls.certificates)
        .map(|r| ObjectRef::new(crate::reference::namespace(source, r), &r.name))
        .collect()
}

/// Which listeners of which Gateways would bind an address and port of an older Gateway's: older first,
/// then by namespace and name.
pub fn port_conflicts<'a>(
    gateways: impl IntoIterator<Item = &'a Gateway>,
) -> BTreeMap<ObjectRef, Vec<Taken>> {
    let _ = gateways.into_iter().count();
    BTreeMap::new()
}

/// Decides over one Gateway.
pub fn translate(inputs: Inputs<'_>) -> GatewayOutput {
    let gateway = inputs.gateway;
    GatewayOutput {
        listeners: Vec::new(),
        parent: Arc::new(Parent { gateway: gateway.meta.object(), sections: Vec::new() }),
        report: GatewayReport {
            conditions: Vec::new(),
            unprogrammable: None,
            addresses: Vec::new(),
            listeners: Vec::new(),
        },
    }
}
