//! The matcher against a slow reference that follows the specification's text: it looks at every match
//! of every rule, keeps those that hold, and sorts them.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{Call, attached, listener, on, outcome, rule};
use crate::{
    Change, HostPattern, Listener, Name, PathMatch, Protocol, Resource, Route, RouteMatch, ValueMatch,
    matcher::{Bind, Connection, Tables},
    normalize,
};

/// `Characters in a matching non-wildcard hostname`, then `Characters in a matching hostname`.
fn specificity(pattern: &HostPattern) -> (usize, usize) {
    match pattern {
        HostPattern::Any => (0, 0),
        HostPattern::Wildcard(suffix) => (0, suffix.len()),
        HostPattern::Exact(host) => (host.len(), host.len()),
    }
}

fn best<'a>(listeners: &[&'a Listener], host: &str) -> Option<&'a Listener> {
    let of_host = listeners.iter().filter(|listener| listener.hostname.matches(host));
    of_host.max_by_key(|listener| specificity(&listener.hostname)).copied()
}

/// What the specification says of a request: `404`, `421` or the rule and its match.
pub(super) fn decide(
    listeners: &[Listener],
    rules: &[Route],
    bind: Bind,
    connection: Connection<'_>,
    call: &Call,
) -> String {
    let on_socket = |listener: &&Listener| {
        let secure = matches!(listener.protocol, Protocol::Https { .. });
        let address =
            listener.addresses.is_empty() || listener.addresses.iter().any(|&a| bind.address == Some(a));
        listener.port == bind.port && address && secure == (connection != Connection::Clear)
    };
    let sharing: Vec<&Listener> = listeners.iter().filter(on_socket).collect();
    let current = match connection {
        Connection::Clear => best(&sharing, &call.host),
        Connection::Tls { server_name: Some(name) } => best(&sharing, name),
        Connection::Tls { server_name: None } => {
            sharing.iter().find(|listener| listener.hostname == HostPattern::Any).copied()
        }
    };
    let current_matches = current.is_some_and(|current| current.hostname.matches(&call.host));
    let others =
        sharing.iter().filter(|other| Some(**other) != current && other.hostname.matches(&call.host));
    let more_specific = |other: &&&Listener| {
        !current_matches || specificity(&other.hostname) > specificity(&current.unwrap().hostname)
    };
    if others.clone().any(|other| more_specific(&other)) {
        return "421".to_owned();
    }
    match current {
        Some(current) if current_matches => first_rule(current, rules, call),
        _ => "404".to_owned(),
    }
}

fn first_rule(listener: &Listener, rules: &[Route], call: &Call) -> String {
    let mut found = Vec::new();
    for rule in rules {
        let own = rule.attachments.iter().filter(|attachment| attachment.listener == listener.name);
        for pattern in own.flat_map(|attachment| &attachment.hostnames) {
            for (index, of) in rule.matches.iter().enumerate() {
                if pattern.matches(&call.host) && holds(of, call) {
                    found.push((rank(pattern, rule, of, index), rule, index));
                }
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    match found.first() {
        Some((_, rule, index)) => format!("{}/{}#{index}", rule.route.object, rule.rule),
        None => "404".to_owned(),
    }
}

/// The criteria, in the specification's order.
fn rank(pattern: &HostPattern, rule: &Route, of: &RouteMatch, index: usize) -> impl Ord + use<> {
    let path = match &of.path {
        PathMatch::Exact(_) => (0, Reverse(0)),
        PathMatch::Regex(text) => (1, Reverse(text.len())),
        PathMatch::Prefix(text) => (2, Reverse(normal(text).trim_end_matches('/').len())),
    };
    let numbers = (of.method.is_none(), Reverse(of.headers.len()), Reverse(of.query.len()));
    (
        Reverse(specificity(pattern)),
        path,
        numbers,
        rule.created,
        rule.route.object.to_string(),
        rule.rule,
        index,
    )
}

fn normal(path: &str) -> String {
    String::from_utf8(normalize::path(path.as_bytes()).unwrap().into_owned()).unwrap()
}

fn holds(of: &RouteMatch, call: &Call) -> bool {
    let path = match &of.path {
        PathMatch::Exact(text) => normal(text) == call.path,
        PathMatch::Prefix(text) => {
            let elements = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
            elements(&call.path).starts_with(&elements(normal(text).trim_end_matches('/')))
        }
        PathMatch::Regex(text) => whole(text, &call.path),
    };
    let method = of.method.as_ref().is_none_or(|method| method == call.method);
    let headers = of.headers.iter().all(|header| {
        let values: Vec<&str> =
            call.headers.iter().filter(|h| h.0 == header.name).map(|h| h.1.as_str()).collect();
        !values.is_empty() && has(&header.value, &values.join(","))
    });
    let parameters: Vec<(&str, &str)> = call
        .query
        .iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    let query = of.query.iter().all(|wanted| {
        let first = parameters.iter().find(|p| decoded(p.0) == wanted.name);
        first.is_some_and(|p| has(&wanted.value, &decoded(p.1)))
    });
    path && method && headers && query
}

fn has(wanted: &ValueMatch, value: &str) -> bool {
    match wanted {
        ValueMatch::Exact(text) => text == value,
        ValueMatch::Regex(text) => whole(text, value),
    }
}

fn whole(pattern: &str, text: &str) -> bool {
    let found = regex::Regex::new(&format!("^({pattern})$")).unwrap().find(text);
    found.is_some_and(|found| found.len() == text.len())
}

/// Of the few escapes that the generators make.
fn decoded(text: &str) -> String {
    text.replace('+', " ").replace("%61", "a").replace("%20", " ").replace("%2C", ",")
}

/// Few values each, so that everything meets everything.
const HOSTS: [&str; 6] = ["a.com", "b.a.com", "c.b.a.com", "b.com", "com", "[::1]"];
const PATTERNS: [&str; 8] =
    ["*", "*.com", "*.a.com", "*.b.a.com", "a.com", "b.a.com", "c.b.a.com", "b.com"];
const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b/a", "/a/b/c/d/e", "/%20"];
const CONDITIONS: [&str; 17] = [
    "/", "/a", "/a/b", "/ab", "/%61/b/", "/a/b/c/d", "=/", "=/a", "=/a/", "=/%61/b", "~/a.*", "~/a/.*",
    "~.*", "~/[ab]+", "~/a|/a/b", "~/(a/)*b", "~/%20",
];

pub(super) fn any_listener() -> impl Strategy<Value = Listener> {
    let address = option::of(select(vec![[127, 0, 0, 1], [127, 0, 0, 2]]));
    (0..5_u8, select(&PATTERNS[..]), any::<bool>(), address).prop_map(|(n, hostname, tls, address)| {
        let addresses = address.map(|a| IpAddr::V4(Ipv4Addr::from(a))).into_iter().collect();
        // One port for both protocols, so that only the protocol tells them apart.
        Listener { addresses, port: 80, ..listener(&format!("l{n}"), hostname, tls) }
    })
}

fn any_match() -> impl Strategy<Value = RouteMatch> {
    let test = || option::weighted(0.3, select(&["1", "2", "1,2", "~[12]", "~.*", "a b"][..]));
    let method = option::weighted(0.3, select(&["GET", "POST"][..]));
    (select(&CONDITIONS[..]), method, test(), test(), test(), test()).prop_map(
        |(path, method, x, y, a, b)| {
            let mut of = on(path);
            of.method = method.map(str::to_owned);
            for (name, text) in [("x", x), ("y", y)] {
                of = text.map_or_else(|| of.clone(), |text| of.clone().header(name, text));
            }
            for (name, text) in [("a", a), ("b", b)] {
                of = text.map_or_else(|| of.clone(), |text| of.clone().query(name, text));
            }
            of
        },
    )
}

pub(super) fn any_rule() -> impl Strategy<Value = Route> {
    let id = (select(&["n/a", "n/b", "n-m/a", "n.m/a"][..]), 0..3_u32);
    let attachments = vec((0..5_u8, vec(select(&PATTERNS[..]), 1..3)), 0..4);
    (id, 0..2_i64, vec(any_match(), 1..4), attachments).prop_map(
        |((route, index), created, matches, places)| {
            let mut rule = Route { created, ..rule(route, index, matches) };
            for (n, hostnames) in places {
                rule = attached(rule, &format!("l{n}"), &hostnames);
            }
            rule
        },
    )
}

pub(super) fn any_call() -> impl Strategy<Value = Call> {
    let method = select(&["GET", "POST", "get"][..]);
    let query = option::of(select(
        &["", "a=1", "a=2&b=1", "%61=1", "b=1&b=2", "a=a+b", "a=%61%20b&b", "a=1%2C2"][..],
    ));
    let headers = vec((select(&["x", "y"][..]), select(&["1", "2", "1,2", ""][..])), 0..4);
    (method, select(&HOSTS[..]), select(&PATHS[..]), query, headers).prop_map(
        |(method, host, path, query, headers)| Call {
            method,
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.map(str::to_owned),
            headers: headers.into_iter().map(|(n, v)| (n, v.to_owned())).collect(),
        },
    )
}

pub(super) fn any_connection() -> impl Strategy<Value = Connection<'static>> {
    prop_oneof![
        Just(Connection::Clear),
        option::of(select(&HOSTS[..])).prop_map(|server_name| Connection::Tls { server_name }),
    ]
}

/// One of each name, the last.
pub(super) fn distinct<T>(all: Vec<T>, name: impl Fn(&T) -> Name) -> Vec<T> {
    let mut distinct: Vec<T> = Vec::new();
    for one in all {
        distinct.retain(|other| name(other) != name(&one));
        distinct.push(one);
    }
    distinct
}

/// Listeners that the control plane may send: no two that nothing tells apart.
pub(super) fn compatible(listeners: Vec<Listener>) -> Vec<Listener> {
    let mut kept: Vec<Listener> = Vec::new();
    for one in distinct(listeners, |l| l.name.clone()) {
        let clash = |other: &Listener| {
            let secure = |l: &Listener| l.protocol == Protocol::Http;
            other.hostname == one.hostname && secure(other) == secure(&one)
        };
        if !kept.iter().any(clash) {
            kept.push(one);
        }
    }
    kept
}

/// Every socket that there may be.
pub(super) fn binds() -> [Bind; 3] {
    let loopback = |n| Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, n)));
    [None, loopback(1), loopback(2)].map(|address| Bind { address, port: 80 })
}

/// What tables say; a socket that is not there has no listener.
pub(super) fn asked(
    tables: &Tables<Name>,
    bind: Bind,
    connection: Connection<'_>,
    call: &Call,
) -> String {
    let decision = tables.group(bind).map(|group| group.decide(connection, call, &mut ()));
    decision.map_or_else(|| "404".to_owned(), outcome)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn b9_b16_d11_the_winner_is_the_references(
        listeners in vec(any_listener(), 1..5).prop_map(compatible),
        rules in vec(any_rule(), 0..12).prop_map(|rules| distinct(rules, |r| r.name.clone())),
        calls in vec((any_connection(), any_call()), 32),
    ) {
        let mut tables = Tables::default();
        let changes: Vec<Change> = listeners.iter().cloned().map(super::put_listener)
            .chain(rules.iter().cloned().map(super::put_rule)).collect();
        let updated = tables.update(&changes, |rule: &Arc<Route>| Ok(rule.name.clone()));
        prop_assert!(updated.refused.is_empty());
        tables = updated.tables;
        for (connection, call) in &calls {
            for bind in binds() {
                // Without listeners of its own, a socket is served by the one of all addresses.
                let Some(group) = tables.group(bind) else { continue };
                let expected = decide(&listeners, &rules, bind, *connection, call);
                prop_assert_eq!(outcome(group.decide(*connection, call, &mut ())), expected);
            }
        }
    }
}

#[test]
fn resources_of_other_kinds_are_not_looked_at() {
    let peer = crate::TrustBundle { trust_domain: "a".parse().unwrap(), roots: Vec::new() };
    let changes = [Change::Upsert(Resource::TrustBundle(Arc::new(peer)))];
    let updated = Tables::<()>::default().update(&changes, |_| Ok(()));
    assert_eq!(updated.tables.groups().count() + updated.tables.rules().count(), 0);
}
