//! Whatever the way, the same World ends in the same resources, scopes, statuses and exports; every
//! refresh says exactly what became different; and deleting everything leaves nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test may fail"
)]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use common::{
    GATEWAY_API, address, backend, class, exported, gateway, listener, meta,
    mirror::{Mirror, gateway_closure},
    parameters, parameters_ref, parent, peer, route, rule, secret, service, service_export, settings,
    slice, synced,
};
use isthmus_compiler::{Compiler, Refresh};
use isthmus_east_west::handle::HandleKey;
use isthmus_gateway::definitions;
use isthmus_ir::{Fraction, Key, Kind as IrKind, Name, ObjectRef};
use isthmus_world::{
    Change, Kind, KindState, ObjectKey,
    fact::{
        Address, AllowedNamespaces, BackendRef, BackendTlsPolicy, ExportedService, Fact, GrantFrom,
        GrantTo, GroupKind, HttpFilter, LabelSelector, Listener, ListenerTls, MeshSettings, Meta,
        NameSettings, Namespace, ObjectReference, ParentRef, PeerFact, PeerState, Place, PolicyTarget,
        Problem, ProxyReport, ReferenceGrant, Requirement, SelectorOperator, ServiceScope, TlsMode,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

/// What was applied, boiled down to what is known now.
#[derive(Clone, Default)]
struct Model {
    kinds: BTreeMap<Kind, KindState>,
    facts: BTreeMap<ObjectKey, Fact>,
    problems: BTreeMap<ObjectKey, Problem>,
    settings: Option<MeshSettings>,
    roots: Vec<bytes::Bytes>,
    definitions: Option<BTreeMap<String, Option<String>>>,
    peers: BTreeMap<Arc<str>, KnownPeer>,
    reports: BTreeMap<(Name, Arc<str>), ProxyReport>,
}

#[derive(Clone, Default)]
struct KnownPeer {
    fact: Option<PeerFact>,
    whole: bool,
    exports: BTreeMap<ObjectRef, Arc<ExportedService>>,
}

fn object(service: &Arc<ExportedService>) -> (ObjectRef, Arc<ExportedService>) {
    (ObjectRef::new(&service.namespace, &service.name), Arc::clone(service))
}

impl Model {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Upsert(fact) => {
                self.problems.remove(&fact.key());
                self.facts.insert(fact.key(), fact);
            }
            Change::Delete(key) => {
                self.problems.remove(&key);
                self.facts.remove(&key);
            }
            Change::Problem { key, problem } => {
                self.problems.insert(key, problem);
            }
            Change::Kind { kind, state } => {
                if state == KindState::Absent && self.kinds.get(&kind) != Some(&state) {
                    self.facts.retain(|key, _| key.kind != kind);
                    self.problems.retain(|key, _| key.kind != kind);
                }
                self.kinds.insert(kind, state);
            }
            Change::Settings(settings) => self.settings = Some(settings),
            Change::Roots(roots) => self.roots = roots,
            Change::Definitions(definitions) => self.definitions = Some(definitions),
            Change::Peer(fact) => {
                let cluster = Arc::clone(&fact.cluster);
                self.peers.entry(cluster).or_default().fact = Some(fact);
            }
            Change::PeerGone { cluster } => {
                self.peers.remove(&cluster);
            }
            Change::PeerSnapshot { cluster, services } => {
                let peer = self.peers.entry(cluster).or_default();
                peer.whole = true;
                peer.exports = services.iter().map(object).collect();
            }
            Change::PeerExports { cluster, upserts, removed } => {
                let peer = self.peers.entry(cluster).or_default();
                peer.exports.retain(|object, _| !removed.contains(object));
                peer.exports.extend(upserts.iter().map(object));
            }
            Change::Proxy { scope, proxy, report } => {
                match report {
                    Some(report) => self.reports.insert((scope, proxy), report),
                    None => self.reports.remove(&(scope, proxy)),
                };
            }
        }
    }

    /// A compiler that is told what is known now, and nothing else.
    fn fresh(self) -> Compiler {
        let mut compiler =
            Compiler::new(self.settings.unwrap_or_else(settings), HandleKey::new([7; 32]));
        let mut all = vec![Change::Roots(self.roots)];
        all.extend(self.definitions.map(Change::Definitions));
        all.extend(self.kinds.into_iter().map(|(kind, state)| Change::Kind { kind, state }));
        all.extend(self.facts.into_values().rev().map(Change::Upsert));
        all.extend(self.problems.into_iter().map(|(key, problem)| Change::Problem { key, problem }));
        for (cluster, peer) in self.peers {
            let services: Vec<_> = peer.exports.into_values().collect();
            all.extend(peer.fact.map(Change::Peer));
            all.push(if peer.whole {
                Change::PeerSnapshot { cluster, services }
            } else {
                Change::PeerExports { cluster, upserts: services, removed: Vec::new() }
            });
        }
        for ((scope, proxy), report) in self.reports {
            all.push(Change::Proxy { scope, proxy, report: Some(report) });
        }
        for change in all {
            compiler.apply(change);
        }
        compiler.refresh();
        compiler
    }
}

const NAMESPACES: [&str; 2] = ["a", "b"];
const SERVICES: [(&str, &str); 4] = [("a", "x"), ("a", "y"), ("b", "x"), ("a", "g-isthmus")];
const GATEWAYS: [(&str, &str); 3] = [("a", "g"), ("a", "h"), ("b", "g")];
const ROUTES: [(&str, &str); 4] = [("a", "r"), ("a", "s"), ("b", "r"), ("b", "s")];
const PORTS: [u16; 2] = [80, 81];
const PEERS: [&str; 2] = ["west", "north"];

fn versioned(meta: &mut Meta, (generation, created): (i64, i64)) {
    meta.generation = generation;
    meta.created = created;
}

fn version() -> impl Strategy<Value = (i64, i64)> {
    (1..3_i64, 0..2_i64)
}

fn a_class() -> impl Strategy<Value = Fact> {
    let controller = select(vec!["isthmus.dev/gateway", "isthmus.dev/gateway", "other.dev/c"]);
    (select(vec!["isthmus", "isthmus", "second"]), controller, prop::bool::weighted(0.2))
        .prop_map(|(name, controller, parameters)| class(name, controller, parameters))
}

fn a_listener() -> impl Strategy<Value = Listener> {
    let team =
        Requirement { key: "team".into(), operator: SelectorOperator::In, values: vec!["x".into()] };
    let namespaces = select(vec![
        AllowedNamespaces::All,
        AllowedNamespaces::All,
        AllowedNamespaces::Same,
        AllowedNamespaces::Selector(LabelSelector { requirements: vec![team] }),
    ]);
    let host = select(vec![None, None, Some("x.test"), Some("*.test"), Some("bad_host")]);
    let tls = option::of((select(NAMESPACES.to_vec()), select(vec!["s", "t"])));
    (select(vec!["one", "two"]), select(vec![80, 81]), host, namespaces, tls).prop_map(
        |(name, port, host, namespaces, tls)| {
            let mut made = listener(name, port);
            made.hostname = host.map(Into::into);
            made.allowed.namespaces = namespaces;
            if let Some((namespace, secret)) = tls {
                made.protocol = "HTTPS".into();
                let kind = GroupKind { group: String::new(), kind: "Secret".into() };
                let namespace = Some(namespace.into());
                made.tls = Some(ListenerTls {
                    mode: TlsMode::Terminate,
                    certificates: vec![ObjectReference { kind, namespace, name: secret.into() }],
                    options: BTreeMap::new(),
                });
            }
            made
        },
    )
}

fn a_gateway() -> impl Strategy<Value = Fact> {
    let class = select(vec!["isthmus", "isthmus", "isthmus", "second"]);
    let ip = option::weighted(0.3, select(vec!["127.0.0.2", "nowhere"]));
    let asks = (ip, prop::bool::weighted(0.2));
    (select(GATEWAYS.to_vec()), class, asks, vec(a_listener(), 0..3), version()).prop_map(
        |((namespace, name), class, (ip, parameters), listeners, version)| {
            let mut made = gateway(namespace, name, listeners);
            versioned(&mut made.meta, version);
            made.class = class.into();
            made.addresses = ip.into_iter().map(address).collect();
            made.parameters = parameters.then(|| parameters_ref(None));
            Fact::Gateway(made)
        },
    )
}

fn a_parent() -> impl Strategy<Value = ParentRef> {
    let section = option::weighted(0.3, select(vec!["one", "two", "three"]));
    (select(GATEWAYS.to_vec()), section).prop_map(|((namespace, name), section)| ParentRef {
        section: section.map(Into::into),
        ..parent(namespace, name)
    })
}

fn a_backend() -> impl Strategy<Value = BackendRef> {
    let kind = select(vec!["Service", "Service", "ServiceImport", "Bucket"]);
    (kind, select(SERVICES.to_vec()), select(PORTS.to_vec()))
        .prop_map(|(kind, (namespace, name), port)| backend(kind, namespace, name, port))
}

fn a_route() -> impl Strategy<Value = Fact> {
    let backends = (vec(a_backend(), 0..3), option::weighted(0.2, a_backend()));
    let hosts = vec(select(vec!["x.test", "y.test", "z.other"]), 0..2);
    let unsupported = prop::bool::weighted(0.1);
    let parents = vec(a_parent(), 0..3);
    (select(ROUTES.to_vec()), parents, hosts, vec((backends, unsupported), 0..3), version()).prop_map(
        |((namespace, name), parents, hosts, rules, version)| {
            let rules = rules.into_iter().enumerate().map(|(i, ((backends, mirror), unsupported))| {
                let mut made = rule(&format!("/{i}"), backends);
                made.unsupported.extend(unsupported.then(|| "retry".to_owned()));
                made.filters.extend(mirror.map(|backend| HttpFilter::Mirror {
                    backend,
                    fraction: Fraction { numerator: 1, denominator: 1 },
                }));
                made
            });
            let mut made = route(namespace, name, parents, rules.collect());
            made.hostnames = hosts.into_iter().map(Into::into).collect();
            versioned(&mut made.meta, version);
            Fact::HttpRoute(made)
        },
    )
}

fn a_grant() -> impl Strategy<Value = Fact> {
    let source = select(vec!["HTTPRoute", "Gateway"]);
    let target =
        select(vec![("", "Service"), ("", "Secret"), ("multicluster.x-k8s.io", "ServiceImport")]);
    let names = (select(NAMESPACES.to_vec()), select(NAMESPACES.to_vec()), select(vec!["one", "two"]));
    (names, source, target).prop_map(|((namespace, from, name), source, (group, kind))| {
        let of = |group: &str, kind: &str| GroupKind { group: group.into(), kind: kind.into() };
        Fact::ReferenceGrant(ReferenceGrant {
            meta: meta(namespace, name),
            from: vec![GrantFrom { kind: of(GATEWAY_API, source), namespace: from.into() }],
            to: vec![GrantTo { kind: of(group, kind), name: None }],
        })
    })
}

fn a_target() -> impl Strategy<Value = PolicyTarget> {
    let kind = select(vec![("", "Service"), ("multicluster.x-k8s.io", "ServiceImport")]);
    let section = option::of(select(PORTS.to_vec()));
    (kind, select(vec!["x", "y"]), section).prop_map(|((group, kind), name, section)| PolicyTarget {
        kind: GroupKind { group: group.into(), kind: kind.into() },
        name: name.into(),
        section: section.map(|port| format!("p{port}")),
    })
}

fn a_policy() -> impl Strategy<Value = Fact> {
    (select(NAMESPACES.to_vec()), vec(a_target(), 1..3)).prop_map(|(namespace, targets)| {
        Fact::BackendTlsPolicy(BackendTlsPolicy { meta: meta(namespace, "p"), targets })
    })
}

fn a_namespace() -> impl Strategy<Value = Fact> {
    (select(NAMESPACES.to_vec()), any::<bool>()).prop_map(|(name, team)| {
        let labels = team.then(|| ("team".to_owned(), "x".to_owned())).into_iter().collect();
        Fact::Namespace(Namespace { meta: Meta { labels: Arc::new(labels), ..meta("", name) } })
    })
}

fn a_service() -> impl Strategy<Value = Fact> {
    (select(SERVICES.to_vec()), select(vec![&PORTS[..], &PORTS[..1], &PORTS[1..]]), any::<bool>())
        .prop_map(|((namespace, name), ports, affinity)| {
            let mut made = service(namespace, name, ports);
            made.client_ip_affinity = affinity;
            if affinity {
                made.gateway_addresses = vec![Address::Ip([192, 0, 2, 1].into())];
            }
            Fact::Service(made)
        })
}

fn a_slice() -> impl Strategy<Value = Fact> {
    let names = (select(NAMESPACES.to_vec()), select(vec!["1", "2"]), select(vec!["x", "y"]));
    (names, vec(1..5_u8, 0..3)).prop_map(|((namespace, name, of), last)| {
        Fact::EndpointSlice(slice(namespace, name, of, &PORTS, &last))
    })
}

fn a_fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        2 => a_class(),
        4 => a_gateway(),
        6 => a_route(),
        2 => a_grant(),
        1 => a_policy(),
        1 => a_namespace(),
        1 => select(NAMESPACES.to_vec()).prop_map(parameters),
        3 => a_service(),
        3 => a_slice(),
        1 => (select(NAMESPACES.to_vec()), select(vec!["s", "t"]), any::<bool>())
            .prop_map(|(namespace, name, sound)| secret(namespace, name, sound)),
        2 => select(SERVICES.to_vec()).prop_map(|(namespace, name)| service_export(namespace, name)),
    ]
}

fn a_problem() -> impl Strategy<Value = Change> {
    let key = prop_oneof![
        select(GATEWAYS.to_vec()).prop_map(|(ns, name)| ObjectKey::new(Kind::Gateway, ns, name)),
        select(ROUTES.to_vec()).prop_map(|(ns, name)| ObjectKey::new(Kind::HttpRoute, ns, name)),
        select(NAMESPACES.to_vec()).prop_map(|ns| ObjectKey::new(Kind::BackendTlsPolicy, ns, "p")),
        select(NAMESPACES.to_vec()).prop_map(|ns| ObjectKey::new(Kind::GatewayParameters, ns, "p")),
    ];
    let said = (vec(a_parent(), 0..2), vec(a_target(), 0..2));
    (key, said, 1..4_i64).prop_map(|(key, (parents, targets), generation)| {
        let of = |kind| key.kind == kind;
        let problem = Problem {
            field: Some("spec".into()),
            message: "no".into(),
            generation,
            parents: if of(Kind::HttpRoute) { parents } else { Vec::new() },
            class: of(Kind::Gateway).then(|| "isthmus".into()),
            targets: if of(Kind::BackendTlsPolicy) { targets } else { Vec::new() },
        };
        Change::Problem { key, problem }
    })
}

fn a_peer() -> impl Strategy<Value = Change> {
    let state = select(vec![PeerState::Connected, PeerState::ControlLost, PeerState::DataLost]);
    let domain = select(vec!["west.test", "north.test", "east.test"]);
    (select(PEERS.to_vec()), domain, state, any::<bool>(), 0..2_u8).prop_map(
        |(cluster, domain, state, roots, priority)| {
            let mut made = peer(cluster);
            made.trust_domain = domain.parse().unwrap();
            made.state = state;
            made.priority = priority;
            if !roots {
                made.roots.clear();
            }
            Change::Peer(made)
        },
    )
}

fn some_exports(cluster: &'static str) -> impl Strategy<Value = Vec<Arc<ExportedService>>> {
    let handles = select(vec![&["h1", "h2"][..], &["h1"][..], &[][..]]);
    let one = (select(SERVICES.to_vec()), handles)
        .prop_map(move |((namespace, name), handles)| exported(cluster, namespace, name, handles));
    vec(one, 0..3)
}

fn peer_exports() -> impl Strategy<Value = Change> {
    select(PEERS.to_vec()).prop_flat_map(|cluster| {
        let removed = vec(select(SERVICES.to_vec()), 0..2);
        prop_oneof![
            3 => some_exports(cluster)
                .prop_map(|services| Change::PeerSnapshot { cluster: cluster.into(), services }),
            2 => (some_exports(cluster), removed).prop_map(|(upserts, removed)| Change::PeerExports {
                cluster: cluster.into(),
                upserts,
                removed: removed.into_iter().map(|(ns, name)| ObjectRef::new(ns, name)).collect(),
            }),
            1 => Just(Change::PeerGone { cluster: cluster.into() }),
        ]
    })
}

/// Reports that mean the same whatever the number of refreshes: nothing acked, or everything.
fn a_report() -> impl Strategy<Value = Change> {
    let refused = vec(select(ROUTES.to_vec()), 0..2);
    let report = (any::<bool>(), refused, any::<bool>(), any::<bool>());
    (select(GATEWAYS.to_vec()), select(vec!["p", "q"]), option::weighted(0.8, report)).prop_map(
        |((namespace, name), proxy, report)| {
            let listener = |section: &str| Name::from(format!("{namespace}/{name}/{section}"));
            let report = report.map(|(acked, refused, unbound, joining)| ProxyReport {
                revision: if acked { u64::MAX } else { 0 },
                refused: refused
                    .into_iter()
                    .map(|(ns, r)| {
                        (Key::new(IrKind::Route, format!("HTTPRoute/{ns}/{r}/0")), "no".into())
                    })
                    .collect(),
                unbound: unbound.then(|| (listener("one"), "taken".into())).into_iter().collect(),
                joining,
            });
            let scope = format!("gateway/{namespace}/{name}").into();
            Change::Proxy { scope, proxy: proxy.into(), report }
        },
    )
}

fn some_settings() -> impl Strategy<Value = Change> {
    let ports = option::of(select(vec![20_000..=20_999, 20_000..=20_001]));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, ports).prop_map(|((east_west, clusterset, identity, pods), ports)| {
        let mut made = settings();
        if pods {
            made.place = Place::Pods;
        }
        let address = [127, 0, 0, 1].into();
        made.names = ports.map(|ports| NameSettings { address, ports, reserved: [20_000].into() });
        if !east_west {
            made.east_west.clear();
        }
        if !identity {
            made.gateway_identity = None;
        }
        if clusterset {
            made.service_scope = ServiceScope::ClusterSet;
        }
        Change::Settings(made)
    })
}

fn a_kind() -> impl Strategy<Value = Change> {
    let state = select(vec![
        KindState::Pending,
        KindState::Synced,
        KindState::Synced,
        KindState::Absent,
        KindState::Frozen,
    ]);
    (select(Kind::ALL.to_vec()), state).prop_map(|(kind, state)| Change::Kind { kind, state })
}

fn some_definitions() -> impl Strategy<Value = Change> {
    let version = select(vec![None, Some("v1.7.0".to_owned()), Some("v9.0.0".to_owned())]);
    (subsequence(definitions::names().collect::<Vec<_>>(), 0..=4), version).prop_map(
        |(names, version)| {
            Change::Definitions(names.into_iter().map(|name| (name, version.clone())).collect())
        },
    )
}

fn a_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        30 => a_fact().prop_map(Change::Upsert),
        12 => a_fact().prop_map(|fact| Change::Delete(fact.key())),
        3 => a_problem(),
        2 => a_peer(),
        3 => peer_exports(),
        3 => a_report(),
        1 => some_settings(),
        1 => (0..3_u8).prop_map(|n| Change::Roots((0..n).map(|i| vec![i].into()).collect())),
        1 => some_definitions(),
        1 => a_kind(),
    ]
}

/// A change, and whether everything is refreshed after it.
fn steps() -> impl Strategy<Value = Vec<(Change, bool)>> {
    vec((a_change(), prop::bool::weighted(0.6)), 1..60)
}

/// Something to start from, so that most changes meet something.
fn beginning() -> Vec<Change> {
    let mut all = vec![
        Change::Upsert(class("isthmus", "isthmus.dev/gateway", false)),
        Change::Upsert(Fact::Gateway(gateway("a", "g", vec![listener("one", 80)]))),
        Change::Upsert(Fact::HttpRoute(route(
            "a",
            "r",
            vec![parent("a", "g")],
            vec![rule(
                "/",
                vec![backend("Service", "a", "x", 80), backend("ServiceImport", "a", "x", 80)],
            )],
        ))),
        Change::Upsert(Fact::Service(service("a", "x", &PORTS))),
        Change::Upsert(Fact::EndpointSlice(slice("a", "1", "x", &PORTS, &[1, 2]))),
        Change::Upsert(service_export("a", "x")),
        Change::Peer(peer("west")),
        Change::PeerSnapshot {
            cluster: "west".into(),
            services: vec![exported("west", "a", "x", &["h1"])],
        },
    ];
    all.extend(Kind::ALL.map(|kind| Change::Kind { kind, state: KindState::Synced }));
    all
}

/// Applies every step to a compiler, its model and its mirror, and checks what each refresh says.
fn play(steps: Vec<(Change, bool)>) -> (Compiler, Model, Mirror) {
    let mut compiler = Compiler::new(settings(), HandleKey::new([7; 32]));
    let (mut model, mut mirror) = (Model::default(), Mirror::default());
    let first = beginning().into_iter().map(|change| (change, false));
    for (change, refresh) in first.chain(steps) {
        model.apply(change.clone());
        compiler.apply(change);
        if refresh {
            step(&mut compiler, &mut mirror);
        }
    }
    for kind in Kind::ALL {
        if compiler.world().kind_state(kind) == KindState::Pending {
            let change = Change::Kind { kind, state: KindState::Synced };
            model.apply(change.clone());
            compiler.apply(change);
        }
    }
    step(&mut compiler, &mut mirror);
    (compiler, model, mirror)
}

fn step(compiler: &mut Compiler, mirror: &mut Mirror) {
    let before = mirror.clone();
    mirror.follow(compiler.refresh());
    if !compiler.world().complete() {
        assert_eq!(*mirror, before, "something was published while a kind was pending");
        return;
    }
    assert_eq!(mirror.difference(&Mirror::of(compiler)), "", "what was said is not what is");
    assert_eq!(compiler.faults(), []);
    compiler.rescan();
    let again = compiler.refresh();
    let idle = Refresh { revision: again.revision, ..Refresh::default() };
    assert_eq!(again, idle, "a change was not marked as it should be");
    for (namespace, name) in GATEWAYS {
        let gateway = ObjectRef::new(namespace, name);
        if let Some(scope) = mirror.scopes.get(&Name::from(format!("gateway/{gateway}"))) {
            assert_eq!(*scope, gateway_closure(compiler, &gateway), "{gateway} holds something else");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_way_ends_where_a_fresh_compiler_begins(steps in steps()) {
        let (_, model, mirror) = play(steps);
        prop_assert_eq!(mirror.difference(&Mirror::of(&model.fresh())), "");
    }

    #[test]
    fn f8_deleting_everything_leaves_nothing(steps in steps()) {
        let (mut compiler, model, mut mirror) = play(steps);
        let keys: BTreeSet<ObjectKey> = model.facts.keys().chain(model.problems.keys()).cloned().collect();
        let mut gone: Vec<Change> = keys.into_iter().map(Change::Delete).collect();
        gone.extend(model.peers.into_keys().map(|cluster| Change::PeerGone { cluster }));
        for (scope, proxy) in model.reports.into_keys() {
            gone.push(Change::Proxy { scope, proxy, report: None });
        }
        gone.push(Change::Settings(settings()));
        gone.push(Change::Roots(Vec::new()));
        for change in gone {
            compiler.apply(change);
        }
        step(&mut compiler, &mut mirror);
        let mut empty = synced(settings());
        empty.refresh();
        prop_assert_eq!(mirror.difference(&Mirror::of(&empty)), "");
        prop_assert_eq!(compiler.census(), empty.census());
    }
}
