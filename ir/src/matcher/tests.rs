//! What the tests of the matcher share: short ways to write listeners, rules and requests.

mod explain;
mod precedence;
mod reference;
mod selection;
mod updates;

use std::sync::Arc;

use super::{Bind, Connection, Decision, Request, Tables, Trace};
use crate::{
    Attachment, Change, HeaderMatch, HostPattern, Listener, Name, ObjectRef, PathMatch, Protocol,
    QueryMatch, Resource, RetryPolicy, Route, RouteId, RouteKind, RouteMatch, Timeouts, ValueMatch,
};

/// A request, in normal form.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Request for Call {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.query.as_ref().map(String::as_bytes)
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_bytes())
    }
}

/// `GET http://host/path?query`, given without scheme.
pub(super) fn get(url: &str) -> Call {
    let (host, rest) = url.split_at(url.find('/').unwrap());
    let (path, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q.to_owned())));
    Call { method: "GET", host: host.to_owned(), path: path.to_owned(), query, headers: Vec::new() }
}

impl Call {
    pub(super) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// `*`, `*.a.com` or `a.com`.
pub(super) fn host(text: &str) -> HostPattern {
    if text == "*" { HostPattern::Any } else { HostPattern::parse(text).unwrap() }
}

/// A listener of Gateway `ns/gw` on port 80 (`http`) or 443 (`https`) of every address.
pub(super) fn listener(section: &str, hostname: &str, tls: bool) -> Listener {
    let gateway = ObjectRef::new("ns", "gw");
    let protocol = if tls { Protocol::Https { certificates: vec!["c".into()] } } else { Protocol::Http };
    Listener {
        name: Listener::name(&gateway, section),
        gateway,
        section: section.to_owned(),
        addresses: Vec::new(),
        port: if tls { 443 } else { 80 },
        hostname: host(hostname),
        protocol,
    }
}

/// Rule `index` of route `namespace/name`, attached to no listener.
pub(super) fn rule(route: &str, index: u32, matches: Vec<RouteMatch>) -> Route {
    let (namespace, name) = route.split_once('/').unwrap();
    let route = RouteId { kind: RouteKind::Http, object: ObjectRef::new(namespace, name) };
    Route {
        name: Route::name(&route, index),
        route,
        rule: index,
        rule_name: None,
        created: 0,
        attachments: Vec::new(),
        matches,
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        retry: RetryPolicy::default(),
    }
}

/// The rule, attached to a listener of `ns/gw` with these hostnames.
pub(super) fn attached(mut rule: Route, section: &str, hostnames: &[&str]) -> Route {
    let listener = Listener::name(&ObjectRef::new("ns", "gw"), section);
    let hostnames = hostnames.iter().map(|text| host(text)).collect();
    rule.attachments.push(Attachment { listener, hostnames });
    rule
}

/// A match of a path only: `=/exact`, `~regex` or `/prefix`.
pub(super) fn on(path: &str) -> RouteMatch {
    let path = match path.split_at(1) {
        ("=", exact) => PathMatch::Exact(exact.to_owned()),
        ("~", regex) => PathMatch::Regex(regex.to_owned()),
        _ => PathMatch::Prefix(path.to_owned()),
    };
    RouteMatch { path, method: None, headers: Vec::new(), query: Vec::new() }
}

/// `~regex` or an exact value.
fn value(text: &str) -> ValueMatch {
    match text.strip_prefix('~') {
        Some(regex) => ValueMatch::Regex(regex.to_owned()),
        None => ValueMatch::Exact(text.to_owned()),
    }
}

impl RouteMatch {
    pub(super) fn method(self, method: &str) -> Self {
        Self { method: Some(method.to_owned()), ..self }
    }

    pub(super) fn header(mut self, name: &str, text: &str) -> Self {
        self.headers.push(HeaderMatch { name: name.to_owned(), value: value(text) });
        self
    }

    pub(super) fn query(mut self, name: &str, text: &str) -> Self {
        self.query.push(QueryMatch { name: name.to_owned(), value: value(text) });
        self
    }
}

pub(super) fn put_listener(listener: Listener) -> Change {
    Change::Upsert(Resource::Listener(Arc::new(listener)))
}

pub(super) fn put_rule(rule: Route) -> Change {
    Change::Upsert(Resource::Route(Arc::new(rule)))
}

/// Tables of these, whose payload is the rule's name; none may be refused.
pub(super) fn tables(listeners: Vec<Listener>, rules: Vec<Route>) -> Tables<Name> {
    let listeners = listeners.into_iter().map(put_listener);
    let changes: Vec<Change> = listeners.chain(rules.into_iter().map(put_rule)).collect();
    let updated = Tables::default().update(&changes, |rule| Ok(rule.name.clone()));
    assert_eq!(updated.refused, []);
    updated.tables
}

/// What is decided, as text: `ns/route/rule#match`, `404` or `421`.
pub(super) fn outcome(decision: Decision<'_, Name>) -> String {
    match decision {
        Decision::Route(winner) => {
            assert_eq!(**winner.payload, winner.rule.name);
            let name = winner.rule.name.as_str().trim_start_matches("HTTPRoute/");
            format!("{name}#{}", winner.match_index)
        }
        Decision::NotFound { .. } => "404".to_owned(),
        Decision::Misdirected { .. } => "421".to_owned(),
    }
}

/// What is decided about a request in clear text on port 80.
pub(super) fn decide(tables: &Tables<Name>, call: &Call) -> String {
    traced(tables, Connection::Clear, call, &mut ())
}

/// What is decided about a request on port 80 or 443 of every address.
pub(super) fn traced(
    tables: &Tables<Name>,
    connection: Connection<'_>,
    call: &Call,
    trace: &mut impl Trace,
) -> String {
    let port = if connection == Connection::Clear { 80 } else { 443 };
    let group = tables.group(Bind { address: None, port }).unwrap();
    outcome(group.decide(connection, call, trace))
}
