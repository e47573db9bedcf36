//! Which listener a connection or request belongs to, and which hostname of its rules comes first.

use std::net::{IpAddr, Ipv4Addr};

use super::{Call, attached, decide, get, listener, on, rule, tables, traced};
use crate::{
    Listener, Name, Protocol, Route,
    matcher::{Bind, Connection, Tables},
};

fn everything(route: &str, section: &str, hostnames: &[&str]) -> Route {
    attached(rule(route, 0, vec![on("/")]), section, hostnames)
}

/// The rule that wins, without the indices, which are 0.
fn short(outcome: &str) -> &str {
    outcome.strip_suffix("/0#0").unwrap_or(outcome)
}

#[test]
fn b9_the_most_specific_listener_has_the_request() {
    let names = ["bar.com", "foo.bar.com", "*.bar.com", "*.foo.com"];
    let listeners = names.map(|name| listener(name, name, false)).to_vec();
    let rules = names.map(|name| everything(&format!("ns/{name}"), name, &["*"])).to_vec();
    let tables = tables(listeners, rules);
    for (host, won) in [
        ("bar.com", "ns/bar.com"),
        ("foo.bar.com", "ns/foo.bar.com"),
        ("baz.bar.com", "ns/*.bar.com"),
        ("boo.bar.com", "ns/*.bar.com"),
        ("a.foo.bar.com", "ns/*.bar.com"),
        ("multiple.prefixes.foo.com", "ns/*.foo.com"),
        ("foo.com", "404"),
        ("no.matching.host", "404"),
    ] {
        assert_eq!(short(&decide(&tables, &get(&format!("{host}/")))), won, "{host}");
    }
}

#[test]
fn a_request_sees_no_route_of_a_less_specific_listener() {
    let listeners = vec![listener("all", "*", false), listener("one", "a.com", false)];
    let tables = tables(listeners, vec![everything("ns/all", "all", &["*"])]);
    assert_eq!(decide(&tables, &get("a.com/")), "404");
    assert_eq!(short(&decide(&tables, &get("b.com/"))), "ns/all");
}

#[test]
fn a_listener_with_a_hostname_sees_only_hosts_that_match_it() {
    let listeners = vec![listener("l", "*.a.com", false)];
    let tables = tables(listeners, vec![everything("ns/r", "l", &["*.com", "a.com"])]);
    assert_eq!(short(&decide(&tables, &get("b.a.com/"))), "ns/r");
    assert_eq!(decide(&tables, &get("a.com/")), "404");
    assert_eq!(decide(&tables, &get("b.com/")), "404");
}

#[test]
fn b9_the_most_specific_hostname_of_rules_comes_first() {
    let with_header = |route: &str, hostname: &str| {
        attached(rule(route, 0, vec![on("/path").header("x", "1")]), "l", &[hostname])
    };
    let rules = vec![
        everything("ns/any", "l", &["*"]),
        attached(rule("ns/long", 0, vec![on("/path/prefix")]), "l", &["*.example.com"]),
        everything("ns/wide", "l", &["*.com"]),
        with_header("ns/exact", "abc.example.com"),
    ];
    let tables = tables(vec![listener("l", "*", false)], rules);
    let at = |host: &str| get(&format!("{host}/path/prefix"));
    let won = |call: &Call| short(&decide(&tables, call)).to_owned();
    assert_eq!(won(&at("abc.example.com").with("x", "1")), "ns/exact", "before a longer prefix");
    assert_eq!(won(&at("abc.example.com")), "ns/long", "none of the exact hostname's fits");
    assert_eq!(won(&get("abc.example.com/path")), "ns/wide", "and none of the next");
    assert_eq!(won(&at("example.com")), "ns/wide");
    assert_eq!(won(&at("a.org")), "ns/any");
}

#[test]
fn routes_compare_by_the_hostnames_that_they_declare() {
    // GatewayRouteHostnameIntersectionPrecedence: both intersect to abc.example.com.
    let older = Route { created: 1, ..everything("ns/older", "l", &["*.example.com"]) };
    let newer = Route { created: 2, ..everything("ns/newer", "l", &["abc.example.com"]) };
    let tables = tables(vec![listener("l", "abc.example.com", false)], vec![older, newer]);
    assert_eq!(short(&decide(&tables, &get("abc.example.com/"))), "ns/newer");
}

/// The Gateway of `HTTPRouteHTTPSListenerDetectMisdirectedRequests`.
fn secure() -> Tables<Name> {
    let names = ["*", "second-example.org", "*.wildcard.org", "fourth-example.wildcard.org"];
    let listeners = names.map(|name| listener(name, name, true)).to_vec();
    let mut rules: Vec<Route> =
        names.map(|name| everything(&format!("ns/{name}"), name, &["*"])).to_vec();
    rules[0] = everything("ns/*", "*", &["example.org"]);
    tables(listeners, rules)
}

#[test]
fn d11_a_host_of_another_listener_is_misdirected() {
    let tables = secure();
    for (server_name, host, expected) in [
        ("example.org", "example.org", "ns/*"),
        ("example.org", "second-example.org", "421"),
        ("example.org", "unknown-example.org", "404"),
        ("second-example.org", "second-example.org", "ns/second-example.org"),
        ("second-example.org", "example.org", "421"),
        ("second-example.org", "unknown-example.org", "421"),
        ("third-example.wildcard.org", "third-example.wildcard.org", "ns/*.wildcard.org"),
        ("third-example.wildcard.org", "fith-example.wildcard.org", "ns/*.wildcard.org"),
        ("third-example.wildcard.org", "fourth-example.wildcard.org", "421"),
        ("third-example.wildcard.org", "second-example.org", "421"),
        ("third-example.wildcard.org", "unknown-example.org", "421"),
        ("fourth-example.wildcard.org", "fourth-example.wildcard.org", "ns/fourth-example.wildcard.org"),
        ("fourth-example.wildcard.org", "fith-example.wildcard.org", "421"),
        ("unknown-example.org", "example.org", "ns/*"),
        ("unknown-example.org", "unknown-example.org", "404"),
        ("", "example.org", "ns/*"),
        ("", "second-example.org", "421"),
    ] {
        let server_name = (!server_name.is_empty()).then_some(server_name);
        let call = get(&format!("{host}/detect-misdirected-requests"));
        let outcome = traced(&tables, Connection::Tls { server_name }, &call, &mut ());
        assert_eq!(short(&outcome), expected, "{server_name:?} {host}");
    }
}

#[test]
fn d11_a_host_of_no_listener_is_not_found() {
    let tables = tables(vec![listener("l", "a.com", true)], vec![everything("ns/r", "l", &["*"])]);
    let connection = Connection::Tls { server_name: Some("a.com") };
    assert_eq!(traced(&tables, connection, &get("b.com/"), &mut ()), "404");
}

#[test]
fn d12_the_server_name_chooses_the_certificates() {
    let tables = secure();
    let group = tables.group(Bind { address: None, port: 443 }).unwrap();
    let section = |name: Option<&str>| group.choose_tls(name).map(|l| l.section.as_str());
    assert_eq!(section(Some("second-example.org")), Some("second-example.org"));
    assert_eq!(section(Some("x.wildcard.org")), Some("*.wildcard.org"));
    assert_eq!(section(Some("wildcard.org")), Some("*"));
    assert_eq!(section(None), Some("*"));
    let named = super::tables(vec![listener("l", "a.com", true)], vec![]);
    let group = named.groups().next().unwrap();
    assert!(group.choose_tls(Some("a.com")).is_some());
    assert!(group.choose_tls(Some("b.com")).is_none() && group.choose_tls(None).is_none());
    let clear = super::tables(vec![listener("l", "*", false)], vec![]);
    assert!(clear.groups().next().unwrap().choose_tls(Some("a.com")).is_none());
}

#[test]
fn listeners_are_grouped_by_socket() {
    let at = |name: &str, hosts: &[u8], port| {
        let addresses = hosts.iter().map(|&n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))).collect();
        Listener { addresses, port, ..listener(name, &format!("{name}.com"), false) }
    };
    let mesh = Listener { protocol: Protocol::EastWest, port: 15443, ..listener("mesh", "*", false) };
    let tables = tables(
        vec![at("a", &[1, 2], 80), at("b", &[2], 80), at("c", &[], 80), at("d", &[], 81), mesh],
        vec![],
    );
    let groups: Vec<String> = tables
        .groups()
        .map(|group| {
            let names: Vec<&str> = group.listeners().map(|l| l.section.as_str()).collect();
            let address = group.bind().address.map_or("*".to_owned(), |a| a.to_string());
            format!("{address}:{} {}", group.bind().port, names.join(" "))
        })
        .collect();
    expect_test::expect![[r#"
        [
            "*:80 c",
            "*:81 d",
            "*:15443 mesh",
            "127.0.0.1:80 a c",
            "127.0.0.2:80 a b c",
        ]
    "#]]
    .assert_debug_eq(&groups);
    assert!(tables.group(Bind { address: None, port: 82 }).is_none());
}
