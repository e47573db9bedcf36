//! Exports as the World has them <-> as they travel. Nothing is decided here.

use std::sync::Arc;

use isthmus_ir::ObjectRef;
use isthmus_world::fact::{
    ExportedEndpoint, ExportedPort, ExportedService, ImportType, SessionAffinity,
};
use isthmus_xds::federation::{
    Endpoint, FederationKey, FederationKind, FederationResource, Port, Service,
};

/// As it travels.
pub(super) fn resource(exported: &ExportedService) -> FederationResource {
    FederationResource::Service(Service {
        object: object(exported),
        created: exported.created,
        headless: exported.kind == ImportType::Headless,
        client_ip_affinity: exported.affinity == SessionAffinity::ClientIp,
        ports: exported.ports.iter().map(port).collect(),
    })
}

/// Its key as it travels.
pub(super) fn key(object: &ObjectRef) -> FederationKey {
    FederationKey { kind: FederationKind::Service, name: object.to_string().into() }
}

/// The service that a key is of.
pub(super) fn named(key: &FederationKey) -> Option<ObjectRef> {
    let (namespace, name) = key.name.as_str().split_once('/')?;
    (key.kind == FederationKind::Service).then(|| ObjectRef::new(namespace, name))
}

pub(super) fn object(exported: &ExportedService) -> ObjectRef {
    ObjectRef::new(&exported.namespace, &exported.name)
}

fn port(port: &ExportedPort) -> Port {
    Port {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
        endpoints: port.endpoints.iter().map(endpoint).collect(),
        fallback: port.fallback.as_ref().map(endpoint),
    }
}

fn endpoint(endpoint: &ExportedEndpoint) -> Endpoint {
    let ExportedEndpoint { handle, zone, weight, identities } = endpoint.clone();
    Endpoint { handle, zone, weight, identities }
}

/// What `cluster` exports, as the World has it.
pub(super) fn fact(cluster: &Arc<str>, service: Service) -> ExportedService {
    let Service { object, created, headless, client_ip_affinity, ports } = service;
    ExportedService {
        cluster: Arc::clone(cluster),
        namespace: object.namespace,
        name: object.name,
        created,
        kind: if headless { ImportType::Headless } else { ImportType::ClusterSetIp },
        affinity: if client_ip_affinity { SessionAffinity::ClientIp } else { SessionAffinity::None },
        ports: ports.into_iter().map(port_fact).collect(),
    }
}

fn port_fact(port: Port) -> ExportedPort {
    let Port { name, port, protocol, app_protocol, endpoints, fallback } = port;
    ExportedPort {
        name,
        port,
        protocol,
        app_protocol,
        endpoints: endpoints.into_iter().map(endpoint_fact).collect(),
        fallback: fallback.map(endpoint_fact),
    }
}

fn endpoint_fact(endpoint: Endpoint) -> ExportedEndpoint {
    let Endpoint { handle, zone, weight, identities } = endpoint;
    ExportedEndpoint { handle, zone, weight, identities }
}
