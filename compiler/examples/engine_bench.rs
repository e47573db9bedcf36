//! What a first build, one edit and memory cost on a large synthetic World: 10,000 services with 100,000
//! endpoints, 5,000 routes of two rules on ten Gateways, 1,000 services exported and imported.
//!
//! Times are CPU time of the one thread that does all of it, so that other work on the machine does not
//! show. `cargo run --release -p isthmus-compiler --example engine_bench`; prints a Markdown table.

#![allow(clippy::print_stdout, reason = "the table is the answer")]
#![allow(clippy::unwrap_used, reason = "the World is made here, and is right")]

use std::{sync::Arc, time::Duration};

use isthmus_compiler::{Compiler, implied_class};
use isthmus_east_west::handle::HandleKey;
use isthmus_ir::{Name, ObjectRef};
use isthmus_world::{
    Change, Kind, KindState, ObjectKey,
    fact::{
        ExportedEndpoint, ExportedPort, ExportedService, ImportType, MeshSettings, PeerFact, PeerState,
        ProxyReport, ServiceScope, SessionAffinity,
    },
    ingest,
    ingest::DynamicObject,
};
use serde_json::{Value, json};

const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
const ROUTES: usize = 5_000;
const GATEWAYS: usize = 10;
const EXPORTED: usize = 1_000;
const NAMESPACES: usize = 100;
const ROUNDS: usize = 50;
/// Objects between two looks at the clock.
const BATCH: usize = 1_000;

fn settings() -> MeshSettings {
    MeshSettings {
        cluster: "east".into(),
        trust_domain: "east.test".parse().unwrap(),
        network: "default".into(),
        zone: None,
        east_west: vec!["127.0.0.1:15443".parse().unwrap()],
        federation: Some("127.0.0.1:15012".parse().unwrap()),
        gateway_identity: Some("spiffe://east.test/ns/isthmus-system/sa/east-west".parse().unwrap()),
        service_scope: ServiceScope::Cluster,
        names: None,
        place: isthmus_world::fact::Place::Pods,
    }
}

fn namespace(i: usize) -> String {
    format!("team-{}", i % NAMESPACES)
}

fn object(api: &str, kind: &str, namespace: &str, name: &str, mut body: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    fields.insert("apiVersion".into(), api.into());
    fields.insert("kind".into(), kind.into());
    let metadata = json!({
        "namespace": namespace, "name": name, "generation": 1,
        "creationTimestamp": "2026-01-02T03:04:05Z",
    });
    fields.entry("metadata").or_insert(metadata);
    body
}

fn service(i: usize) -> Value {
    let spec = json!({ "ports": [{ "name": "http", "port": 80 }] });
    object("v1", "Service", &namespace(i), &format!("svc-{i}"), json!({ "spec": spec }))
}

fn slice(i: usize, edit: usize) -> Value {
    let endpoints: Vec<Value> = (0..ENDPOINTS)
        .map(|j| {
            let last = if j == 0 { 100 + edit % 100 } else { j };
            json!({
                "addresses": [format!("10.{}.{}.{last}", i / 250, i % 250)],
                "targetRef": { "kind": "Pod", "name": format!("svc-{i}-{j}") },
                "zone": format!("zone-{}", j % 3),
            })
        })
        .collect();
    let body = json!({
        "metadata": {
            "namespace": namespace(i), "name": format!("svc-{i}-1"), "generation": 1,
            "labels": { "kubernetes.io/service-name": format!("svc-{i}") },
        },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 8080 }],
        "endpoints": endpoints,
    });
    object("discovery.k8s.io/v1", "EndpointSlice", "", "", body)
}

fn route(i: usize, edit: usize) -> Value {
    let backend = |n: usize| {
        let (kind, group) =
            if n < EXPORTED { ("ServiceImport", "multicluster.x-k8s.io") } else { ("Service", "") };
        json!({ "group": group, "kind": kind, "name": format!("svc-{n}"), "namespace": namespace(n), "port": 80 })
    };
    // Both services are of the route's namespace, since namespaces repeat every hundred.
    let spec = json!({
        "parentRefs": [{ "name": format!("edge-{}", i % GATEWAYS), "namespace": "edge" }],
        "hostnames": [format!("r{i}.example.com")],
        "rules": [
            {
                "matches": [{ "path": { "value": format!("/a{edit}") } }],
                "backendRefs": [backend(i)],
                "timeouts": { "request": "10s" },
            },
            {
                "matches": [{ "path": { "value": "/b" }, "headers": [{ "name": "X-Team", "value": "b" }] }],
                "backendRefs": [backend(i + ROUTES)],
            },
        ],
    });
    let mut object = object(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        &namespace(i),
        &format!("route-{i}"),
        json!({ "spec": spec }),
    );
    *object.pointer_mut("/metadata/generation").unwrap() = (edit + 1).into();
    object
}

fn gateway(i: usize, edit: usize) -> Value {
    let listener = |name: &str, port: usize| {
        json!({
            "name": name, "port": port, "protocol": "HTTP",
            "allowedRoutes": { "namespaces": { "from": "All" } },
        })
    };
    let mut listeners = vec![listener("http", 8000 + i)];
    if edit % 2 == 1 {
        listeners.push(listener("more", 9000 + i));
    }
    let spec = json!({ "gatewayClassName": "isthmus", "listeners": listeners });
    let mut object = object(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "edge",
        &format!("edge-{i}"),
        json!({ "spec": spec }),
    );
    *object.pointer_mut("/metadata/generation").unwrap() = (edit + 1).into();
    object
}

fn export(i: usize) -> Value {
    let api = "multicluster.x-k8s.io/v1beta1";
    object(api, "ServiceExport", &namespace(i), &format!("svc-{i}"), json!({}))
}

/// Every object, made one at a time, so that they do not count as memory of the World.
fn objects() -> impl Iterator<Item = DynamicObject> {
    let services = (0..SERVICES).flat_map(|i| [service(i), slice(i, 0)]);
    let rest = (0..GATEWAYS).map(|i| gateway(i, 0)).chain((0..ROUTES).map(|i| route(i, 0)));
    let all = services.chain(rest).chain((0..EXPORTED).map(export));
    all.map(|object| serde_json::from_value(object).unwrap())
}

fn peer(state: PeerState) -> Change {
    Change::Peer(PeerFact {
        cluster: "west".into(),
        trust_domain: "west.test".parse().unwrap(),
        gateways: vec!["192.0.2.1:15443".parse().unwrap()],
        state,
        roots: vec![vec![1, 2, 3].into()],
        priority: 0,
        cost: 0,
        namespaces: None,
    })
}

fn peer_export(i: usize, edit: usize) -> Arc<ExportedService> {
    let identity = "spiffe://west.test/ns/isthmus-system/sa/east-west".parse().unwrap();
    let identities = vec![identity];
    let endpoint = |j: usize| ExportedEndpoint {
        handle: format!("h{i}-{j}-{edit}").into(),
        zone: None,
        weight: 1,
        identities: identities.clone(),
    };
    let port = ExportedPort {
        name: "http".into(),
        port: 80,
        protocol: "TCP".into(),
        app_protocol: None,
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        fallback: None,
    };
    Arc::new(ExportedService {
        cluster: "west".into(),
        namespace: namespace(i),
        name: format!("svc-{i}"),
        created: 100,
        kind: ImportType::ClusterSetIp,
        affinity: SessionAffinity::None,
        ports: vec![port],
    })
}

fn read(object: Value) -> Change {
    ingest(serde_json::from_value(object).unwrap()).unwrap()
}

fn ack(i: usize, revision: u64) -> Change {
    Change::Proxy {
        scope: Name::from(format!("gateway/edge/edge-{i}")),
        proxy: format!("edge-{i}-0").into(),
        report: Some(ProxyReport { revision, ..ProxyReport::default() }),
    }
}

/// Time that this thread has spent on a CPU: what a quiet machine would take, whatever else runs here.
fn cpu() -> Duration {
    // The kernel brings its count up to date when it has to choose who runs.
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn since(start: Duration) -> Duration {
    cpu().saturating_sub(start)
}

/// Resident memory in MB.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Median and longest of what `edit` costs from change to refresh, and the edits of resources and statuses
/// that the last round gave.
fn measure(compiler: &mut Compiler, name: &str, mut edit: impl FnMut(&Compiler, usize) -> Change) {
    let mut times = Vec::new();
    let (mut resources, mut statuses) = (0, 0);
    for round in 1..=ROUNDS {
        let change = edit(compiler, round);
        let start = cpu();
        compiler.apply(change);
        let refresh = compiler.refresh();
        times.push(since(start));
        resources = refresh.scopes.values().map(Vec::len).sum();
        statuses = refresh.statuses.len();
    }
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    println!(
        "| {name} | {:.2} | {:.2} | {resources} | {statuses} |",
        milliseconds(median),
        milliseconds(longest)
    );
}

fn edits(compiler: &mut Compiler) {
    println!("| one edit | median ms | longest ms | resources | statuses |");
    println!("|---|---|---|---|---|");
    measure(compiler, "endpoint of a routed service", |_, n| read(slice(7_000, n)));
    measure(compiler, "endpoint of an exported service", |_, n| read(slice(7, n)));
    measure(compiler, "one rule of a route", |_, n| read(route(3_000, n)));
    measure(compiler, "acked by its proxy", |compiler, n| {
        if n % 2 == 1 {
            read(route(3_000, n + 100))
        } else {
            ack(0, compiler.scope_revision(&"gateway/edge/edge-0".into()).unwrap_or(0))
        }
    });
    measure(compiler, "a Service comes or goes", |_, n| {
        if n % 2 == 1 {
            Change::Delete(ObjectKey {
                kind: Kind::Service,
                object: ObjectRef::new(namespace(7_001), "svc-7001"),
            })
        } else {
            read(service(7_001))
        }
    });
    measure(compiler, "a listener comes or goes (500 routes)", |_, n| read(gateway(3, n)));
    measure(compiler, "one export of a peer", |_, n| Change::PeerExports {
        cluster: "west".into(),
        upserts: vec![peer_export(9, n)],
        removed: Vec::new(),
    });
    measure(compiler, "a peer's control link (1,000 imports)", |_, n| {
        peer(if n % 2 == 1 { PeerState::ControlLost } else { PeerState::Connected })
    });
    measure(compiler, "a peer is lost or back (1,000 imports)", |_, n| {
        peer(if n % 2 == 1 { PeerState::Lost } else { PeerState::Connected })
    });
}

/// Takes everything in; how many objects there were, and how long decoding and taking in took.
fn fill(compiler: &mut Compiler) -> (usize, Duration, Duration) {
    let (mut count, mut decoded, mut applied) = (0, Duration::ZERO, Duration::ZERO);
    let mut apply = |changes: Vec<Change>| {
        let start = cpu();
        for change in changes {
            compiler.apply(change);
        }
        applied += since(start);
    };
    apply(vec![Change::Upsert(implied_class())]);
    let mut objects = objects();
    loop {
        let some: Vec<DynamicObject> = objects.by_ref().take(BATCH).collect();
        if some.is_empty() {
            break;
        }
        count += some.len();
        let start = cpu();
        let changes = some.into_iter().map(|object| ingest(object).unwrap()).collect();
        decoded += since(start);
        apply(changes);
    }
    let services = (0..EXPORTED).map(|i| peer_export(i, 0)).collect();
    let mut rest =
        vec![peer(PeerState::Connected), Change::PeerSnapshot { cluster: "west".into(), services }];
    rest.extend(Kind::ALL.map(|kind| Change::Kind { kind, state: KindState::Synced }));
    apply(rest);
    (count, decoded, applied)
}

fn main() {
    let mut compiler = Compiler::new(settings(), HandleKey::new([7; 32]));
    let (count, decoded, applied) = fill(&mut compiler);
    let start = cpu();
    let refresh = compiler.refresh();
    let built = applied + since(start);
    let resources: usize = refresh.scopes.values().map(Vec::len).sum();
    let statuses = refresh.statuses.len();
    drop(refresh);
    println!("| first build | |");
    println!("|---|---|");
    println!("| objects decoded | {count} in {:.0} ms |", milliseconds(decoded));
    println!("| facts taken in | {:.0} ms |", milliseconds(applied));
    println!("| first build, taking facts in included | {:.0} ms |", milliseconds(built));
    println!("| resources told, statuses | {resources}, {statuses} |");
    println!("| resident, World and output | {:.0} MB |", resident());
    let start = cpu();
    for i in 0..GATEWAYS {
        compiler.apply(ack(i, newest_revision(&compiler)));
    }
    let statuses = compiler.refresh().statuses.len();
    println!(
        "| ten proxies connect and ack | {statuses} statuses in {:.0} ms |",
        milliseconds(since(start))
    );
    let start = cpu();
    compiler.rescan();
    compiler.refresh();
    println!("| full pass, nothing changed | {:.0} ms |", milliseconds(since(start)));
    println!();
    edits(&mut compiler);
    println!();
    println!("Resident at the end: {:.0} MB.", resident());
}

fn newest_revision(compiler: &Compiler) -> u64 {
    compiler.scopes().filter_map(|scope| compiler.scope_revision(scope)).max().unwrap_or(0)
}
