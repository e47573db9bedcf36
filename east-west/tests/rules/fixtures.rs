//! Clusters, services and exports as tests need them: valid, small, and named by what differs.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::{
    export::{Export, ExportInput, export},
    handle::HandleKey,
    import::{Import, ImportInput, LocalExport, PeerExport, import},
};
use isthmus_ir::{Endpoint, EndpointState, Endpoints, ObjectRef, Reach, Service, SpiffeId, TrustDomain};
use isthmus_world::fact::{
    self, ExportedEndpoint, ExportedPort, ExportedService, ImportType, MeshSettings, Meta, PeerFact,
    PeerState, ServiceExport, ServicePort, ServiceScope, ServiceType, SessionAffinity,
};

/// The Service that everything here is about.
pub(crate) fn cart() -> ObjectRef {
    ObjectRef::new("shop", "cart")
}

pub(crate) fn domain(cluster: &str) -> TrustDomain {
    format!("{cluster}.example").parse().unwrap()
}

pub(crate) fn gateway_of(cluster: &str) -> SpiffeId {
    SpiffeId::new(&domain(cluster), "/ns/isthmus-system/sa/east-west").unwrap()
}

pub(crate) fn settings(cluster: &str) -> MeshSettings {
    MeshSettings {
        cluster: cluster.into(),
        trust_domain: domain(cluster),
        network: cluster.into(),
        zone: Some("a".into()),
        east_west: vec!["192.0.2.1:15443".parse().unwrap()],
        federation: Some("192.0.2.2:15012".parse().unwrap()),
        gateway_identity: Some(gateway_of(cluster)),
        service_scope: ServiceScope::Cluster,
        names: None,
        place: isthmus_world::fact::Place::Pods,
    }
}

pub(crate) fn peer(cluster: &str) -> PeerFact {
    PeerFact {
        cluster: cluster.into(),
        trust_domain: domain(cluster),
        gateways: vec!["198.51.100.1:15443".parse().unwrap()],
        state: PeerState::Connected,
        roots: vec![bytes::Bytes::from(format!("root of {cluster}"))],
        priority: 0,
        cost: 0,
        namespaces: None,
    }
}

pub(crate) fn service(ports: &[(&str, u16)]) -> fact::Service {
    let port = |(name, port): &(&str, u16)| ServicePort {
        name: (*name).into(),
        port: *port,
        protocol: "TCP".into(),
        app_protocol: None,
    };
    fact::Service {
        meta: meta(0),
        kind: ServiceType::ClusterIp,
        headless: false,
        ports: ports.iter().map(port).collect(),
        client_ip_affinity: false,
        gateway_addresses: Vec::new(),
        gateway_cluster_ips: Vec::new(),
    }
}

pub(crate) fn meta(created: i64) -> Meta {
    Meta { namespace: "shop".into(), name: "cart".into(), generation: 3, created, ..Meta::default() }
}

/// Endpoints of port 80, ready, with these addresses.
pub(crate) fn endpoints(port: u16, addresses: &[&str]) -> BTreeMap<u16, Arc<Endpoints>> {
    let endpoints = addresses.iter().map(|address| local(address, EndpointState::Ready)).collect();
    BTreeMap::from([(port, Arc::new(Endpoints { service: Service::name(&cart(), port), endpoints }))])
}

pub(crate) fn local(address: &str, state: EndpointState) -> Endpoint {
    Endpoint {
        id: address.into(),
        cluster: "east".into(),
        zone: None,
        priority: 0,
        weight: 1,
        state,
        reach: Reach::Direct { addresses: vec![address.parse().unwrap()] },
    }
}

/// Exports [`cart`] from east to west.
pub(crate) fn exported_from_east(
    service: Option<&fact::Service>,
    endpoints: &BTreeMap<u16, Arc<Endpoints>>,
) -> Export {
    exported_with(&settings("east"), service, endpoints)
}

pub(crate) fn exported_with(
    settings: &MeshSettings,
    service: Option<&fact::Service>,
    endpoints: &BTreeMap<u16, Arc<Endpoints>>,
) -> Export {
    export(&ExportInput {
        settings,
        key: &HandleKey::new([1; 32]),
        callers: &[domain("west")],
        export: &ServiceExport { meta: meta(100) },
        service,
        endpoints,
    })
}

/// What `cluster` exports since `created`, with one endpoint for each port.
pub(crate) fn exported(cluster: &str, created: i64, ports: &[(&str, u16)]) -> ExportedService {
    ExportedService {
        cluster: cluster.into(),
        namespace: "shop".into(),
        name: "cart".into(),
        created,
        kind: ImportType::ClusterSetIp,
        affinity: SessionAffinity::None,
        ports: ports.iter().map(|(name, port)| exported_port(cluster, name, *port)).collect(),
    }
}

pub(crate) fn exported_port(cluster: &str, name: &str, port: u16) -> ExportedPort {
    ExportedPort {
        name: name.into(),
        port,
        protocol: "TCP".into(),
        app_protocol: None,
        endpoints: vec![exported_endpoint(cluster, &format!("h{port}"))],
        fallback: None,
    }
}

pub(crate) fn exported_endpoint(cluster: &str, handle: &str) -> ExportedEndpoint {
    let identities = vec![gateway_of(cluster)];
    ExportedEndpoint { handle: handle.into(), zone: None, weight: 1, identities }
}

/// What `cluster` makes of these exports, one of which may be its own.
pub(crate) fn imported(cluster: &str, exports: &[ExportedService]) -> Import {
    let peers: Vec<_> = exports.iter().map(|e| peer(&e.cluster)).collect();
    imported_from(cluster, exports, &peers)
}

/// As [`imported`], with peers as given.
pub(crate) fn imported_from(cluster: &str, exports: &[ExportedService], peers: &[PeerFact]) -> Import {
    let own_endpoints = endpoints(80, &["10.0.0.1:8080"]);
    let own = exports.iter().find(|e| &*e.cluster == cluster);
    let peers: Vec<_> = exports
        .iter()
        .filter(|e| &*e.cluster != cluster)
        .map(|e| (peers.iter().find(|p| p.cluster == e.cluster).unwrap(), e))
        .map(|(peer, exported)| PeerExport { peer, exported })
        .collect();
    import(&ImportInput {
        settings: &settings(cluster),
        object: &cart(),
        local: own.map(|exported| LocalExport { exported, endpoints: &own_endpoints }),
        peers: &peers,
        prefer_zone: false,
    })
}

/// Endpoints of the import's port 80 as `id priority weight`.
pub(crate) fn balanced(import: &Import) -> Vec<String> {
    let name = Service::clusterset_name(&cart(), 80);
    let set = import.endpoints.iter().find(|e| e.service == name).unwrap();
    set.endpoints.iter().map(|e| format!("{} {} {}", e.id, e.priority, e.weight)).collect()
}
