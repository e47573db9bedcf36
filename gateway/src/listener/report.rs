//! What a Gateway's status says, as far as it follows from manifests alone.

use isthmus_world::fact::{Address, Gateway, GroupKind};

use super::{Decided, addresses::Addresses};
use crate::Condition;

/// The part of a Gateway's status that follows from manifests alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayReport {
    /// `Accepted` and `ResolvedRefs`.
    pub conditions: Vec<Condition>,
    /// `Programmed`, False, when it can never be programmed as it is.
    pub unprogrammable: Option<Condition>,
    /// `Programmed`, False, while it has not got all of its addresses; its listeners are served.
    pub unaddressed: Option<Condition>,
    /// Where clients reach it.
    pub addresses: Vec<Address>,
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

impl GatewayReport {
    /// Whether the Gateway is accepted.
    pub fn accepted(&self) -> bool {
        holds(&self.conditions, "Accepted")
    }
}

impl ListenerReport {
    /// Whether the listener is accepted.
    pub fn accepted(&self) -> bool {
        holds(&self.conditions, "Accepted")
    }
}

fn holds(conditions: &[Condition], kind: &str) -> bool {
    conditions.iter().any(|c| c.kind == kind && c.holds())
}

pub(super) fn report(
    gateway: &Gateway,
    class_accepted: bool,
    parameters: Option<&str>,
    addresses: &Result<Addresses, Condition>,
    decided: &[Decided<'_>],
) -> GatewayReport {
    let accepted = accepted(gateway, class_accepted, parameters, addresses, decided);
    let unprogrammable = unprogrammable(&accepted, addresses, decided);
    let serves = accepted.holds() && unprogrammable.is_none();
    let had = addresses.as_ref().ok().filter(|_| serves);
    GatewayReport {
        conditions: vec![accepted, resolved(decided)],
        unprogrammable,
        unaddressed: had.and_then(|addresses| addresses.missing.clone()),
        addresses: had.map(|addresses| addresses.shown.clone()).unwrap_or_default(),
        listeners: decided.iter().map(|d| listener(d, serves)).collect(),
    }
}

/// The field for which the whole Gateway is refused.
pub(super) fn unimplemented(gateway: &Gateway) -> Option<&String> {
    let of_listeners = |p: &str| p.starts_with("spec.listeners[") || p.starts_with("spec.tls.frontend");
    gateway.unsupported.iter().find(|path| !of_listeners(path))
}

fn accepted(
    gateway: &Gateway,
    class_accepted: bool,
    parameters: Option<&str>,
    addresses: &Result<Addresses, Condition>,
    decided: &[Decided<'_>],
) -> Condition {
    let no = |reason, message: String| Condition::not("Accepted", reason, message);
    if !class_accepted {
        return no("Invalid", format!("GatewayClass {} is not accepted: see its status", gateway.class));
    }
    if let Some(why) = parameters {
        return no("InvalidParameters", why.to_owned());
    }
    if let Some(path) = unimplemented(gateway) {
        return no("Invalid", format!("{path} is not implemented, and is not ignored: remove it"));
    }
    if let Err(condition) = addresses
        && condition.kind == "Accepted"
    {
        return condition.clone();
    }
    let invalid: Vec<_> =
        decided.iter().filter(|d| !d.accepted.holds()).map(|d| &*d.listener.name).collect();
    let message = || format!("not valid: listener {}; see their status", invalid.join(", "));
    match invalid.len() {
        0 => Condition::is("Accepted", "Accepted", "the Gateway is valid"),
        n if n == decided.len() => no("ListenersNotValid", message()),
        _ => Condition::is("Accepted", "ListenersNotValid", message()),
    }
}

fn resolved(decided: &[Decided<'_>]) -> Condition {
    let names: Vec<_> =
        decided.iter().filter(|d| !d.resolved.holds()).map(|d| &*d.listener.name).collect();
    if names.is_empty() {
        return Condition::is("ResolvedRefs", "ResolvedRefs", "all references are resolved");
    }
    let message = format!("unresolved references: listener {}; see their status", names.join(", "));
    Condition::not("ResolvedRefs", "ListenersNotResolved", message)
}

/// Why no proxy will ever serve the Gateway as it is.
fn unprogrammable(
    accepted: &Condition,
    addresses: &Result<Addresses, Condition>,
    decided: &[Decided<'_>],
) -> Option<Condition> {
    let no = |message: String| Some(Condition::not("Programmed", "Invalid", message));
    if !accepted.holds() {
        return no(format!("the Gateway is not accepted: {}", accepted.message));
    }
    if let Err(condition) = addresses {
        return Some(condition.clone());
    }
    if decided.iter().all(|d| d.protocol.is_none()) {
        return no("no listener can be served; see their status".into());
    }
    None
}

fn listener(decided: &Decided<'_>, serves: bool) -> ListenerReport {
    let mut conditions =
        vec![decided.accepted.clone(), decided.resolved.clone(), decided.conflicted.clone()];
    conditions.extend(decided.overlapping.clone());
    ListenerReport {
        name: decided.listener.name.clone(),
        kinds: decided.kinds.clone(),
        conditions,
        served: serves && decided.protocol.is_some(),
    }
}
