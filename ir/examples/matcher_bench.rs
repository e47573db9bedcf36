//! What a decision and an edit cost, for few routes and for many.
//!
//! `cargo run --release -p isthmus-ir --example matcher_bench`. It prints a table: nanoseconds for a
//! decision (normalisation of path and host included, then alone), milliseconds for the first build and
//! for one edited rule (with the release of the old tables), microseconds of the edit as a median.
#![allow(clippy::print_stdout, reason = "a benchmark answers on standard output")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use isthmus_ir::{
    Attachment, Change, HeaderMatch, HostPattern, Listener, ObjectRef, PathMatch, Protocol, Resource,
    RetryPolicy, Route, RouteId, RouteKind, RouteMatch, Timeouts, ValueMatch,
    matcher::{Bind, Connection, Decision, Group, Request, Tables},
    normalize,
};

const BIND: Bind = Bind { address: None, port: 80 };

/// What kind of routes there are: how rule `n` is told from the others.
#[derive(Clone, Copy)]
enum Shape {
    Prefixes,
    Exact,
    Hosts,
    Regexes,
    Headers,
}

struct Get<'a> {
    host: &'a str,
    path: &'a [u8],
    tenant: &'a str,
}

impl Request for Get<'_> {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn host(&self) -> &str {
        self.host
    }

    fn path(&self) -> &[u8] {
        self.path
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        (name == "tenant").then_some(self.tenant.as_bytes()).into_iter()
    }
}

fn main() {
    println!(
        "{:<10} {:>7} {:>12} {:>12} {:>10} {:>10}",
        "shape", "rules", "request ns", "decide ns", "build ms", "edit us"
    );
    for (name, shape, counts) in [
        ("prefixes", Shape::Prefixes, &[10, 1000, 10_000][..]),
        ("exact", Shape::Exact, &[10, 1000, 10_000]),
        ("hosts", Shape::Hosts, &[10, 1000, 10_000]),
        ("regexes", Shape::Regexes, &[10, 1000]),
        ("headers", Shape::Headers, &[10, 1000]),
    ] {
        for &count in counts {
            measure(name, shape, count);
        }
    }
}

fn measure(name: &str, shape: Shape, count: u32) {
    let started = Instant::now();
    let mut changes = vec![Change::Upsert(Resource::Listener(Arc::new(listener())))];
    changes.extend((0..count).map(|n| edit(shape, n, 0)));
    let mut tables = Tables::default().update(&changes, |_| Ok(())).tables;
    let build = started.elapsed();
    let requests: Vec<(String, String, String)> =
        (0..997).map(|n| request(shape, n * 7919 % count)).collect();
    let Some(group) = tables.group(BIND) else { return };
    let whole = per_call(&requests, |r| whole(group, r));
    let decide = per_call(&requests, |r| decide(group, &r.0, r.1.as_bytes(), &r.2));
    let mut edits: Vec<Duration> = (1..200)
        .map(|n| {
            let change = [edit(shape, n * 7919 % count, n)];
            let started = Instant::now();
            tables = tables.update(&change, |_| Ok(())).tables;
            started.elapsed()
        })
        .collect();
    edits.sort_unstable();
    let median = edits.get(edits.len() / 2).copied().unwrap_or_default();
    println!(
        "{name:<10} {count:>7} {whole:>12.0} {decide:>12.0} {:>10.1} {:>10.1}",
        build.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e6
    );
}

/// Nanoseconds for a call: the best of several rounds.
fn per_call<T>(of: &[T], call: impl Fn(&T) -> bool) -> f64 {
    let round = || {
        let started = Instant::now();
        for _ in 0..200 {
            assert!(of.iter().all(|one| call(black_box(one))), "every request has its rule");
        }
        started.elapsed().as_secs_f64() * 1e9 / 200.0
    };
    let best = (0..5).map(|_| round()).fold(f64::INFINITY, f64::min);
    best / f64::from(u32::try_from(of.len()).unwrap_or(1))
}

fn whole(group: Group<'_, ()>, (host, path, tenant): &(String, String, String)) -> bool {
    let (Ok(authority), Ok(target)) =
        (normalize::authority(host.as_bytes()), normalize::target(b"GET", path.as_bytes()))
    else {
        return false;
    };
    decide(group, &authority.host, &target.path, tenant)
}

fn decide(group: Group<'_, ()>, host: &str, path: &[u8], tenant: &str) -> bool {
    let request = Get { host, path, tenant };
    matches!(group.decide(Connection::Clear, &request, &mut ()), Decision::Route(_))
}

fn listener() -> Listener {
    let gateway = ObjectRef::new("infra", "edge");
    Listener {
        name: Listener::name(&gateway, "http"),
        gateway,
        section: "http".to_owned(),
        addresses: Vec::new(),
        port: 80,
        hostname: HostPattern::Any,
        protocol: Protocol::Http,
    }
}

/// Rule `n`, in its `version`.
fn edit(shape: Shape, n: u32, version: u32) -> Change {
    let id = RouteId { kind: RouteKind::Http, object: ObjectRef::new("shop", format!("route-{n}")) };
    let hostname = match shape {
        Shape::Hosts => HostPattern::Exact(format!("tenant-{n}.example.com")),
        _ => HostPattern::Exact("www.example.com".to_owned()),
    };
    let path = match shape {
        Shape::Prefixes => PathMatch::Prefix(format!("/service-{n}/api")),
        Shape::Exact => PathMatch::Exact(format!("/service-{n}/api/v1/items")),
        Shape::Regexes => PathMatch::Regex(format!("/service-{n}/api/v[0-9]+/.*")),
        Shape::Hosts | Shape::Headers => PathMatch::Prefix("/".to_owned()),
    };
    let tenant = || HeaderMatch { name: "tenant".to_owned(), value: ValueMatch::Exact(format!("t{n}")) };
    let headers = if matches!(shape, Shape::Headers) { vec![tenant()] } else { Vec::new() };
    Change::Upsert(Resource::Route(Arc::new(Route {
        name: Route::name(&id, 0),
        route: id,
        rule: 0,
        rule_name: None,
        created: i64::from(version),
        attachments: vec![Attachment { listener: listener().name, hostnames: vec![hostname] }],
        matches: vec![RouteMatch { path, method: None, headers, query: Vec::new() }],
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        retry: RetryPolicy::default(),
    })))
}

/// Host, path and tenant of a request that rule `n` matches.
fn request(shape: Shape, n: u32) -> (String, String, String) {
    let host = match shape {
        Shape::Hosts => format!("tenant-{n}.example.com"),
        _ => "www.example.com".to_owned(),
    };
    (host, format!("/service-{n}/api/v1/items"), format!("t{n}"))
}
