//! What proxies balance over for each port of an import.

use std::sync::Arc;

use isthmus_ir::{
    BackendProtocol, Balancing, Endpoint, EndpointState, Endpoints, HealthPolicy, Reach, Service,
};
use isthmus_world::fact::{ExportedEndpoint, ExportedPort, PeerFact};

use super::{
    ImportInput, ImportPort,
    merge::{Believed, levels},
};
use crate::{
    failover::{Levels, Tier},
    trust::usable,
};

/// Traffic begins to leave a level when fewer than 71 % of its endpoints are healthy.
const OVERPROVISION_PERCENT: u16 = 140;

pub(super) fn resources(
    input: &ImportInput<'_>,
    exports: &[Believed<'_>],
    ports: &[ImportPort],
) -> (Vec<Arc<Service>>, Vec<Arc<Endpoints>>) {
    let levels = levels(exports, input.prefer_zone);
    let services = ports.iter().map(|port| Arc::new(service(input, port))).collect();
    let endpoints =
        ports.iter().map(|port| Arc::new(endpoints(input, exports, &levels, port))).collect();
    (services, endpoints)
}

fn service(input: &ImportInput<'_>, port: &ImportPort) -> Service {
    Service {
        name: Service::clusterset_name(input.object, port.port),
        object: input.object.clone(),
        port: port.port,
        protocol: spoken(port.app_protocol.as_deref()),
        balancing: Balancing::LeastRequest,
        health: HealthPolicy::default(),
        overprovision_percent: OVERPROVISION_PERCENT,
    }
}

fn spoken(app_protocol: Option<&str>) -> BackendProtocol {
    BackendProtocol::of_app_protocol(app_protocol).unwrap_or(BackendProtocol::Http1)
}

fn endpoints(
    input: &ImportInput<'_>,
    exports: &[Believed<'_>],
    levels: &Levels,
    port: &ImportPort,
) -> Endpoints {
    let mut endpoints: Vec<Endpoint> = exports
        .iter()
        .filter(|export| export.exported.ports.iter().any(|own| serves(own, port)))
        .flat_map(|export| match export.peer {
            Some(peer) => remote(peer, export, levels, port),
            None => local(input, levels, port),
        })
        .collect();
    endpoints.sort_by(|a, b| a.id.cmp(&b.id));
    Endpoints { service: Service::clusterset_name(input.object, port.port), endpoints }
}

/// Whether an export's port is the import's: endpoints of a cluster get only traffic of ports that its
/// Service exposes, in the protocol that they speak. Names need not agree.
fn serves(own: &ExportedPort, port: &ImportPort) -> bool {
    own.port == port.port
        && own.protocol == port.protocol
        && spoken(own.app_protocol.as_deref()) == spoken(port.app_protocol.as_deref())
}

fn local(input: &ImportInput<'_>, levels: &Levels, port: &ImportPort) -> Vec<Endpoint> {
    let own = input.local.and_then(|own| own.endpoints.get(&port.port));
    let zone = input.settings.zone.as_deref();
    own.into_iter()
        .flat_map(|set| &set.endpoints)
        .map(|e| Endpoint { priority: levels.local(zone, e.zone.as_deref()), ..e.clone() })
        .collect()
}

fn remote(peer: &PeerFact, export: &Believed<'_>, levels: &Levels, port: &ImportPort) -> Vec<Endpoint> {
    if !usable(peer.state) {
        return Vec::new();
    }
    let Some(own) = export.exported.ports.iter().find(|own| own.port == port.port) else {
        return Vec::new();
    };
    let each = own.endpoints.iter().map(|e| (e, Tier::peer(peer)));
    each.chain(own.fallback.iter().map(|e| (e, Tier::fallback(peer))))
        .map(|(e, tier)| through(peer, e, levels.level(tier)))
        .collect()
}

fn through(peer: &PeerFact, exported: &ExportedEndpoint, priority: u8) -> Endpoint {
    Endpoint {
        id: format!("{}/{}", peer.cluster, exported.handle).into(),
        cluster: Arc::clone(&peer.cluster),
        zone: exported.zone.clone(),
        priority,
        weight: exported.weight,
        state: EndpointState::Ready,
        reach: Reach::Peer {
            peer: peer.cluster.as_ref().into(),
            handle: exported.handle.as_ref().into(),
            identities: exported.identities.clone(),
        },
    }
}
