//! What is published, and when: nothing half-known, one resource for one endpoint, and nothing of a
//! change to another Gateway.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use std::sync::Arc;

use common::{
    backend, class, exported, gateway, listener, mirror::Mirror, parent, peer, route, rule, secret,
    service, service_export, settings, slice, synced,
};
use expect_test::expect;
use isthmus_compiler::{Compiler, ExportChange, ImportChange, Refresh};
use isthmus_east_west::handle::HandleKey;
use isthmus_ir::{Change as Edit, Key, Kind as IrKind, Name, ObjectRef, Reach, Resource};
use isthmus_world::{
    Change, Kind, KindState, ObjectKey,
    fact::{
        AllowedNamespaces, BackendTlsPolicy, Fact, GrantFrom, GrantTo, GroupKind, HttpRoute,
        LabelSelector, ListenerTls, MeshSettings, NameSettings, Namespace, ObjectReference,
        PolicyTarget, Problem, ReferenceGrant, Requirement, SelectorOperator, ServiceScope, TlsMode,
    },
};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// A Gateway `a/g` whose route `a/r` leads to Service `a/x`, port 80.
fn shop() -> Vec<Change> {
    vec![
        Change::Upsert(class("isthmus", "isthmus.dev/gateway", false)),
        Change::Upsert(Fact::Gateway(gateway("a", "g", vec![listener("one", 80)]))),
        Change::Upsert(Fact::HttpRoute(to_service("a", "r", "a", "x"))),
        Change::Upsert(Fact::Service(service("a", "x", &[80]))),
        Change::Upsert(Fact::EndpointSlice(slice("a", "x-1", "x", &[80], &[1, 2]))),
    ]
}

fn to_service(namespace: &str, name: &str, of: &str, target: &str) -> HttpRoute {
    let backends = vec![backend("Service", of, target, 80)];
    route(namespace, name, vec![parent("a", "g")], vec![rule("/", backends)])
}

fn started(changes: Vec<Change>) -> Compiler {
    let mut compiler = synced(settings());
    for change in changes {
        compiler.apply(change);
    }
    compiler.refresh();
    compiler
}

fn show(Key { kind, name }: &Key) -> String {
    format!("{}:{name}", kind.as_str())
}

fn keys(edits: &[Edit]) -> Vec<String> {
    let show = |edit: &Edit| {
        let sign = if matches!(edit, Edit::Upsert(_)) { '+' } else { '-' };
        format!("{sign}{}", show(&edit.key()))
    };
    edits.iter().map(show).collect()
}

/// Edits of the scope of Gateway `a/g`; nothing may have happened to any other scope.
fn edits(refresh: &Refresh) -> Vec<String> {
    let scope = Name::from("gateway/a/g");
    assert!(refresh.scopes.keys().all(|name| *name == scope), "{:?}", refresh.scopes.keys());
    refresh.scopes.get(&scope).map(|edits| keys(edits)).unwrap_or_default()
}

fn resource(compiler: &Compiler, kind: IrKind, name: &str) -> Option<Resource> {
    compiler.resources().find(|r| r.key() == Key::new(kind, name)).cloned()
}

fn status(compiler: &Compiler, kind: Kind, namespace: &str, name: &str) -> serde_json::Value {
    let object = ObjectRef::new(namespace, name);
    let mut all = compiler.statuses().filter(|s| s.kind == kind && s.object == object);
    all.next().and_then(|s| s.status).unwrap_or_default()
}

/// `type=status/reason` of each condition.
fn conditions(conditions: &serde_json::Value) -> Vec<String> {
    let text = |c: &serde_json::Value, field: &str| c[field].as_str().unwrap_or("?").to_owned();
    let all = conditions.as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|c| format!("{}={}/{}", text(c, "type"), text(c, "status"), text(c, "reason")))
        .collect()
}

#[test]
fn e3_nothing_is_published_before_every_kind_is_known() {
    let mut compiler = Compiler::new(settings(), HandleKey::new([7; 32]));
    for change in shop() {
        compiler.apply(change);
    }
    for kind in Kind::ALL {
        assert_eq!(compiler.refresh(), Refresh::default(), "before {kind:?} is known");
        let state = if kind == Kind::ServiceExport { KindState::Absent } else { KindState::Synced };
        compiler.apply(Change::Kind { kind, state });
    }
    let refresh = compiler.refresh();
    assert_eq!(refresh.opened, [Name::from("east-west"), "gateway/a/g".into()]);
    assert!(!refresh.statuses.is_empty());
}

#[test]
fn e3_a_kind_that_is_read_again_holds_everything_back() {
    let mut compiler = started(shop());
    compiler.apply(Change::Kind { kind: Kind::Service, state: KindState::Pending });
    compiler.apply(Change::Delete(ObjectKey::new(Kind::Service, "a", "x")));
    let revision = compiler.refresh().revision;
    assert_eq!(compiler.refresh(), Refresh { revision, ..Refresh::default() });
    for change in shop() {
        compiler.apply(change);
    }
    compiler.apply(Change::Kind { kind: Kind::Service, state: KindState::Synced });
    assert_eq!(
        compiler.refresh(),
        Refresh { revision, ..Refresh::default() },
        "it was there all the time"
    );
}

#[test]
fn a_frozen_kind_keeps_its_facts_and_an_absent_one_has_none() {
    let mut compiler = started(shop());
    compiler.apply(Change::Kind { kind: Kind::EndpointSlice, state: KindState::Frozen });
    assert_eq!(edits(&compiler.refresh()), Vec::<String>::new());
    compiler.apply(Change::Kind { kind: Kind::HttpRoute, state: KindState::Absent });
    let gone = ["-Route:HTTPRoute/a/r/0", "-Service:cluster/a/x/80", "-Endpoints:cluster/a/x/80"];
    assert_eq!(edits(&compiler.refresh()), gone);
}

#[test]
fn f18_kinds_that_may_not_be_read_any_more_are_named_on_the_class() {
    let mut compiler = started(shop());
    let class = |compiler: &Compiler| status(compiler, Kind::GatewayClass, "", "isthmus");
    let before = class(&compiler);
    for kind in [Kind::HttpRoute, Kind::Service] {
        compiler.apply(Change::Kind { kind, state: KindState::Frozen });
    }
    let told = compiler.refresh().statuses;
    assert!(matches!(told.as_slice(), [one] if one.kind == Kind::GatewayClass), "{told:?}");
    let degraded = class(&compiler);
    let degraded = degraded["conditions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&degraded["type"], &degraded["status"]),
        (&"isthmus.dev/Degraded".into(), &"True".into())
    );
    assert!(degraded["message"].as_str().unwrap().contains("HTTPRoute, Service:"));
    for kind in [Kind::HttpRoute, Kind::Service] {
        compiler.apply(Change::Kind { kind, state: KindState::Synced });
    }
    compiler.refresh();
    assert_eq!(class(&compiler), before);
}

#[test]
fn e6_one_endpoint_is_one_resource_and_no_status() {
    let mut compiler = started(shop());
    let before = compiler.refresh().revision;
    compiler.apply(Change::Upsert(Fact::EndpointSlice(slice("a", "x-1", "x", &[80], &[1, 3]))));
    let refresh = compiler.refresh();
    assert_eq!(edits(&refresh), ["+Endpoints:cluster/a/x/80"]);
    assert_eq!((refresh.statuses.len(), refresh.revision), (0, before + 1));
}

#[test]
fn e6_an_endpoint_of_a_service_that_nobody_asks_for_is_nothing() {
    let mut compiler = started(shop());
    let revision = compiler.refresh().revision;
    compiler.apply(Change::Upsert(Fact::Service(service("a", "unused", &[80]))));
    compiler.apply(Change::Upsert(Fact::EndpointSlice(slice("a", "u-1", "unused", &[80], &[9]))));
    assert_eq!(compiler.refresh(), Refresh { revision, ..Refresh::default() });
}

#[test]
fn one_rule_of_a_route_is_one_resource() {
    let mut of_two = to_service("a", "r", "a", "x");
    of_two.rules.push(rule("/two", vec![backend("Service", "a", "x", 80)]));
    let mut changes = shop();
    changes.push(Change::Upsert(Fact::HttpRoute(of_two.clone())));
    let mut compiler = started(changes);
    of_two.meta.generation = 2;
    of_two.rules[1] = rule("/second", vec![backend("Service", "a", "x", 80)]);
    compiler.apply(Change::Upsert(Fact::HttpRoute(of_two)));
    assert_eq!(edits(&compiler.refresh()), ["+Route:HTTPRoute/a/r/1"]);
}

#[test]
fn a_scope_sees_nothing_of_a_routes_other_gateways() {
    let mut changes = shop();
    changes.push(Change::Upsert(Fact::Gateway(gateway("b", "h", vec![listener("two", 8080)]))));
    let mut compiler = started(changes);
    let mut of_both = to_service("a", "r", "a", "x");
    of_both.parents.push(parent("b", "h"));
    compiler.apply(Change::Upsert(Fact::HttpRoute(of_both)));
    let refresh = compiler.refresh();
    assert_eq!(refresh.scopes.keys().map(Name::as_str).collect::<Vec<_>>(), ["gateway/b/h"]);
    let listeners = |scope: &str| -> Vec<String> {
        let all = compiler.snapshot(&scope.into()).unwrap();
        let attachments = all.into_iter().filter_map(|resource| match resource {
            Resource::Route(route) => Some(route.attachments.clone()),
            _ => None,
        });
        attachments.flatten().map(|a| a.listener.to_string()).collect()
    };
    assert_eq!(listeners("gateway/a/g"), ["a/g/one"]);
    assert_eq!(listeners("gateway/b/h"), ["b/h/two"]);
}

#[test]
fn a_scope_closes_with_its_gateway() {
    let mut compiler = started(shop());
    compiler.apply(Change::Delete(ObjectKey::new(Kind::Gateway, "a", "g")));
    let refresh = compiler.refresh();
    assert_eq!(refresh.closed, [Name::from("gateway/a/g")]);
    assert!(refresh.scopes.is_empty());
    let gone: Vec<_> = refresh.statuses.iter().map(|s| (s.kind, s.status.is_none())).collect();
    assert_eq!(gone, [(Kind::Gateway, true), (Kind::HttpRoute, true)]);
    for change in shop() {
        compiler.apply(change);
    }
    let refresh = compiler.refresh();
    assert_eq!(refresh.opened, [Name::from("gateway/a/g")]);
    assert_eq!(edits(&refresh).len(), 4);
}

fn grant(from: &str, target: &str) -> ReferenceGrant {
    let kind = |group: &str, kind: &str| GroupKind { group: group.into(), kind: kind.into() };
    ReferenceGrant {
        meta: common::meta("b", "grant"),
        from: vec![GrantFrom { kind: kind(GATEWAY_API, from), namespace: "a".into() }],
        to: vec![GrantTo { kind: kind("", target), name: None }],
    }
}

#[test]
fn g1_a_grant_that_is_revoked_takes_effect_at_once() {
    let mut changes = shop();
    changes.push(Change::Upsert(Fact::Service(service("b", "x", &[80]))));
    changes.push(Change::Upsert(Fact::HttpRoute(to_service("a", "r", "b", "x"))));
    changes.push(Change::Upsert(Fact::ReferenceGrant(grant("HTTPRoute", "Service"))));
    let mut compiler = started(changes);
    assert!(resource(&compiler, IrKind::Service, "cluster/b/x/80").is_some());
    compiler.apply(Change::Delete(ObjectKey::new(Kind::ReferenceGrant, "b", "grant")));
    let gone = ["+Route:HTTPRoute/a/r/0", "-Service:cluster/b/x/80", "-Endpoints:cluster/b/x/80"];
    assert_eq!(edits(&compiler.refresh()), gone);
    let route = status(&compiler, Kind::HttpRoute, "a", "r");
    let said = conditions(&route["parents"][0]["conditions"]);
    assert!(said.contains(&"ResolvedRefs=False/RefNotPermitted".to_owned()), "{said:?}");
}

#[test]
fn g1_a_certificate_is_withdrawn_with_its_grant() {
    let mut tls = listener("tls", 443);
    tls.protocol = "HTTPS".into();
    let kind = GroupKind { group: String::new(), kind: "Secret".into() };
    let certificate = ObjectReference { kind, namespace: Some("b".into()), name: "s".into() };
    tls.tls = Some(ListenerTls {
        mode: TlsMode::Terminate,
        certificates: vec![certificate],
        options: std::collections::BTreeMap::new(),
    });
    let mut changes = shop();
    changes.push(Change::Upsert(Fact::Gateway(gateway("a", "g", vec![listener("one", 80), tls]))));
    changes.push(Change::Upsert(secret("b", "s", true)));
    let mut compiler = started(changes);
    let held = |compiler: &Compiler| {
        let all = compiler.snapshot(&"gateway/a/g".into()).unwrap();
        all.iter().any(|r| matches!(r, Resource::Certificate(_)))
    };
    assert!(!held(&compiler));
    compiler.apply(Change::Upsert(Fact::ReferenceGrant(grant("Gateway", "Secret"))));
    compiler.refresh();
    assert!(held(&compiler));
    compiler.apply(Change::Delete(ObjectKey::new(Kind::ReferenceGrant, "b", "grant")));
    let gone: Vec<_> =
        edits(&compiler.refresh()).into_iter().filter(|edit| edit.starts_with('-')).collect();
    assert_eq!(gone, ["-Listener:a/g/tls", "-Certificate:b/s"]);
    assert!(!held(&compiler));
}

#[test]
fn g13_a_policy_counts_for_as_long_as_it_is_there_valid_or_not() {
    let about = |name: &str| PolicyTarget {
        kind: GroupKind { group: String::new(), kind: "Service".into() },
        name: name.into(),
        section: None,
    };
    let policy = |name: &str| {
        let targets = vec![about(name)];
        Change::Upsert(Fact::BackendTlsPolicy(BackendTlsPolicy {
            meta: common::meta("a", "p"),
            targets,
        }))
    };
    let refused = |name: &str| Change::Problem {
        key: ObjectKey::new(Kind::BackendTlsPolicy, "a", "p"),
        problem: Problem { message: "no".into(), targets: vec![about(name)], ..Problem::default() },
    };
    let mut compiler = started(shop());
    let served = |compiler: &mut Compiler, change: Change| {
        compiler.apply(change);
        compiler.refresh();
        resource(compiler, IrKind::Service, "cluster/a/x/80").is_some()
    };
    assert!(!served(&mut compiler, policy("x")));
    let route = status(&compiler, Kind::HttpRoute, "a", "r");
    let said = conditions(&route["parents"][0]["conditions"]);
    assert!(said.contains(&"ResolvedRefs=False/UnsupportedProtocol".to_owned()), "{said:?}");
    assert!(route.to_string().contains("BackendTLSPolicy a/p"), "{route}");
    assert!(served(&mut compiler, policy("y")), "it is about something else");
    assert!(!served(&mut compiler, refused("x")), "it is invalid, and says so much");
    assert!(served(&mut compiler, policy("y")));
    assert!(!served(&mut compiler, policy("x")));
    assert!(!served(&mut compiler, refused("y")), "its last good version is in force");
    assert!(served(&mut compiler, Change::Delete(ObjectKey::new(Kind::BackendTlsPolicy, "a", "p"))));
}

#[test]
fn g9_a_namespace_that_loses_its_label_is_detached_at_once() {
    let mut picky = listener("one", 80);
    let team =
        Requirement { key: "team".into(), operator: SelectorOperator::In, values: vec!["x".into()] };
    picky.allowed.namespaces = AllowedNamespaces::Selector(LabelSelector { requirements: vec![team] });
    let namespace = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut meta = common::meta("", "a");
        meta.labels = std::sync::Arc::new(labels);
        Change::Upsert(Fact::Namespace(Namespace { meta }))
    };
    let mut changes = shop();
    changes.push(Change::Upsert(Fact::Gateway(gateway("a", "g", vec![picky]))));
    changes.push(namespace(&[("team", "x")]));
    let mut compiler = started(changes);
    assert!(resource(&compiler, IrKind::Route, "HTTPRoute/a/r/0").is_some());
    compiler.apply(namespace(&[]));
    let gone = ["-Route:HTTPRoute/a/r/0", "-Service:cluster/a/x/80", "-Endpoints:cluster/a/x/80"];
    assert_eq!(edits(&compiler.refresh()), gone);
    let listener = &status(&compiler, Kind::Gateway, "a", "g")["listeners"][0];
    assert_eq!(listener["attachedRoutes"], 0);
}

fn problem(key: ObjectKey, generation: i64) -> Change {
    let gateway = key.kind == Kind::Gateway;
    let problem = Problem {
        field: Some("spec.rules[0]".into()),
        message: "no".into(),
        generation,
        parents: if gateway { Vec::new() } else { vec![parent("a", "g")] },
        class: gateway.then(|| "isthmus".into()),
        targets: Vec::new(),
    };
    Change::Problem { key, problem }
}

#[test]
fn f1_a_version_that_cannot_be_read_leaves_the_last_good_one_in_force() {
    let mut compiler = started(shop());
    compiler.apply(problem(ObjectKey::new(Kind::HttpRoute, "a", "r"), 2));
    let refresh = compiler.refresh();
    assert!(refresh.scopes.is_empty());
    let changed: Vec<_> = refresh.statuses.iter().map(|s| s.kind).collect();
    assert_eq!(changed, [Kind::HttpRoute]);
    let said = status(&compiler, Kind::HttpRoute, "a", "r").to_string();
    assert!(said.contains("Fall Back to generation 1") && said.contains("spec.rules[0]: no"), "{said}");
    for change in shop() {
        compiler.apply(change);
    }
    compiler.refresh();
    assert!(!status(&compiler, Kind::HttpRoute, "a", "r").to_string().contains("Fall Back"));
}

#[test]
fn f1_an_object_that_was_never_readable_says_so_in_its_status() {
    let mut compiler = started(shop());
    compiler.apply(problem(ObjectKey::new(Kind::HttpRoute, "a", "new"), 1));
    compiler.apply(problem(ObjectKey::new(Kind::Gateway, "a", "new"), 1));
    assert!(compiler.refresh().scopes.is_empty());
    let route = status(&compiler, Kind::HttpRoute, "a", "new");
    let said = conditions(&route["parents"][0]["conditions"]);
    assert_eq!(said, ["Accepted=False/UnsupportedValue", "isthmus.dev/Programmed=False/Invalid"]);
    let gateway = status(&compiler, Kind::Gateway, "a", "new");
    let said = conditions(&gateway["conditions"]);
    assert_eq!(said, ["Accepted=False/Invalid", "Programmed=False/Invalid"]);
}

/// A route to the ServiceImport `a/x`, and a peer that exports it.
fn imported() -> Vec<Change> {
    let backends = vec![backend("ServiceImport", "a", "x", 80)];
    let mut changes = shop();
    let route = route("a", "r", vec![parent("a", "g")], vec![rule("/", backends)]);
    changes.push(Change::Upsert(Fact::HttpRoute(route)));
    changes.push(Change::Peer(peer("west")));
    changes
}

fn endpoints(compiler: &Compiler, name: &str) -> Vec<String> {
    let Some(Resource::Endpoints(set)) = resource(compiler, IrKind::Endpoints, name) else {
        return Vec::new();
    };
    set.endpoints.iter().map(|e| e.id.to_string()).collect()
}

#[test]
fn nothing_of_a_peer_is_used_before_its_first_whole_snapshot() {
    let mut compiler = started(imported());
    let west = || "west".into();
    let upserts = vec![exported("west", "a", "x", &["h1"])];
    compiler.apply(Change::PeerExports { cluster: west(), upserts, removed: Vec::new() });
    let refresh = compiler.refresh();
    assert!(refresh.scopes.is_empty() && refresh.imports.is_empty());
    let services = vec![exported("west", "a", "x", &["h1", "h2"])];
    compiler.apply(Change::PeerSnapshot { cluster: west(), services });
    let refresh = compiler.refresh();
    assert!(matches!(&refresh.imports[..], [ImportChange::Upsert(_)]));
    assert_eq!(endpoints(&compiler, "clusterset/a/x/80"), ["west/h1", "west/h2"]);
    let scope = compiler.snapshot(&"gateway/a/g".into()).unwrap();
    let kinds: Vec<_> = scope.iter().map(|r| r.key().kind).collect();
    assert!(kinds.contains(&IrKind::Peer) && kinds.contains(&IrKind::TrustBundle), "{kinds:?}");
    compiler.apply(Change::PeerGone { cluster: west() });
    let refresh = compiler.refresh();
    assert!(matches!(&refresh.imports[..], [ImportChange::Remove(_)]));
    assert_eq!(endpoints(&compiler, "clusterset/a/x/80"), Vec::<String>::new());
}

#[test]
fn an_export_that_names_another_cluster_is_ignored() {
    let mut compiler = started(imported());
    let services = vec![exported("north", "a", "x", &["h1"])];
    compiler.apply(Change::PeerSnapshot { cluster: "west".into(), services });
    assert!(compiler.refresh().imports.is_empty());
}

#[test]
fn an_export_has_handles_for_the_east_west_gateway_alone() {
    let mut compiler = started(shop());
    compiler.apply(Change::Peer(peer("west")));
    compiler.apply(Change::Upsert(service_export("a", "x")));
    let refresh = compiler.refresh();
    let [ExportChange::Upsert(exported)] = &refresh.exports[..] else { panic!("{:?}", refresh.exports) };
    let handles: Vec<_> = exported.ports[0].endpoints.iter().map(|e| e.handle.to_string()).collect();
    let edits = keys(&refresh.scopes[&"east-west".into()]);
    for handle in &handles {
        assert!(edits.contains(&format!("+Handle:{handle}")), "{edits:?}");
    }
    assert!(edits.contains(&"+Endpoints:cluster/a/x/80".to_owned()));
    let at_the_edge = keys(&refresh.scopes[&"gateway/a/g".into()]);
    assert_eq!(at_the_edge, ["+TrustBundle:west.test"]);
    let export = status(&compiler, Kind::ServiceExport, "a", "x");
    let said = conditions(&export["conditions"]);
    assert_eq!(said, ["Valid=True/Valid", "Ready=True/Ready", "Conflict=False/NoConflicts"]);
    compiler.apply(Change::Delete(ObjectKey::new(Kind::ServiceExport, "a", "x")));
    let refresh = compiler.refresh();
    assert_eq!(refresh.exports, [ExportChange::Remove(ObjectRef::new("a", "x"))]);
}

#[test]
fn the_service_scope_decides_whether_a_service_spans_the_clusters() {
    let mut changes = shop();
    changes.push(Change::Peer(peer("west")));
    let services = vec![exported("west", "a", "x", &["h1"])];
    changes.push(Change::PeerSnapshot { cluster: "west".into(), services });
    let mut compiler = started(changes);
    assert_eq!(endpoints(&compiler, "cluster/a/x/80"), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let mut settings = settings();
    settings.service_scope = ServiceScope::ClusterSet;
    compiler.apply(Change::Settings(settings));
    compiler.refresh();
    assert_eq!(endpoints(&compiler, "cluster/a/x/80"), Vec::<String>::new());
    let all = ["10.0.0.1:8080", "10.0.0.2:8080", "west/h1"];
    assert_eq!(
        endpoints(&compiler, "clusterset/a/x/80"),
        all,
        "not exported here, and used all the same"
    );
    let Some(Resource::Endpoints(set)) = resource(&compiler, IrKind::Endpoints, "clusterset/a/x/80")
    else {
        panic!("no endpoints")
    };
    for endpoint in &set.endpoints {
        let local = matches!(endpoint.reach, Reach::Direct { .. });
        assert_eq!(endpoint.priority == 0, local, "{endpoint:?}");
    }
}

#[test]
fn roots_of_the_own_trust_domain_go_to_every_scope() {
    let mut compiler = started(shop());
    compiler.apply(Change::Roots(vec![vec![1].into()]));
    let refresh = compiler.refresh();
    let told: Vec<_> = refresh.scopes.iter().map(|(name, edits)| (name.as_str(), keys(edits))).collect();
    let bundle = vec!["+TrustBundle:east.test".to_owned()];
    assert_eq!(told, [("east-west", bundle.clone()), ("gateway/a/g", bundle)]);
}

#[test]
fn a_gateway_of_another_controller_is_nothing_to_us() {
    let mut changes = shop();
    changes[0] = Change::Upsert(class("isthmus", "other.dev/controller", false));
    let compiler = started(changes);
    assert_eq!(compiler.scopes().map(Name::as_str).collect::<Vec<_>>(), ["east-west"]);
    assert_eq!(compiler.statuses().count(), 0);
    assert_eq!(Mirror::of(&compiler).scopes.len(), 1);
}

#[test]
fn what_is_imported_is_reached_by_name_through_the_east_west_gateway() {
    let ports = 20_000..=20_999;
    let names = Some(NameSettings { address: [127, 0, 0, 1].into(), ports, reserved: [].into() });
    let settings = MeshSettings { names, east_west: Vec::new(), gateway_identity: None, ..settings() };
    let mut compiler = synced(settings);
    compiler.apply(Change::Peer(peer("west")));
    let services = vec![exported("west", "a", "x", &["h1"])];
    compiler.apply(Change::PeerSnapshot { cluster: "west".into(), services });
    let refresh = compiler.refresh();
    assert_eq!(refresh.names, Some(compiler.names()));
    let scope = Name::from("east-west");
    let held: Vec<_> = compiler.snapshot(&scope).unwrap().iter().map(|r| show(&r.key())).collect();
    expect![[r#"
        [
            "Listener:isthmus-system/east-west/names/a/x/80",
            "Route:ServiceImport/a/x/80",
            "Service:clusterset/a/x/80",
            "Endpoints:clusterset/a/x/80",
            "Peer:west",
            "TrustBundle:west.test",
        ]
    "#]]
    .assert_debug_eq(&held);
    // Endpoints come and go without anything else.
    let services = vec![exported("west", "a", "x", &["h1", "h2"])];
    compiler.apply(Change::PeerSnapshot { cluster: "west".into(), services });
    let refresh = compiler.refresh();
    assert_eq!(refresh.names, None);
    assert_eq!(keys(&refresh.scopes[&scope]), ["+Endpoints:clusterset/a/x/80"]);
    // With the last export the name goes.
    compiler.apply(Change::PeerSnapshot { cluster: "west".into(), services: Vec::new() });
    assert_eq!(compiler.refresh().names, Some(Arc::default()));
}

#[test]
fn h2_h3_what_is_not_believed_is_told_once() {
    let mut compiler = synced(settings());
    let mut west = peer("west");
    west.namespaces = Some(Arc::new(["b".to_owned()].into()));
    west.gateways = vec!["169.254.169.254:80".parse().unwrap()];
    compiler.apply(Change::Peer(west));
    let services = vec![exported("west", "a", "x", &["h1"])];
    compiler.apply(Change::PeerSnapshot { cluster: "west".into(), services });
    expect![[r#"
        [
            "peer west: gateway address 169.254.169.254:80 is refused: cloud metadata services are there",
            "peer west, service a/x: the import rules of this cluster do not accept namespace \"a\" from it",
        ]
    "#]]
    .assert_debug_eq(&compiler.refresh().refused);
    compiler.apply(Change::Peer(peer("north")));
    assert_eq!(compiler.refresh().refused, [""; 0]);
}
