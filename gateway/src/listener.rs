//! Gateway -> listeners, their conditions, and the Gateway's own.
//!
//! What is asked for and not implemented is refused, never left out: a listener that should verify its
//! clients does not come up without doing so.

mod addresses;
mod certificates;
mod conflicts;
mod ports;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::{HostPattern, Listener, Name, ObjectRef, Protocol};
use isthmus_world::fact::{self, Gateway, GroupKind, TlsMode};

pub use addresses::{Exposure, Given, is_within_cluster, within_cluster};
pub use ports::{Taken, port_conflicts};
pub use report::{GatewayReport, ListenerReport};

use crate::{
    Condition, GROUP,
    attachment::{Parent, Section},
    certificate::CertificateOutput,
    parameters::{self, Known},
    reference::{Grants, Source, namespace},
};

/// What is read for one Gateway of ours.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The Gateway.
    pub gateway: &'a Gateway,
    /// Whether its class is accepted.
    pub class_accepted: bool,
    /// What is known of the parameters that it names.
    pub parameters: &'a Known,
    /// Those of [`secrets`] that exist.
    pub certificates: &'a BTreeMap<ObjectRef, Arc<CertificateOutput>>,
    /// Grants in the namespaces of [`secrets`].
    pub grants: Grants<'a>,
    /// This Gateway's share of [`port_conflicts`].
    pub taken: &'a [Taken],
    /// Where its proxies run.
    pub exposure: Exposure<'a>,
}

/// What follows from a Gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayOutput {
    /// Listeners to serve; empty when the Gateway is not accepted. They name the certificates that they
    /// need.
    pub listeners: Vec<Arc<Listener>>,
    /// Whether proxies of its are told what to serve, be it nothing: those in pods of their own run whether
    /// it is accepted or not, and would serve for ever what they were told before.
    pub runs: bool,
    /// How routes see the Gateway.
    pub parent: Arc<Parent>,
    /// Its status, as far as it does not depend on routes and proxies.
    pub report: GatewayReport,
}

/// One listener, decided.
struct Decided<'a> {
    listener: &'a fact::Listener,
    hostname: HostPattern,
    kinds: Vec<GroupKind>,
    accepted: Condition,
    resolved: Condition,
    conflicted: Condition,
    overlapping: Option<Condition>,
    protocol: Option<Protocol>,
}

/// The Secrets that listeners of `gateway` refer to: what to gather, and in which namespaces grants.
pub fn secrets(gateway: &Gateway) -> BTreeSet<ObjectRef> {
    let source = Source::gateway_api("Gateway", &gateway.meta.namespace);
    references(gateway).map(|r| ObjectRef::new(namespace(source, r), &r.name)).collect()
}

/// Those of [`secrets`] that `grants`, which are those of their namespaces, let it refer to.
pub fn granted_secrets(gateway: &Gateway, grants: Grants<'_>) -> BTreeSet<ObjectRef> {
    let source = Source::gateway_api("Gateway", &gateway.meta.namespace);
    let granted = references(gateway).filter(|r| is_secret(r) && grants.permit(source, r).is_ok());
    granted.map(|r| ObjectRef::new(namespace(source, r), &r.name)).collect()
}

fn references(gateway: &Gateway) -> impl Iterator<Item = &fact::ObjectReference> {
    gateway.listeners.iter().filter_map(|l| l.tls.as_ref()).flat_map(|tls| &tls.certificates)
}

fn is_secret(reference: &fact::ObjectReference) -> bool {
    reference.kind.group.is_empty() && reference.kind.kind == "Secret"
}

/// Decides over one Gateway.
pub fn translate(inputs: Inputs<'_>) -> GatewayOutput {
    let gateway = inputs.gateway;
    let decided: Vec<_> =
        gateway.listeners.iter().enumerate().map(|(i, l)| decide(inputs, i, l)).collect();
    let addresses = addresses::addresses(gateway, inputs.exposure);
    let fault = parameters::fault_of_gateway(gateway, inputs.parameters);
    let mut report =
        report::report(gateway, inputs.class_accepted, fault.as_deref(), &addresses, &decided);
    let in_pods = matches!(inputs.exposure, Exposure::Service(_));
    // Pods that run go on as they are when it is not known any longer how to run them.
    let told =
        if in_pods { report::report(gateway, true, None, &addresses, &decided) } else { report.clone() };
    report.addresses.clone_from(&told.addresses);
    let bound = addresses.map(|addresses| addresses.bound).unwrap_or_default();
    let listeners = if told.accepted() && told.unprogrammable.is_none() {
        decided.iter().filter_map(|d| ir(gateway, &bound, d)).collect()
    } else {
        Vec::new()
    };
    let parent = Parent {
        gateway: gateway.meta.object(),
        sections: decided.into_iter().zip(&told.listeners).map(|(d, r)| section(d, r.served)).collect(),
    };
    let runs = report.accepted() || in_pods;
    GatewayOutput { listeners, runs, parent: Arc::new(parent), report }
}

fn decide<'a>(inputs: Inputs<'a>, index: usize, listener: &'a fact::Listener) -> Decided<'a> {
    let gateway = inputs.gateway;
    let (kinds, unknown) = kinds(listener);
    let conflicted = conflicts::conflicted(gateway, index);
    let accepted = accepted(inputs, index, &conflicted);
    let certificates = certificates::certificates(inputs, listener);
    let resolved = certificates.resolved.unwrap_or_else(|| {
        unknown.unwrap_or_else(|| {
            Condition::is("ResolvedRefs", "ResolvedRefs", "all references are resolved")
        })
    });
    let usable = accepted.holds() && !kinds.is_empty();
    Decided {
        listener,
        hostname: hostname(listener).unwrap_or(HostPattern::Any),
        protocol: if usable { protocol(listener, certificates.names) } else { None },
        overlapping: conflicts::overlapping(gateway, index),
        kinds,
        accepted,
        resolved,
        conflicted,
    }
}

/// Whether anything could be served on a listener of this protocol, and its hostname as a pattern.
fn hostname(listener: &fact::Listener) -> Result<HostPattern, String> {
    match listener.hostname.as_deref() {
        None | Some("") => Ok(HostPattern::Any),
        Some(text) => HostPattern::parse(text).map_err(|e| e.to_string()),
    }
}

/// `Accepted` of the listener at `index`; `conflicted` is its condition of that type.
fn accepted(inputs: Inputs<'_>, index: usize, conflicted: &Condition) -> Condition {
    let no = |reason, message: String| Condition::not("Accepted", reason, message);
    if let Err((reason, message)) = stands(inputs.gateway, index) {
        return no(reason, message);
    }
    if conflicted.holds() {
        return no(conflicted.reason, conflicted.message.to_string());
    }
    let name = inputs.gateway.listeners.get(index).map_or("", |l| &l.name);
    if let Some(taken) = inputs.taken.iter().find(|t| t.section == name) {
        let message = format!(
            "{} is bound by Gateway {}, which is older: give listener {name} another port, or the Gateway \
             another address in spec.addresses",
            taken.address, taken.by
        );
        return no("PortUnavailable", message);
    }
    Condition::is("Accepted", "Accepted", "the listener is valid")
}

/// Whether the listener at `index` is valid for itself, or the reason why not.
fn stands(gateway: &Gateway, index: usize) -> Result<(), (&'static str, String)> {
    let Some(listener) = gateway.listeners.get(index) else { return Ok(()) };
    let field = format!("spec.listeners[{index}]");
    let tls = listener.tls.as_ref();
    if !matches!(listener.protocol.as_str(), "HTTP" | "HTTPS") {
        let message = format!("{field}.protocol is {}; supported are HTTP and HTTPS", listener.protocol);
        return Err(("UnsupportedProtocol", message));
    }
    let value = |message: String| Err(("UnsupportedValue", message));
    if let Err(why) = hostname(listener) {
        return value(format!("{field}.hostname: {why}"));
    }
    if listener.protocol == "HTTPS" && tls.is_some_and(|t| t.mode != TlsMode::Terminate) {
        return value(format!("{field}.tls.mode must be Terminate for protocol HTTPS"));
    }
    if listener.protocol == "HTTP" && tls.is_some() {
        return value(format!("{field}.tls must not be set for protocol HTTP"));
    }
    let refused = gateway.unsupported.iter().find(|path| {
        path.strip_prefix(&field).is_some_and(|rest| rest.starts_with('.'))
            || (listener.protocol == "HTTPS" && path.starts_with("spec.tls.frontend"))
    });
    match refused {
        Some(path) => value(format!("{path} is not implemented, and is not ignored: remove it")),
        None => Ok(()),
    }
}

/// Kinds of routes that the listener takes, and `ResolvedRefs` when it names others.
fn kinds(listener: &fact::Listener) -> (Vec<GroupKind>, Option<Condition>) {
    let http = GroupKind { group: GROUP.to_owned(), kind: "HTTPRoute".to_owned() };
    let supported =
        if matches!(listener.protocol.as_str(), "HTTP" | "HTTPS") { vec![http] } else { vec![] };
    let asked = &listener.allowed.kinds;
    if asked.is_empty() {
        return (supported, None);
    }
    let unknown: Vec<_> = asked
        .iter()
        .filter(|k| !supported.contains(k))
        .map(|k| format!("{}/{}", k.group, k.kind))
        .collect();
    let invalid = (!unknown.is_empty()).then(|| {
        let message = format!(
            "allowedRoutes.kinds of listener {} names {}; protocol {} takes {}",
            listener.name,
            unknown.join(", "),
            listener.protocol,
            supported.first().map_or("no routes", |k| &k.kind)
        );
        Condition::not("ResolvedRefs", "InvalidRouteKinds", message)
    });
    (supported.into_iter().filter(|k| asked.contains(k)).collect(), invalid)
}

fn protocol(listener: &fact::Listener, certificates: Vec<Name>) -> Option<Protocol> {
    match listener.protocol.as_str() {
        "HTTP" => Some(Protocol::Http),
        "HTTPS" if !certificates.is_empty() => Some(Protocol::Https { certificates }),
        _ => None,
    }
}

fn ir(
    gateway: &Gateway,
    addresses: &[std::net::IpAddr],
    decided: &Decided<'_>,
) -> Option<Arc<Listener>> {
    let object = gateway.meta.object();
    let section = &decided.listener.name;
    Some(Arc::new(Listener {
        name: Listener::name(&object, section),
        gateway: object,
        section: section.clone(),
        addresses: addresses.to_vec(),
        port: decided.listener.port,
        hostname: decided.hostname.clone(),
        protocol: decided.protocol.clone()?,
    }))
}

fn section(decided: Decided<'_>, served: bool) -> Section {
    Section {
        name: decided.listener.name.clone(),
        port: decided.listener.port,
        hostname: decided.hostname,
        namespaces: decided.listener.allowed.namespaces.clone(),
        kinds: decided.kinds,
        served,
    }
}
