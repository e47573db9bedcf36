//! Programmed means acked: by every connected proxy, at the generation that the status is about.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::{backend, class, gateway, listener, parent, route, rule, service, settings, synced};
use isthmus_compiler::Compiler;
use isthmus_ir::{Key, Kind as IrKind, ObjectRef};
use isthmus_world::{
    Change, Kind, ObjectKey,
    fact::{Fact, HttpRoute, ProxyReport},
};

const SCOPE: &str = "gateway/a/g";

fn to_x(path: &str) -> HttpRoute {
    route("a", "r", vec![parent("a", "g")], vec![rule(path, vec![backend("Service", "a", "x", 80)])])
}

fn started() -> Compiler {
    let mut compiler = synced(settings());
    compiler.apply(Change::Upsert(class("isthmus", "isthmus.dev/gateway", false)));
    compiler.apply(Change::Upsert(Fact::Gateway(gateway("a", "g", vec![listener("one", 80)]))));
    compiler.apply(Change::Upsert(Fact::Service(service("a", "x", &[80]))));
    compiler.apply(Change::Upsert(Fact::HttpRoute(to_x("/"))));
    compiler.refresh();
    compiler
}

fn report(revision: u64) -> ProxyReport {
    ProxyReport { revision, ..ProxyReport::default() }
}

fn says(compiler: &mut Compiler, proxy: &str, report: Option<ProxyReport>) {
    compiler.apply(Change::Proxy { scope: SCOPE.into(), proxy: proxy.into(), report });
    compiler.refresh();
}

fn edit(compiler: &mut Compiler, mut route: HttpRoute, generation: i64) -> u64 {
    route.meta.generation = generation;
    compiler.apply(Change::Upsert(Fact::HttpRoute(route)));
    compiler.refresh().revision
}

/// `Programmed` of the Gateway and of the route, as `status/reason: message`.
fn programmed(compiler: &Compiler) -> (String, String) {
    let status = |kind, name: &str| {
        let object = ObjectRef::new("a", name);
        let mut all = compiler.statuses().filter(|s| s.kind == kind && s.object == object);
        all.next().and_then(|s| s.status).unwrap()
    };
    let condition = |conditions: &serde_json::Value, kind: &str| {
        let all = conditions.as_array().unwrap();
        let found = all.iter().find(|c| c["type"] == kind).unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        format!("{}/{}: {}", text("status"), text("reason"), text("message"))
    };
    let gateway = status(Kind::Gateway, "g");
    let route = status(Kind::HttpRoute, "r");
    (
        condition(&gateway["conditions"], "Programmed"),
        condition(&route["parents"][0]["conditions"], "isthmus.dev/Programmed"),
    )
}

const YES: &str = "True/Programmed: every connected proxy serves it";
const NOBODY: &str = "False/Pending: no proxy is connected";

fn waiting(proxies: &str) -> String {
    format!("False/Pending: waiting for proxy {proxies}")
}

#[test]
fn without_a_proxy_nothing_is_programmed() {
    let mut compiler = started();
    assert_eq!(programmed(&compiler), (NOBODY.into(), NOBODY.into()));
    says(&mut compiler, "p", Some(report(1)));
    assert_eq!(programmed(&compiler), (YES.into(), YES.into()));
    says(&mut compiler, "p", None);
    assert_eq!(programmed(&compiler), (NOBODY.into(), NOBODY.into()));
}

#[test]
fn a_new_generation_waits_for_every_proxy() {
    let mut compiler = started();
    says(&mut compiler, "p", Some(report(1)));
    says(&mut compiler, "q", Some(report(1)));
    let revision = edit(&mut compiler, to_x("/new"), 2);
    assert_eq!(programmed(&compiler), (YES.into(), waiting("p, q")), "the Gateway did not change");
    says(&mut compiler, "p", Some(report(revision)));
    assert_eq!(programmed(&compiler).1, waiting("q"));
    says(&mut compiler, "q", Some(report(revision)));
    assert_eq!(programmed(&compiler).1, YES);
}

#[test]
fn a_proxy_that_joins_is_not_waited_for_while_others_have_acked() {
    let joining = || Some(ProxyReport { joining: true, ..report(0) });
    let mut compiler = started();
    says(&mut compiler, "new", joining());
    assert_eq!(programmed(&compiler), (waiting("new"), waiting("new")), "nobody else has acked");
    says(&mut compiler, "p", Some(report(1)));
    assert_eq!(programmed(&compiler), (YES.into(), YES.into()));
    let revision = edit(&mut compiler, to_x("/new"), 2);
    assert_eq!(programmed(&compiler), (YES.into(), waiting("new, p")), "nobody has acked this");
    says(&mut compiler, "p", Some(report(revision)));
    assert_eq!(programmed(&compiler).1, YES);
    says(&mut compiler, "new", Some(report(0)));
    assert_eq!(programmed(&compiler), (waiting("new"), waiting("new")), "it takes too long");
    says(&mut compiler, "new", Some(report(revision)));
    assert_eq!(programmed(&compiler), (YES.into(), YES.into()));
}

#[test]
fn a_generation_that_changes_nothing_waits_for_nobody() {
    let mut compiler = started();
    says(&mut compiler, "p", Some(report(1)));
    assert_eq!(edit(&mut compiler, to_x("/"), 2), 1, "no scope changed");
    assert_eq!(programmed(&compiler).1, YES);
}

#[test]
fn another_gateways_refreshes_are_not_waited_for() {
    let mut compiler = started();
    says(&mut compiler, "p", Some(report(1)));
    compiler.apply(Change::Upsert(Fact::Gateway(gateway("b", "h", vec![listener("one", 81)]))));
    assert_eq!(compiler.refresh().revision, 2);
    assert_eq!(edit(&mut compiler, to_x("/"), 2), 2);
    assert_eq!(programmed(&compiler), (YES.into(), YES.into()), "this scope is still at revision 1");
}

#[test]
fn a_route_that_comes_back_waits_again() {
    let mut compiler = started();
    says(&mut compiler, "p", Some(report(1)));
    compiler.apply(Change::Delete(ObjectKey::new(Kind::HttpRoute, "a", "r")));
    compiler.refresh();
    let revision = edit(&mut compiler, to_x("/"), 1);
    assert_eq!(programmed(&compiler).1, waiting("p"));
    says(&mut compiler, "p", Some(report(revision)));
    assert_eq!(programmed(&compiler).1, YES);
}

#[test]
fn e1_a_refusal_is_told_with_its_reason_on_the_object_that_it_is_about() {
    let mut compiler = started();
    let refused = (Key::new(IrKind::Route, "HTTPRoute/a/r/0"), "bad regular expression".to_owned());
    let refusing = ProxyReport { revision: 1, refused: [refused].into(), ..ProxyReport::default() };
    says(&mut compiler, "p", Some(refusing));
    let route = "False/Invalid: proxy p refused it: bad regular expression";
    assert_eq!(programmed(&compiler), (YES.into(), route.into()));
    let refused = (Key::new(IrKind::Service, "cluster/a/x/80"), "no".to_owned());
    let refusing = ProxyReport { revision: 1, refused: [refused].into(), ..ProxyReport::default() };
    says(&mut compiler, "p", Some(refusing));
    assert_eq!(programmed(&compiler).1, "False/Invalid: proxy p refused it: no");
    says(&mut compiler, "p", Some(report(1)));
    assert_eq!(programmed(&compiler), (YES.into(), YES.into()));
}

#[test]
fn a_listener_that_is_not_bound_says_why() {
    let mut compiler = started();
    let why = "Address already in use (os error 98)".to_owned();
    let unbound = ProxyReport { revision: 1, unbound: [("a/g/one".into(), why)].into(), ..report(1) };
    says(&mut compiler, "p", Some(unbound));
    let object = ObjectRef::new("a", "g");
    let mut all = compiler.statuses().filter(|s| s.kind == Kind::Gateway && s.object == object);
    let status = all.next().and_then(|s| s.status).unwrap();
    let said = status["listeners"][0]["conditions"].to_string();
    assert!(said.contains("PortUnavailable") && said.contains("already in use"), "{said}");
}

#[test]
fn an_ack_wakes_only_statuses_that_wait_for_it() {
    let mut compiler = started();
    says(&mut compiler, "p", Some(report(1)));
    let revision = edit(&mut compiler, to_x("/new"), 2);
    compiler.apply(Change::Proxy {
        scope: SCOPE.into(),
        proxy: "p".into(),
        report: Some(report(revision)),
    });
    let refresh = compiler.refresh();
    let changed: Vec<_> = refresh.statuses.iter().map(|s| s.kind).collect();
    assert_eq!(changed, [Kind::HttpRoute]);
    assert!(refresh.scopes.is_empty());
}
