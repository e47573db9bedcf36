//! Small facts for tests, and a mirror that follows a compiler by its refreshes alone.

#![allow(dead_code, reason = "each test file uses a part")]

pub mod mirror;

use std::sync::Arc;

use isthmus_compiler::Compiler;
use isthmus_east_west::handle::HandleKey;
use isthmus_ir::{PathMatch, Redacted, RouteMatch};
use isthmus_world::{
    Change, Kind, KindState,
    fact::{
        AddressFamily, AllowedNamespaces, AllowedRoutes, BackendRef, EndpointConditions, EndpointSlice,
        ExportedEndpoint, ExportedPort, ExportedService, Fact, Gateway, GatewayClass, GatewayParameters,
        GroupKind, HttpRoute, HttpRule, ImportType, Listener, MeshSettings, Meta, ObjectReference,
        ParentRef, PeerFact, PeerState, RequestedAddress, RuleTimeouts, Secret, Service, ServiceExport,
        ServicePort, ServiceScope, ServiceType, SessionAffinity, SliceEndpoint, SlicePort,
    },
};

pub const GATEWAY_API: &str = "gateway.networking.k8s.io";

pub fn settings() -> MeshSettings {
    MeshSettings {
        cluster: "east".into(),
        trust_domain: "east.test".parse().unwrap(),
        network: "one".into(),
        zone: None,
        east_west: vec!["127.0.0.1:15443".parse().unwrap()],
        federation: Some("127.0.0.1:15012".parse().unwrap()),
        gateway_identity: Some("spiffe://east.test/ns/isthmus-system/sa/east-west".parse().unwrap()),
        service_scope: ServiceScope::Cluster,
        names: None,
        place: isthmus_world::fact::Place::Host,
    }
}

/// A compiler for which every kind is synced.
pub fn synced(settings: MeshSettings) -> Compiler {
    let mut compiler = Compiler::new(settings, HandleKey::new([7; 32]));
    for kind in Kind::ALL {
        compiler.apply(Change::Kind { kind, state: KindState::Synced });
    }
    compiler
}

pub fn meta(namespace: &str, name: &str) -> Meta {
    Meta { namespace: namespace.into(), name: name.into(), generation: 1, ..Meta::default() }
}

pub fn class(name: &str, controller: &str, has_parameters: bool) -> Fact {
    Fact::GatewayClass(GatewayClass {
        meta: meta("", name),
        controller: controller.into(),
        parameters: has_parameters.then(|| parameters_ref(Some("a"))),
    })
}

/// A reference to the GatewayParameters `p`.
pub fn parameters_ref(namespace: Option<&str>) -> ObjectReference {
    ObjectReference {
        kind: GroupKind { group: "isthmus.dev".into(), kind: "GatewayParameters".into() },
        namespace: namespace.map(str::to_owned),
        name: "p".into(),
    }
}

pub fn parameters(namespace: &str) -> Fact {
    Fact::GatewayParameters(GatewayParameters { meta: meta(namespace, "p") })
}

pub fn address(value: &str) -> RequestedAddress {
    RequestedAddress { kind: "IPAddress".into(), value: value.into(), routability: String::new() }
}

pub fn listener(name: &str, port: u16) -> Listener {
    Listener {
        name: name.into(),
        hostname: None,
        port,
        protocol: "HTTP".into(),
        tls: None,
        allowed: AllowedRoutes { namespaces: AllowedNamespaces::All, kinds: Vec::new() },
    }
}

pub fn gateway(namespace: &str, name: &str, listeners: Vec<Listener>) -> Gateway {
    Gateway {
        meta: meta(namespace, name),
        class: "isthmus".into(),
        addresses: Vec::new(),
        parameters: None,
        listeners,
        unsupported: Vec::new(),
    }
}

pub fn parent(namespace: &str, name: &str) -> ParentRef {
    ParentRef {
        kind: GroupKind { group: GATEWAY_API.into(), kind: "Gateway".into() },
        namespace: Some(namespace.into()),
        name: name.into(),
        section: None,
        port: None,
    }
}

pub fn backend(kind: &str, namespace: &str, name: &str, port: u16) -> BackendRef {
    let group = if kind == "ServiceImport" { "multicluster.x-k8s.io" } else { "" };
    BackendRef {
        object: ObjectReference {
            kind: GroupKind { group: group.into(), kind: kind.into() },
            namespace: Some(namespace.into()),
            name: name.into(),
        },
        port: Some(port),
        weight: 1,
        filters: Vec::new(),
    }
}

pub fn rule(path: &str, backends: Vec<BackendRef>) -> HttpRule {
    HttpRule {
        name: None,
        matches: vec![RouteMatch {
            path: PathMatch::Prefix(path.into()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }],
        filters: Vec::new(),
        backends,
        timeouts: RuleTimeouts::default(),
        retry: None,
        unsupported: Vec::new(),
    }
}

pub fn route(namespace: &str, name: &str, parents: Vec<ParentRef>, rules: Vec<HttpRule>) -> HttpRoute {
    HttpRoute { meta: meta(namespace, name), parents, hostnames: Vec::new(), rules }
}

pub fn service(namespace: &str, name: &str, ports: &[u16]) -> Service {
    let port = |port: &u16| ServicePort {
        name: format!("p{port}"),
        port: *port,
        protocol: "TCP".into(),
        app_protocol: None,
    };
    Service {
        meta: meta(namespace, name),
        kind: ServiceType::ClusterIp,
        headless: false,
        ports: ports.iter().map(port).collect(),
        client_ip_affinity: false,
        gateway_addresses: Vec::new(),
        gateway_cluster_ips: Vec::new(),
    }
}

/// A slice whose endpoints are `10.0.0.<last>`, all ready; every port `n` leads to `n + 8000`.
pub fn slice(namespace: &str, name: &str, service: &str, ports: &[u16], last: &[u8]) -> EndpointSlice {
    let endpoint = |last: &u8| SliceEndpoint {
        addresses: vec![[10, 0, 0, *last].into()],
        conditions: EndpointConditions { ready: true, serving: true, terminating: false },
        zone: None,
        pod: None,
    };
    let port = |port: &u16| SlicePort { name: format!("p{port}"), port: port + 8000 };
    EndpointSlice {
        meta: meta(namespace, name),
        service: service.into(),
        family: AddressFamily::V4,
        ports: ports.iter().map(port).collect(),
        endpoints: last.iter().map(endpoint).collect(),
    }
}

pub fn secret(namespace: &str, name: &str, sound: bool) -> Fact {
    let certificate = include_bytes!("../../../gateway/tests/certificates/ed25519.crt").to_vec();
    let key = include_bytes!("../../../gateway/tests/certificates/ed25519.key").to_vec();
    Fact::Secret(Secret {
        meta: meta(namespace, name),
        kind: "kubernetes.io/tls".into(),
        certificate: Some(if sound { certificate } else { b"nothing".to_vec() }),
        key: Some(Redacted::new(key)),
    })
}

pub fn service_export(namespace: &str, name: &str) -> Fact {
    Fact::ServiceExport(ServiceExport { meta: meta(namespace, name) })
}

pub fn peer(cluster: &str) -> PeerFact {
    PeerFact {
        cluster: cluster.into(),
        trust_domain: format!("{cluster}.test").parse().unwrap(),
        gateways: vec!["192.0.2.1:15443".parse().unwrap()],
        state: PeerState::Connected,
        roots: vec![vec![1, 2, 3].into()],
        priority: 0,
        cost: 0,
        namespaces: None,
    }
}

pub fn exported(cluster: &str, namespace: &str, name: &str, handles: &[&str]) -> Arc<ExportedService> {
    let identity: isthmus_ir::SpiffeId =
        format!("spiffe://{cluster}.test/ns/isthmus-system/sa/east-west").parse().unwrap();
    let endpoint = |handle: &&str| ExportedEndpoint {
        handle: (*handle).into(),
        zone: None,
        weight: 1,
        identities: vec![identity.clone()],
    };
    let port = ExportedPort {
        name: "p80".into(),
        port: 80,
        protocol: "TCP".into(),
        app_protocol: None,
        endpoints: handles.iter().map(endpoint).collect(),
        fallback: None,
    };
    Arc::new(ExportedService {
        cluster: cluster.into(),
        namespace: namespace.into(),
        name: name.into(),
        created: 100,
        kind: ImportType::ClusterSetIp,
        affinity: SessionAffinity::None,
        ports: vec![port],
    })
}
