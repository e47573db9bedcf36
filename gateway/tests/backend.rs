//! Endpoints of ports, where settings and peers have a say; the rest is pinned by the cases in `testdata`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by a panic"
)]

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    attachment::Attachments,
    backend::{self, BackendKey, BackendOutput, Local},
    http_route,
    reference::Grants,
};
use isthmus_ir::{BackendProtocol, BackendTarget, Endpoint, EndpointState, ObjectRef, Reach};
use isthmus_world::fact::{
    AddressFamily, BackendRef, EndpointConditions, EndpointSlice, GroupKind, HttpRoute, HttpRule,
    MeshSettings, Meta, ObjectReference, Place, RuleTimeouts, Service, ServicePort, ServiceScope,
    ServiceType, SliceEndpoint, SlicePort,
};

fn settings(loopback_endpoints: bool) -> MeshSettings {
    MeshSettings {
        cluster: "east".into(),
        trust_domain: "east".parse().unwrap(),
        network: "default".into(),
        zone: None,
        east_west: Vec::new(),
        federation: None,
        gateway_identity: None,
        service_scope: ServiceScope::Cluster,
        names: None,
        place: if loopback_endpoints { Place::Host } else { Place::Pods },
    }
}

fn meta(name: &str) -> Meta {
    Meta { namespace: "default".into(), name: name.into(), ..Meta::default() }
}

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort { name: name.into(), port, protocol: "TCP".into(), app_protocol: None }
}

fn service() -> Service {
    Service {
        meta: meta("web"),
        kind: ServiceType::ClusterIp,
        headless: false,
        ports: vec![port("http", 80)],
        client_ip_affinity: false,
        gateway_addresses: Vec::new(),
        gateway_cluster_ips: Vec::new(),
    }
}

fn slice(addresses: &[(&str, bool)]) -> Arc<EndpointSlice> {
    let endpoint = |(ip, ready): &(&str, bool)| SliceEndpoint {
        addresses: vec![ip.parse().unwrap()],
        conditions: EndpointConditions { ready: *ready, serving: true, terminating: !*ready },
        zone: None,
        pod: None,
    };
    Arc::new(EndpointSlice {
        meta: meta("web-1"),
        service: "web".into(),
        family: AddressFamily::V4,
        ports: vec![SlicePort { name: "http".into(), port: 8080 }],
        endpoints: addresses.iter().map(endpoint).collect(),
    })
}

fn ids(output: &BackendOutput) -> Vec<&str> {
    output.endpoints.endpoints.iter().map(|e| &*e.id).collect()
}

#[test]
fn g11_loopback_is_for_directories_and_the_rest_for_nobody() {
    let service = service();
    let all = [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ];
    let slices = [slice(&all.map(|ip| (ip, true)))];
    let local = Local { service: &service, slices: &slices };
    let directory = backend::cluster(local, 80, &settings(true)).unwrap();
    assert_eq!(ids(&directory), ["127.0.0.1:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"]);
    let cluster = backend::cluster(local, 80, &settings(false)).unwrap();
    assert_eq!(ids(&cluster), [""; 0]);
    assert_eq!(cluster.refused.len(), all.len());
    assert!(cluster.refused.iter().all(|r| r.starts_with("EndpointSlice default/web-1: ")));
}

#[test]
fn an_address_in_two_slices_is_one_endpoint() {
    let service = service();
    let slices = [slice(&[("10.0.0.1", false)]), slice(&[("10.0.0.1", true)])];
    for slices in [slices.clone(), [slices[1].clone(), slices[0].clone()]] {
        let output =
            backend::cluster(Local { service: &service, slices: &slices }, 80, &settings(true)).unwrap();
        let [only] = output.endpoints.endpoints.as_slice() else { panic!("one endpoint") };
        assert_eq!(only.state, EndpointState::Ready);
    }
}

#[test]
fn a_pod_that_is_ready_in_one_family_is_reached_there() {
    let service = service();
    let of = |ip: &str, ready| {
        let mut slice = EndpointSlice::clone(&slice(&[(ip, ready)]));
        for endpoint in &mut slice.endpoints {
            endpoint.pod = Some("pod-1".into());
        }
        Arc::new(slice)
    };
    for slices in
        [[of("10.0.0.1", false), of("fd00::1", true)], [of("fd00::1", true), of("10.0.0.1", false)]]
    {
        let output =
            backend::cluster(Local { service: &service, slices: &slices }, 80, &settings(true)).unwrap();
        assert_eq!(ids(&output), ["[fd00::1]:8080"]);
    }
}

fn imported(handle: &str, priority: u8) -> Endpoint {
    Endpoint {
        id: format!("west/{handle}").into(),
        cluster: "west".into(),
        zone: None,
        priority,
        weight: 2,
        state: EndpointState::Ready,
        reach: Reach::Peer { peer: "west".into(), handle: handle.into(), identities: Vec::new() },
    }
}

#[test]
fn an_import_joins_local_endpoints_and_those_of_peers() {
    let service = service();
    let slices = [slice(&[("10.0.0.1", true)])];
    let local = Local { service: &service, slices: &slices };
    let object = ObjectRef::new("default", "web");
    let peers = [imported("b", 1), imported("a", 1)];
    let join = |local| backend::clusterset(&object, &port("http", 80), local, &peers, &settings(true));
    let output = join(Some(local)).unwrap();
    assert_eq!(ids(&output), ["10.0.0.1:8080", "west/a", "west/b"]);
    assert_eq!(output.endpoints.endpoints.iter().map(|e| e.priority).collect::<Vec<_>>(), [0, 1, 1]);
    assert_eq!(output.service.name.as_str(), "clusterset/default/web/80");
    assert_eq!(ids(&join(None).unwrap()), ["west/a", "west/b"]);
    let unsaid = ServicePort { app_protocol: Some("example.com/x".into()), ..port("http", 80) };
    assert_eq!(backend::clusterset(&object, &unsaid, None, &peers, &settings(true)), None);
}

#[test]
fn a_local_service_without_the_imported_port_adds_nothing() {
    let service = service();
    let slices = [slice(&[("10.0.0.1", true)])];
    let local = Local { service: &service, slices: &slices };
    let object = ObjectRef::new("default", "web");
    let output = backend::clusterset(
        &object,
        &port("https", 443),
        Some(local),
        &[imported("a", 1)],
        &settings(true),
    );
    assert_eq!(ids(&output.unwrap()), ["west/a"]);
}

#[test]
fn what_is_spoken_is_declared_by_the_port() {
    let spoken = |app_protocol: Option<&str>| {
        let declared = ServicePort { app_protocol: app_protocol.map(str::to_owned), ..port("http", 80) };
        let service = Service { ports: vec![declared], ..service() };
        backend::cluster(Local { service: &service, slices: &[] }, 80, &settings(true))
            .map(|o| o.service.protocol)
    };
    for http1 in [None, Some("http"), Some("kubernetes.io/ws")] {
        assert_eq!(spoken(http1), Some(BackendProtocol::Http1));
    }
    for h2 in ["kubernetes.io/h2c", "http2", "grpc"] {
        assert_eq!(spoken(Some(h2)), Some(BackendProtocol::H2c));
    }
    for unknown in ["https", "kubernetes.io/wss", "redis", "example.com/x", ""] {
        assert_eq!(spoken(Some(unknown)), None, "{unknown:?}");
    }
}

/// Where a backendRef of `kind` leads.
fn target(
    group: &str,
    kind: &str,
    scope: ServiceScope,
    imports: &[u16],
) -> (BackendTarget, Vec<BackendKey>) {
    let object = ObjectRef::new("default", "web");
    let backend = BackendRef {
        object: ObjectReference {
            kind: GroupKind { group: group.into(), kind: kind.into() },
            namespace: None,
            name: "web".into(),
        },
        port: Some(80),
        weight: 1,
        filters: Vec::new(),
    };
    let rule = HttpRule {
        name: None,
        matches: vec![isthmus_ir::RouteMatch {
            path: isthmus_ir::PathMatch::Prefix("/".into()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }],
        filters: Vec::new(),
        backends: vec![backend],
        timeouts: RuleTimeouts::default(),
        retry: None,
        unsupported: Vec::new(),
    };
    let route =
        HttpRoute { meta: meta("route"), parents: Vec::new(), hostnames: Vec::new(), rules: vec![rule] };
    let found = http_route::references(&route, scope);
    let services: BTreeMap<_, _> =
        found.services.into_iter().map(|o| (o, Arc::new(service()))).collect();
    let ports: Arc<[ServicePort]> = imports.iter().map(|p| port("http", *p)).collect();
    let imports = if imports.is_empty() {
        BTreeMap::new()
    } else {
        found.imports.into_iter().map(|o| (o, ports.clone())).collect()
    };
    let attached = isthmus_gateway::attachment::Attached {
        parent: isthmus_world::fact::ParentRef {
            kind: GroupKind { group: isthmus_gateway::GROUP.into(), kind: "Gateway".into() },
            namespace: None,
            name: "gw".into(),
            section: None,
            port: None,
        },
        gateway: object,
        sections: vec!["a".into()],
        listeners: vec![isthmus_ir::Attachment {
            listener: "default/gw/a".into(),
            hostnames: vec![isthmus_ir::HostPattern::Any],
        }],
        accepted: isthmus_gateway::Condition::is("Accepted", "Accepted", ""),
    };
    let output = http_route::translate(http_route::Inputs {
        route: &route,
        attachments: &Attachments { parents: vec![attached] },
        services: &services,
        imports: &imports,
        grants: Grants(&[]),
        tls: &[],
        scope,
    });
    (output.rules[0].backends[0].target.clone(), output.backends.into_iter().collect())
}

#[test]
fn a_service_spans_the_clusterset_when_told_so_and_imported() {
    let object = ObjectRef::new("default", "web");
    let cluster = (
        BackendTarget::Service("cluster/default/web/80".into()),
        vec![BackendKey::Cluster(object.clone(), 80)],
    );
    let set = (
        BackendTarget::Service("clusterset/default/web/80".into()),
        vec![BackendKey::ClusterSet(object, 80)],
    );
    assert_eq!(target("", "Service", ServiceScope::Cluster, &[80]), cluster);
    assert_eq!(target("", "Service", ServiceScope::ClusterSet, &[80]), set);
    assert_eq!(target("", "Service", ServiceScope::ClusterSet, &[81]), cluster);
    assert_eq!(target("", "Service", ServiceScope::ClusterSet, &[]), cluster);
    assert_eq!(target("multicluster.x-k8s.io", "ServiceImport", ServiceScope::Cluster, &[80]), set);
}

#[test]
fn an_import_without_the_port_is_not_found() {
    let (found, used) = target("multicluster.x-k8s.io", "ServiceImport", ServiceScope::Cluster, &[81]);
    let BackendTarget::Invalid { reason } = found else { panic!("invalid") };
    assert_eq!(reason, "spec.rules[0].backendRefs[0]: ServiceImport default/web has no port 80");
    assert_eq!(used, []);
}
