//! Which listeners of one Gateway are not distinct, and which overlap.
//!
//! No listener wins a conflict: all that are not distinct are refused (Gateway API, `spec.listeners`).
//! Listeners that cannot be served for themselves are no reason to refuse others.

use isthmus_ir::HostPattern;
use isthmus_world::fact::{Gateway, Listener};

use super::{hostname, stands};
use crate::Condition;

/// `Conflicted` of the listener at `index`.
pub(super) fn conflicted(gateway: &Gateway, index: usize) -> Condition {
    let with = |clashes: fn(&Listener, &Listener) -> bool| {
        let names: Vec<_> = rivals(gateway, index, clashes).map(|l| l.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let port = gateway.listeners.get(index).map_or(0, |l| l.port);
    if let Some(names) = with(|a, b| a.protocol != b.protocol) {
        let message =
            format!("listener {names} has port {port} too, with another protocol: change one of them");
        return Condition::is("Conflicted", "ProtocolConflict", message);
    }
    if let Some(names) = with(same_host) {
        let message =
            format!("listener {names} has port {port} and the same hostname too: change one of them");
        return Condition::is("Conflicted", "HostnameConflict", message);
    }
    Condition::not("Conflicted", "NoConflicts", "the listener is distinct")
}

/// `OverlappingTLSConfig` of the listener at `index`; none when it is not so, as specified.
pub(super) fn overlapping(gateway: &Gateway, index: usize) -> Option<Condition> {
    let names: Vec<_> = rivals(gateway, index, |a, b| {
        a.protocol == "HTTPS" && b.protocol == "HTTPS" && !same_host(a, b) && overlap(a, b)
    })
    .map(|l| l.name.as_str())
    .collect();
    (!names.is_empty()).then(|| {
        let message = format!(
            "hosts of this listener are hosts of listener {} too: a client that reuses its connection for \
             them gets 421",
            names.join(", ")
        );
        Condition::is("OverlappingTLSConfig", "OverlappingHostnames", message)
    })
}

/// Other valid listeners on the port of the one at `index`, as far as `clashes`.
fn rivals(
    gateway: &Gateway,
    index: usize,
    clashes: impl Fn(&Listener, &Listener) -> bool,
) -> impl Iterator<Item = &Listener> {
    let this = gateway.listeners.get(index).filter(|_| stands(gateway, index).is_ok());
    gateway.listeners.iter().enumerate().filter_map(move |(other, listener)| {
        let this = this?;
        let rival = other != index
            && listener.port == this.port
            && stands(gateway, other).is_ok()
            && clashes(this, listener);
        rival.then_some(listener)
    })
}

fn same_host(a: &Listener, b: &Listener) -> bool {
    hostname(a) == hostname(b)
}

fn overlap(a: &Listener, b: &Listener) -> bool {
    let pattern = |l| hostname(l).unwrap_or(HostPattern::Any);
    pattern(a).intersection(&pattern(b)).is_some()
}
