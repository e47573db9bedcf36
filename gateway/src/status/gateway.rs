//! `status` of a Gateway.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use isthmus_world::fact::{Address, Gateway, Problem};
use serde_json::{Value, json};

use super::{Progress, fields};
use crate::{
    Condition,
    listener::{GatewayReport, ListenerReport},
};

/// `status` of a Gateway. `attached` counts accepted routes by listener, and `progress` is that of its
/// own proxies.
pub fn gateway(
    gateway: &Gateway,
    report: &GatewayReport,
    attached: &BTreeMap<String, u32>,
    progress: &Progress,
    problem: Option<&Problem>,
) -> Value {
    let generation = gateway.meta.generation;
    let mut conditions = report.conditions.clone();
    accept_unbound(&mut conditions, report, progress);
    conditions.push(programmed(report, progress));
    conditions.extend(problem.map(|p| fields::fall_back(p, generation)));
    let addresses: Vec<_> = report
        .addresses
        .iter()
        .filter_map(|a| match a {
            Address::Ip(ip) if is_missing(*ip, progress) => None,
            Address::Ip(ip) => Some(json!({ "type": "IPAddress", "value": ip.to_string() })),
            Address::Hostname(name) => Some(json!({ "type": "Hostname", "value": name })),
        })
        .collect();
    let listeners: Vec<_> =
        report.listeners.iter().map(|l| listener(l, attached, progress, generation)).collect();
    json!({
        "addresses": addresses,
        "conditions": fields::conditions(&conditions, generation),
        "listeners": listeners,
    })
}

/// Whether what the operating system said means that an address is not this machine's, rather than that
/// a port is taken.
fn is_foreign(why: &str) -> bool {
    // The texts of EADDRNOTAVAIL.
    why.contains("os error 99") || why.contains("Cannot assign requested address")
}

/// Whether a proxy said that `address` is not this machine's. It says which one it means in front.
fn is_missing(address: IpAddr, progress: &Progress) -> bool {
    let means = |why: &str| Some(why.split_once(": ")?.0.parse::<SocketAddr>().ok()?.ip());
    progress.unbound.values().any(|why| is_foreign(why) && means(why) == Some(address))
}

/// A listener whose port is taken is not valid any more, and the Gateway says so.
fn accept_unbound(conditions: &mut [Condition], report: &GatewayReport, progress: &Progress) {
    let taken = |l: &&ListenerReport| port_unavailable(l, progress).is_some();
    let invalid = |l: &&ListenerReport| !l.accepted() || taken(l);
    let Some(accepted) = conditions.iter_mut().find(|c| c.kind == "Accepted" && c.holds()) else {
        return;
    };
    if !report.listeners.iter().any(|l| taken(&l)) {
        return;
    }
    let names: Vec<_> = report.listeners.iter().filter(invalid).map(|l| l.name.as_str()).collect();
    let message = format!("not valid: listener {}; see their status", names.join(", "));
    *accepted = if names.len() == report.listeners.len() {
        Condition::not("Accepted", "ListenersNotValid", message)
    } else {
        Condition::is("Accepted", "ListenersNotValid", message)
    };
}

fn programmed(report: &GatewayReport, progress: &Progress) -> Condition {
    if let Some(condition) = &report.unprogrammable {
        return condition.clone();
    }
    if let Some(condition) = &report.unaddressed {
        return condition.clone();
    }
    if let Some((name, why)) = progress.unbound.iter().find(|(_, why)| is_foreign(why)) {
        let message = format!("listener {name}: {why}: use addresses of this machine in spec.addresses");
        return Condition::not("Programmed", "AddressNotUsable", message);
    }
    let mut served = report.listeners.iter().filter(|l| l.served).peekable();
    if served.peek().is_some() && served.all(|l| progress.unbound.contains_key(&l.name)) {
        return Condition::not("Programmed", "Invalid", "no listener could be bound; see their status");
    }
    progress.programmed("Programmed")
}

fn listener(
    report: &ListenerReport,
    attached: &BTreeMap<String, u32>,
    progress: &Progress,
    generation: i64,
) -> Value {
    let mut conditions = report.conditions.clone();
    if let Some(condition) = port_unavailable(report, progress)
        && let Some(accepted) = conditions.iter_mut().find(|c| c.kind == "Accepted")
    {
        *accepted = condition;
    }
    conditions.push(listener_programmed(report, progress));
    json!({
        "name": report.name,
        "supportedKinds": report.kinds.iter().map(fields::kind).collect::<Vec<_>>(),
        "attachedRoutes": attached.get(&report.name).copied().unwrap_or(0),
        "conditions": fields::conditions(&conditions, generation),
    })
}

/// `Accepted`, False, of a listener whose port another process has.
fn port_unavailable(report: &ListenerReport, progress: &Progress) -> Option<Condition> {
    let why = progress.unbound.get(&report.name).filter(|why| report.served && !is_foreign(why))?;
    let message =
        format!("{why}: free the port, or give listener {} another; it is tried again", report.name);
    Some(Condition::not("Accepted", "PortUnavailable", message))
}

fn listener_programmed(report: &ListenerReport, progress: &Progress) -> Condition {
    let no = |reason, message: String| Condition::not("Programmed", reason, message);
    if !report.served {
        return no(
            "Invalid",
            "the listener is not served; see its other conditions and the Gateway's".into(),
        );
    }
    match progress.unbound.get(&report.name) {
        Some(why) => no("Pending", format!("it is not bound, and tried again: {why}")),
        None => progress.programmed("Programmed"),
    }
}
