//! Which listeners a route is attached to, and with which hosts: written once, for routes of any kind.
//!
//! Attachment rests on the route's parentRefs and the listeners' `allowedRoutes` and hostnames alone. A
//! listener that cannot be served has routes attached all the same, and they are counted (Gateway API,
//! `ListenerStatus.attachedRoutes`); no traffic follows from it.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::{HostPattern, Listener, ObjectRef, RouteId, RouteKind};
use isthmus_world::fact::{AllowedNamespaces, GroupKind, HttpRoute, Meta, Namespace, ParentRef};

use crate::{Condition, GROUP};

/// What attachment needs to know of a route, whatever its kind.
pub trait RouteView {
    /// The kind.
    const KIND: RouteKind;

    /// `metadata`.
    fn meta(&self) -> &Meta;

    /// `spec.parentRefs`.
    fn parents(&self) -> &[ParentRef];

    /// `spec.hostnames`, as written; empty for kinds without.
    fn hostnames(&self) -> &[String];

    /// The route's kind and object.
    fn id(&self) -> RouteId {
        RouteId { kind: Self::KIND, object: self.meta().object() }
    }
}

impl RouteView for HttpRoute {
    const KIND: RouteKind = RouteKind::Http;

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn parents(&self) -> &[ParentRef] {
        &self.parents
    }

    fn hostnames(&self) -> &[String] {
        &self.hostnames
    }
}

/// A Gateway as routes see it; one of the outputs of [`listener`](crate::listener).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The Gateway.
    pub gateway: ObjectRef,
    /// Its listeners, in its order.
    pub sections: Vec<Section>,
}

/// A listener as routes see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// `name`.
    pub name: String,
    /// `port`.
    pub port: u16,
    /// `hostname`.
    pub hostname: HostPattern,
    /// `allowedRoutes.namespaces`.
    pub namespaces: AllowedNamespaces,
    /// Kinds of routes that it takes: those of `allowedRoutes.kinds` that suit its protocol.
    pub kinds: Vec<GroupKind>,
    /// Whether there is an [`ir::Listener`](isthmus_ir::Listener) for it.
    pub served: bool,
}

/// What is read for one route.
#[derive(Debug)]
pub struct Inputs<'a, R> {
    /// The route.
    pub route: &'a R,
    /// Those of [`gateways`] that are ours.
    pub parents: &'a BTreeMap<ObjectRef, Arc<Parent>>,
    /// The route's namespace, for selectors; none selects nothing.
    pub namespace: Option<&'a Namespace>,
}

/// What became of those of a route's parentRefs that name Gateways of ours, in the route's order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attachments {
    /// One for each such parentRef.
    pub parents: Vec<Attached>,
}

/// What became of one parentRef.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// As the route has it; status repeats it.
    pub parent: ParentRef,
    /// The Gateway that it names.
    pub gateway: ObjectRef,
    /// Names of the listeners that the route is attached to.
    pub sections: Vec<String>,
    /// Those of them that are served, with those of the route's hosts that it has.
    pub listeners: Vec<isthmus_ir::Attachment>,
    /// `Accepted`, as far as attachment decides it.
    pub accepted: Condition,
}

/// The Gateways that the parentRefs of `route` name, ours or not: what to gather.
pub fn gateways<R: RouteView>(route: &R) -> impl Iterator<Item = ObjectRef> {
    let own = &route.meta().namespace;
    route
        .parents()
        .iter()
        .filter(|p| p.kind.group == GROUP && p.kind.kind == "Gateway")
        .map(|p| ObjectRef::new(p.namespace.as_ref().unwrap_or(own), &p.name))
}

/// Decides over the parentRefs of one route.
pub fn translate<R: RouteView>(inputs: &Inputs<'_, R>) -> Attachments {
    let hosts = hosts(inputs.route);
    let parents =
        inputs.route.parents().iter().filter(|p| p.kind.group == GROUP && p.kind.kind == "Gateway");
    let parents = parents.zip(gateways(inputs.route)).filter_map(|(parent, gateway)| {
        let view = inputs.parents.get(&gateway)?;
        Some(attach(inputs, &hosts, parent, view))
    });
    Attachments { parents: parents.collect() }
}

/// Hosts of a route: none without hostnames; what is no hostname matches nothing, and is left out.
fn hosts<R: RouteView>(route: &R) -> Vec<HostPattern> {
    if route.hostnames().is_empty() {
        return vec![HostPattern::Any];
    }
    route.hostnames().iter().filter_map(|h| HostPattern::parse(h).ok()).collect()
}

fn attach<R: RouteView>(
    inputs: &Inputs<'_, R>,
    hosts: &[HostPattern],
    parent: &ParentRef,
    view: &Parent,
) -> Attached {
    let named: Vec<&Section> = view.sections.iter().filter(|s| selects(parent, s)).collect();
    let allowed: Vec<&Section> =
        named.iter().copied().filter(|s| allows(inputs, &view.gateway, s)).collect();
    let meeting: Vec<(&Section, Vec<HostPattern>)> = allowed
        .iter()
        .map(|s| (*s, self::meeting(hosts, &s.hostname)))
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    let accepted = accepted(inputs.route, parent, &named, &allowed, !meeting.is_empty());
    Attached {
        parent: parent.clone(),
        gateway: view.gateway.clone(),
        sections: meeting.iter().map(|(s, _)| s.name.clone()).collect(),
        listeners: meeting
            .into_iter()
            .filter(|(s, _)| s.served)
            .map(|(s, hostnames)| isthmus_ir::Attachment {
                listener: Listener::name(&view.gateway, &s.name),
                hostnames,
            })
            .collect(),
        accepted,
    }
}

fn selects(parent: &ParentRef, section: &Section) -> bool {
    parent.section.as_ref().is_none_or(|name| *name == section.name)
        && parent.port.is_none_or(|port| port == section.port)
}

fn allows<R: RouteView>(inputs: &Inputs<'_, R>, gateway: &ObjectRef, section: &Section) -> bool {
    let kind = section.kinds.iter().any(|k| k.group == GROUP && k.kind == R::KIND.as_str());
    let own = inputs.route.meta().namespace.as_str();
    kind && match &section.namespaces {
        AllowedNamespaces::All => true,
        AllowedNamespaces::Same => own == gateway.namespace,
        AllowedNamespaces::Selector(selector) => {
            inputs.namespace.is_some_and(|n| n.meta.name == own && selector.selects(&n.meta.labels))
        }
        AllowedNamespaces::None => false,
    }
}

/// Those of `hosts` that some host of the listener's is one of, as the route declares them.
fn meeting(hosts: &[HostPattern], listener: &HostPattern) -> Vec<HostPattern> {
    let mut met: Vec<HostPattern> = Vec::new();
    for host in hosts {
        if host.intersection(listener).is_some() && !met.contains(host) {
            met.push(host.clone());
        }
    }
    met
}

fn accepted<R: RouteView>(
    route: &R,
    parent: &ParentRef,
    named: &[&Section],
    allowed: &[&Section],
    meeting: bool,
) -> Condition {
    let kind = R::KIND.as_str();
    let list =
        |sections: &[&Section]| sections.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    if named.is_empty() {
        let message = format!("Gateway {} has no listener {}", parent.name, wanted(parent));
        return Condition::not("Accepted", "NoMatchingParent", message);
    }
    if allowed.is_empty() {
        let message = format!(
            "allowedRoutes of listener {} of Gateway {} does not allow {kind} from namespace {}",
            list(named),
            parent.name,
            route.meta().namespace
        );
        return Condition::not("Accepted", "NotAllowedByListeners", message);
    }
    if !meeting {
        let message = format!(
            "none of spec.hostnames ({}) is served by listener {} of Gateway {}",
            route.hostnames().join(", "),
            list(allowed),
            parent.name
        );
        return Condition::not("Accepted", "NoMatchingListenerHostname", message);
    }
    Condition::is("Accepted", "Accepted", "the route is attached")
}

fn wanted(parent: &ParentRef) -> String {
    match (&parent.section, parent.port) {
        (Some(name), Some(port)) => format!("with sectionName {name} and port {port}"),
        (Some(name), None) => format!("with sectionName {name}"),
        (None, Some(port)) => format!("with port {port}"),
        (None, None) => "at all".to_owned(),
    }
}
