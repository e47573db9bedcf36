//! What one peer may say of one service. The rest is left out, with a word (cases D3, H2, H4; invariant 7).
//!
//! Bounds do not depend on clocks or on what else is known, so that every cluster believes the same.

use std::{collections::BTreeSet, sync::Arc};

use isthmus_ir::TrustDomain;
use isthmus_world::fact::{ExportedEndpoint, ExportedPort, ExportedService, MeshSettings, PeerFact};

use crate::{
    handle::CONTROL,
    label::is_dns_label,
    refusal::{Refusal, Why},
    subset::SUBSET,
};

/// How many ports of a service are taken from a peer.
pub const MAX_PORTS: usize = 64;
/// How many identities an endpoint may name.
pub const MAX_IDENTITIES: usize = 8;
/// How many refusals are listed for one service.
const LISTED: usize = 8;
/// The largest share that a peer's endpoint may ask for.
pub const MAX_WEIGHT: u32 = 128;

/// The believable part of what `peer` exports; none when nothing is left of it.
pub fn accept(
    settings: &MeshSettings,
    peer: &PeerFact,
    exported: &ExportedService,
    refusals: &mut Vec<Refusal>,
) -> Option<ExportedService> {
    let service = format!("{}/{}", exported.namespace, exported.name);
    let mut found = Vec::new();
    let accepted = match whole(settings, peer, exported) {
        Some(why) => {
            found.push(why);
            None
        }
        None => Some(normal(&peer.trust_domain, exported, &mut |why| found.push(why))),
    };
    let more = found.len().saturating_sub(LISTED);
    found.truncate(LISTED);
    found.extend((more > 0).then_some(Why::More(more)));
    refusals.extend(found.into_iter().map(|why| {
        let cluster = Arc::clone(&peer.cluster);
        Refusal { cluster, service: Some(service.clone()), why }
    }));
    accepted
}

/// What others believe of this cluster's own export, but for its endpoints, so that all clusters merge
/// the same; none when its name is one that nobody can import.
pub(super) fn accept_own(
    settings: &MeshSettings,
    exported: &ExportedService,
) -> Option<ExportedService> {
    let bare =
        |port: &ExportedPort| ExportedPort { endpoints: Vec::new(), fallback: None, ..port.clone() };
    let ports = exported.ports.iter().map(bare).collect();
    let exported = ExportedService { ports, ..exported.clone() };
    let named = [&*exported.cluster, &exported.namespace, &exported.name].into_iter().all(is_dns_label);
    named.then(|| normal(&settings.trust_domain, &exported, &mut |_| {}))
}

fn normal(
    domain: &TrustDomain,
    exported: &ExportedService,
    refuse: &mut dyn FnMut(Why),
) -> ExportedService {
    ExportedService {
        created: exported.created.max(0),
        ports: ports(domain, exported, refuse),
        ..exported.clone()
    }
}

/// Why nothing of the export is believed.
fn whole(settings: &MeshSettings, peer: &PeerFact, exported: &ExportedService) -> Option<Why> {
    if exported.cluster != peer.cluster || peer.cluster == settings.cluster {
        return Some(Why::ForeignCluster(exported.cluster.to_string()));
    }
    if peer.trust_domain == settings.trust_domain {
        return Some(Why::TakenTrustDomain(peer.trust_domain.to_string()));
    }
    for (what, name) in [
        ("cluster", &*exported.cluster),
        ("namespace", exported.namespace.as_str()),
        ("service", exported.name.as_str()),
    ] {
        if !is_dns_label(name) {
            return Some(Why::Name(what, clipped(name)));
        }
    }
    let allowed = peer.namespaces.as_ref().is_none_or(|rule| rule.contains(&exported.namespace));
    (!allowed).then(|| Why::Namespace(exported.namespace.clone()))
}

fn ports(
    domain: &TrustDomain,
    exported: &ExportedService,
    refuse: &mut dyn FnMut(Why),
) -> Vec<ExportedPort> {
    let mut kept: Vec<ExportedPort> = Vec::new();
    for port in exported.ports.iter().take(MAX_PORTS) {
        let why = if port.port == 0 {
            "it has no number"
        } else if port.protocol != "TCP" {
            "only TCP is carried between clusters so far"
        } else if !port.name.is_empty() && !is_dns_label(&port.name) {
            "its name is no DNS label"
        } else if kept.iter().any(|k| k.name == port.name || k.port == port.port) {
            "another port of the service has its name or number"
        } else {
            kept.push(believed_port(domain, port, refuse));
            continue;
        };
        refuse(Why::Port(format!("{} ({})", port.port, clipped(&port.name)), why));
    }
    over(exported.ports.len(), MAX_PORTS, "ports", refuse);
    kept
}

fn believed_port(
    domain: &TrustDomain,
    port: &ExportedPort,
    refuse: &mut dyn FnMut(Why),
) -> ExportedPort {
    let mut seen = BTreeSet::new();
    let mut endpoints: Vec<_> = port
        .endpoints
        .iter()
        .take(SUBSET)
        .filter_map(|e| believed_endpoint(domain, e, &mut seen, refuse))
        .collect();
    endpoints.sort_by(|a, b| a.handle.cmp(&b.handle));
    over(port.endpoints.len(), SUBSET, "endpoints", refuse);
    let fallback = port.fallback.as_ref().and_then(|e| believed_endpoint(domain, e, &mut seen, refuse));
    let app_protocol = port.app_protocol.clone().filter(|p| p.len() <= 253);
    ExportedPort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
        app_protocol,
        endpoints,
        fallback,
    }
}

fn believed_endpoint(
    domain: &TrustDomain,
    endpoint: &ExportedEndpoint,
    seen: &mut BTreeSet<Arc<str>>,
    refuse: &mut dyn FnMut(Why),
) -> Option<ExportedEndpoint> {
    let handle = clipped(&endpoint.handle);
    let known = is_dns_label(&endpoint.handle) && &*endpoint.handle != CONTROL;
    if !known || !seen.insert(Arc::clone(&endpoint.handle)) {
        refuse(Why::Handle(handle));
        return None;
    }
    let foreign = endpoint.identities.iter().find(|id| id.trust_domain() != domain);
    if let Some(identity) = foreign {
        refuse(Why::ForeignIdentity { handle, identity: clipped(&identity.to_string()) });
        return None;
    }
    if endpoint.identities.is_empty() || endpoint.identities.len() > MAX_IDENTITIES {
        let identity = if endpoint.identities.is_empty() { "nobody" } else { "too many" };
        refuse(Why::ForeignIdentity { handle, identity: identity.into() });
        return None;
    }
    Some(ExportedEndpoint {
        weight: endpoint.weight.clamp(1, MAX_WEIGHT),
        zone: endpoint.zone.clone().filter(|zone| zone.len() <= 63),
        ..endpoint.clone()
    })
}

fn over(count: usize, limit: usize, what: &'static str, refuse: &mut dyn FnMut(Why)) {
    if count > limit {
        refuse(Why::Quota { what, count, limit });
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}
