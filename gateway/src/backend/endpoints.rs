//! EndpointSlices -> endpoints of one port, addresses of one Pod joined.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use isthmus_ir::{Endpoint, EndpointState, Reach};
use isthmus_world::fact::{
    AddressFamily, EndpointConditions, EndpointSlice, MeshSettings, Place, ServicePort, SliceEndpoint,
};

use super::Local;

/// Endpoints of one port, and the addresses that were refused.
#[derive(Default)]
pub(super) struct Found {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) refused: Vec<String>,
}

/// What one workload is found by: its Pod where that is known, else its address.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Workload {
    Pod(Arc<str>, u16),
    Address(SocketAddr),
}

struct Candidate {
    state: EndpointState,
    zone: Option<Arc<str>>,
    addresses: Vec<SocketAddr>,
}

/// The endpoints of `port` of a Service of this cluster, in any order.
pub(super) fn local(local: Local<'_>, port: &ServicePort, settings: &MeshSettings) -> Found {
    let mut workloads: BTreeMap<Workload, Candidate> = BTreeMap::new();
    let mut refused = Vec::new();
    for (slice, number) in slices(local, port) {
        for endpoint in &slice.endpoints {
            let (Some(state), Some(ip)) = (state(endpoint.conditions), endpoint.addresses.first())
            else {
                continue;
            };
            match refusal(*ip, settings.place == Place::Host) {
                Some(why) => refused.push(format!("EndpointSlice {}: {ip} {why}", slice.meta.object())),
                None => add(&mut workloads, endpoint, state, SocketAddr::new(*ip, number)),
            }
        }
    }
    let endpoints = workloads.into_values().filter_map(|c| endpoint(c, &settings.cluster)).collect();
    Found { endpoints, refused }
}

/// Slices of the Service with a port of the name of `port`, and its number there. Slices that name hosts
/// are left out: they would be followed by name.
fn slices<'a>(local: Local<'a>, port: &ServicePort) -> impl Iterator<Item = (&'a EndpointSlice, u16)> {
    let name = port.name.clone();
    let service = &local.service.meta;
    local
        .slices
        .iter()
        .filter(|s| s.meta.namespace == service.namespace && s.service == service.name)
        .filter(|s| s.family != AddressFamily::Fqdn)
        .filter_map(move |s| Some((&**s, s.ports.iter().find(|p| p.name == name)?.port)))
}

/// KEP-1669: what is not ready counts as a last resort while it serves and terminates, and not otherwise.
fn state(conditions: EndpointConditions) -> Option<EndpointState> {
    if conditions.ready {
        Some(EndpointState::Ready)
    } else if conditions.serving && conditions.terminating {
        Some(EndpointState::Draining)
    } else {
        None
    }
}

/// Why no endpoint may have this address: those that the API server refuses too. Loopback addresses are
/// what a directory is for, and the one exception.
fn refusal(ip: IpAddr, loopback: bool) -> Option<&'static str> {
    match ip.to_canonical() {
        ip if ip.is_unspecified() => Some("is no address"),
        ip if ip.is_multicast() => Some("is a multicast address"),
        ip if ip.is_loopback() && !loopback => Some("is a loopback address"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("is a link-local address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("is a link-local address"),
        _ => None,
    }
}

fn add(
    workloads: &mut BTreeMap<Workload, Candidate>,
    endpoint: &SliceEndpoint,
    state: EndpointState,
    address: SocketAddr,
) {
    let workload = match &endpoint.pod {
        Some(pod) => Workload::Pod(pod.clone(), address.port()),
        None => Workload::Address(address),
    };
    let entry = workloads.entry(workload).or_insert_with(|| Candidate {
        state,
        zone: endpoint.zone.clone(),
        addresses: Vec::new(),
    });
    if state == EndpointState::Ready && entry.state != EndpointState::Ready {
        // The slices of one Pod are not written at once: what is ready already, is used.
        entry.state = state;
        entry.addresses.clear();
    }
    if entry.state == state && !entry.addresses.contains(&address) {
        entry.addresses.push(address);
    }
}

fn endpoint(mut candidate: Candidate, cluster: &Arc<str>) -> Option<Endpoint> {
    candidate.addresses.sort_unstable();
    Some(Endpoint {
        id: candidate.addresses.first()?.to_string().into(),
        cluster: cluster.clone(),
        zone: candidate.zone,
        priority: 0,
        weight: 1,
        state: candidate.state,
        reach: Reach::Direct { addresses: candidate.addresses },
    })
}
