//! Two proxies of two clusters: an edge that calls, and the other cluster's east-west gateway that answers.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use isthmus_ir::{
    BackendTarget, Change, Endpoint, Handle, HandleTarget, HealthPolicy, HostPattern, Peer, Protocol,
    Reach, Resource, SpiffeId,
};

use crate::{
    authority::{Authority, Identity},
    support::{
        Backend, Running, closed_port, endpoint, eventually, listener, listener_for, resource, route,
        service, service_name, service_with,
    },
};

const GATEWAY: &str = "/ns/isthmus-system/sa/east-west";
const EDGE: &str = "/ns/infra/sa/edge";

fn identify(running: &Running, identity: &Identity) {
    running.proxy().identify(&identity.chain, &identity.key).unwrap();
}

fn handle(name: &str, callers: &[&Authority], target: HandleTarget) -> Resource {
    Resource::Handle(Arc::new(Handle {
        name: name.into(),
        callers: callers.iter().map(|authority| authority.domain.clone()).collect(),
        target,
    }))
}

/// West's gateway: handle `h1` leads to `backend`, which is an endpoint of `shop/echo` there.
fn west(east: &Authority, west: &Authority, backend: SocketAddr) -> Running {
    let target =
        HandleTarget::Endpoint { service: service_name("echo"), endpoint: backend.to_string().into() };
    let mut resources = vec![
        listener_for("http", HostPattern::Any, Protocol::EastWest),
        handle("h1", &[east], target),
        handle("any", &[east], HandleTarget::Service { service: service_name("echo") }),
        east.bundle(),
        west.bundle(),
    ];
    resources.extend(service("echo", &[backend]));
    let running = Running::start(resources);
    identify(&running, &west.svid(GATEWAY));
    running
}

fn remote(handle: &str, priority: u8, identities: Vec<SpiffeId>) -> Endpoint {
    Endpoint {
        id: format!("west/{handle}").into(),
        cluster: "west".into(),
        priority,
        reach: Reach::Peer { peer: "west".into(), handle: handle.into(), identities },
        ..endpoint(closed_port())
    }
}

fn peer(west: &Authority, gateways: &[SocketAddr]) -> Resource {
    Resource::Peer(Arc::new(Peer {
        name: "west".into(),
        trust_domain: west.domain.clone(),
        gateways: gateways.to_vec(),
        usable: true,
    }))
}

/// East's edge, whose service `shop/echo` has these endpoints.
fn east(east: &Authority, west: &Authority, gateway: SocketAddr, endpoints: Vec<Endpoint>) -> Running {
    let mut resources = vec![
        listener(),
        resource(route("all", "/", &[("echo", 1)])),
        peer(west, &[gateway]),
        east.bundle(),
        west.bundle(),
    ];
    resources.extend(service_with("echo", endpoints, HealthPolicy::default()));
    let running = Running::start(resources);
    identify(&running, &east.svid(EDGE));
    running
}

fn authorities() -> (Authority, Authority) {
    (Authority::new("east.test"), Authority::new("west.test"))
}

#[test]
fn a_request_crosses_clusters() {
    let (e, w) = authorities();
    let backend = Backend::named("west");
    let gateway = west(&e, &w, backend.address);
    for name in ["h1", "any"] {
        let edge = east(&e, &w, gateway.address(), vec![remote(name, 0, vec![w.id(GATEWAY)])]);
        let mut client = edge.connect();
        for _ in 0..10 {
            client.send("POST /x HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
            assert_eq!(client.answer().text(), "west");
        }
        let received = backend.received();
        let last = received.last().unwrap();
        assert_eq!((last.line(), &*last.body), ("POST /x HTTP/1.1", &b"hi"[..]));
        assert_eq!(last.values("x-forwarded-for"), ["127.0.0.1"], "the edge has set it");
    }
    let handshakes = gateway.proxy().metrics();
    assert!(handshakes.contains("isthmus_tls_handshakes_total 2"), "pooled: {handshakes}");
}

#[test]
fn d3_only_who_an_endpoint_names_may_answer() {
    let (e, w) = authorities();
    let backend = Backend::named("west");
    let gateway = west(&e, &w, backend.address);
    // Somebody else of the right trust domain.
    let other = vec![w.id("/ns/isthmus-system/sa/other")];
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, other)]);
    assert_eq!(edge.connect().get("/").status(), 503);
    // West's CA speaks for east.
    let ours = e.id(GATEWAY);
    identify(&gateway, &w.issue(&[&ours.to_string()], |_| ()));
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![ours])]);
    assert_eq!(edge.connect().get("/").status(), 503);
    assert_eq!(backend.received().len(), 0);
}

#[test]
fn d1_d2_what_is_no_svid_is_not_believed() {
    let (e, w) = authorities();
    let backend = Backend::named("west");
    let gateway = west(&e, &w, backend.address);
    let right = w.id(GATEWAY).to_string();
    let mut wrong = vec![
        w.issue(&[&right, "spiffe://west.test/second"], |_| ()),
        w.issue(&[], |_| ()),
        w.issue(&[&right], |p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0))),
        w.issue(&[&right], |p| p.key_usages.push(rcgen::KeyUsagePurpose::KeyCertSign)),
    ];
    for uri in [
        "spiffe://west.test/ns/isthmus-system/sa/east-west/",
        "spiffe://west.test:1/ns/isthmus-system/sa/east-west",
        "spiffe://west.test/ns/isthmus-system/sa/east-west?x",
        "spiffe://u@west.test/ns/isthmus-system/sa/east-west",
        "spiffe://west.test/ns%2fisthmus-system/sa/east-west",
        "spiffe://WEST.test/ns/isthmus-system/sa/east-west",
    ] {
        wrong.push(w.issue(&[uri], |_| ()));
    }
    for identity in wrong {
        identify(&gateway, &identity);
        let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)])]);
        assert_eq!(edge.connect().get("/").status(), 503);
    }
    assert_eq!(backend.received().len(), 0);
    identify(&gateway, &w.svid(GATEWAY));
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)])]);
    assert_eq!(edge.connect().get("/").status(), 200);
}

#[test]
fn h7_only_callers_that_a_handle_names_are_let_in() {
    let (e, w) = authorities();
    let backend = Backend::named("west");
    let gateway = west(&e, &w, backend.address);
    let target = HandleTarget::Endpoint {
        service: service_name("echo"),
        endpoint: backend.address.to_string().into(),
    };
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)])]);
    gateway.apply(vec![Change::Upsert(handle("h1", &[&w], target))]);
    // In TLS 1.3 the refusal comes after the request: the connection ends without an answer.
    assert_eq!(edge.connect().get("/").status(), 502);
    assert_eq!(backend.received().len(), 0);
}

#[test]
fn an_unknown_handle_is_tried_elsewhere_whatever_the_method() {
    let (e, w) = authorities();
    let backend = Backend::named("west");
    let gateway = west(&e, &w, backend.address);
    let id = || vec![w.id(GATEWAY)];
    let edge = east(&e, &w, gateway.address(), vec![remote("gone", 0, id()), remote("h1", 1, id())]);
    let mut client = edge.connect();
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(client.answer().text(), "west");
    }
}

#[test]
fn a_workload_that_the_gateway_cannot_reach_is_tried_elsewhere() {
    let (e, w) = authorities();
    let local = Backend::named("local");
    let gateway = west(&e, &w, closed_port());
    let mut second = endpoint(local.address);
    second.priority = 1;
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)]), second]);
    let mut client = edge.connect();
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(client.answer().text(), "local");
    }
    // Without anyone else the client learns nothing of how the mesh tells it.
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)])]);
    let answer = edge.connect().get("/");
    assert_eq!((answer.status(), answer.values("x-isthmus-unreached").len()), (503, 0));
}

#[test]
fn a_frozen_gateway_is_left_within_a_second_and_used_again_when_it_thaws() {
    let (e, w) = authorities();
    let local = Backend::named("local");
    // Connections are completed by the kernel and nobody reads them.
    let frozen = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = frozen.local_addr().unwrap();
    let mut second = endpoint(local.address);
    second.priority = 1;
    let edge = east(&e, &w, address, vec![remote("h1", 0, vec![w.id(GATEWAY)]), second]);
    let start = Instant::now();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = edge.connect();
            client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
            client
        })
        .collect();
    for mut client in clients {
        assert_eq!(client.answer().text(), "local");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "the takeover took {took:?}");
    let start = Instant::now();
    assert_eq!(edge.connect().get("/").text(), "local");
    assert!(start.elapsed() < Duration::from_millis(200), "it is known to be down");
    drop(frozen);
    let backend = Backend::named("west");
    let west = west(&e, &w, backend.address);
    edge.apply(vec![Change::Upsert(peer(&w, &[west.address()]))]);
    eventually("west's answer", || edge.connect().get("/").text() == "west");
}

#[test]
fn a_killed_gateway_is_left_at_once() {
    let (e, w) = authorities();
    let (backend, local) = (Backend::named("west"), Backend::named("local"));
    let mut gateway = west(&e, &w, backend.address);
    let mut second = endpoint(local.address);
    second.priority = 1;
    let edge = east(&e, &w, gateway.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)]), second]);
    let mut client = edge.connect();
    assert_eq!(client.get("/").text(), "west");
    drop(gateway.proxy.take());
    let start = Instant::now();
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(client.answer().text(), "local");
    }
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
}

#[test]
fn bytes_pass_through_unopened() {
    let (e, w) = authorities();
    // What is behind is another TLS server: west's gateway itself, by a second one in front of it.
    let backend = Backend::named("west");
    let inner = west(&e, &w, backend.address);
    let outer = Running::start(vec![
        listener_for("http", HostPattern::Any, Protocol::EastWest),
        handle("h1", &[&e], HandleTarget::Passthrough { address: inner.address() }),
    ]);
    let edge = east(&e, &w, outer.address(), vec![remote("h1", 0, vec![w.id(GATEWAY)])]);
    let mut client = edge.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "west");
    }
}

#[test]
fn a_backend_in_another_cluster_passes_its_share_on_when_its_gateway_is_down() {
    let (e, w) = authorities();
    let local = Backend::named("local");
    let mut all = route("all", "/", &[("echo", 1), ("local", 1)]);
    all.backends[1].target = BackendTarget::Service(service_name("local"));
    let mut resources =
        vec![listener(), resource(all), peer(&w, &[closed_port()]), e.bundle(), w.bundle()];
    resources.extend(service_with(
        "echo",
        vec![remote("h1", 0, vec![w.id(GATEWAY)])],
        HealthPolicy::default(),
    ));
    resources.extend(service("local", &[local.address]));
    let edge = Running::start(resources);
    identify(&edge, &e.svid(EDGE));
    let mut client = edge.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "local");
    }
}
