//! How what is served changes: as a whole, under load, and one bad resource at a time.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use isthmus_ir::{
    Change, Filter, HeaderEdits, HostPattern, Key, Kind, Listener, PathMatch, Protocol, Resource,
    matcher::Bind,
};

use crate::{
    authority::server_certificate,
    support::{
        Backend, Client, Running, eventually, listener, listener_for, ok, resource, route, service,
        simple, with_filter,
    },
};

#[test]
fn e1_a_bad_resource_is_refused_alone() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let splitting =
        HeaderEdits { set: vec![("x-a".to_owned(), "b\r\nc: d".to_owned())], ..HeaderEdits::default() };
    let bad = with_filter(route("all", "/", &[("echo", 1)]), Filter::ResponseHeaders(splitting));
    let mut worse = route("worse", "/worse", &[("echo", 1)]);
    worse.matches[0].path = PathMatch::Regex("(".to_owned());
    let good = route("good", "/good", &[]);
    let applied =
        running.apply([bad, worse, good].map(|route| Change::Upsert(resource(route))).to_vec());
    let mut refused: Vec<&str> = applied.refused.iter().map(|(key, _)| key.name.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["HTTPRoute/shop/all/0", "HTTPRoute/shop/worse/0"]);
    let mut client = running.connect();
    assert_eq!(client.get("/").text(), "one", "the last good version stays");
    assert_eq!(client.get("/good").status(), 500, "the rest applies");
}

#[test]
fn a_certificate_whose_key_is_anothers_is_refused_and_the_old_one_stays() {
    let (a, b) = (server_certificate("a", &["a.test"]), server_certificate("b", &["a.test"]));
    let protocol = Protocol::Https { certificates: vec![a.name.clone()] };
    let running = Running::start(vec![
        Resource::Certificate(Arc::clone(&a)),
        listener_for("http", HostPattern::Any, protocol),
    ]);
    let mut mixed = (*a).clone();
    mixed.key = b.key.clone();
    let applied = running.apply(vec![Change::Upsert(Resource::Certificate(Arc::new(mixed)))]);
    assert_eq!(applied.refused.len(), 1);
    assert_eq!(applied.refused[0].0, Key::new(Kind::Certificate, "shop/a"));
}

/// Sends requests until it is told to stop; how many were answered by 200, and how many were not.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<Vec<u16>>>,
}

impl Load {
    fn start(running: &Running) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let address = running.address();
        let worker = || {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client.get("/");
                    if answer.status() != 200 {
                        failed.push(answer.status());
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    if answer.values("connection").contains(&"close") {
                        break;
                    }
                }
                failed
            })
        };
        let threads = (0..4).map(|_| worker()).collect();
        Self { stop, done, threads }
    }

    fn wait(&self, requests: usize) {
        let from = self.done.load(Ordering::Relaxed);
        eventually("progress", || self.done.load(Ordering::Relaxed) >= from + requests);
    }

    fn stop(self) -> Vec<u16> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }
}

#[test]
fn e4_nothing_fails_while_routes_and_services_come_and_go() {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let running = simple(&[a.address]);
    let load = Load::start(&running);
    for round in 0..20 {
        let name = if round % 2 == 0 { "second" } else { "echo" };
        let address = if round % 2 == 0 { b.address } else { a.address };
        // The route moves to a service that comes with it; the one that it leaves goes with it.
        let mut changes: Vec<Change> =
            service(name, &[address]).into_iter().map(Change::Upsert).collect();
        changes.push(Change::Upsert(resource(route("all", "/", &[(name, 1)]))));
        let left = if round % 2 == 0 { "echo" } else { "second" };
        for resource in service(left, &[]) {
            changes.push(Change::Remove(resource.key()));
        }
        let applied = running.apply(changes);
        assert!(applied.refused.is_empty());
        load.wait(20);
    }
    assert_eq!(load.stop(), [0; 0]);
    assert!(!a.received().is_empty() && !b.received().is_empty());
}

#[test]
fn a_listener_that_goes_closes_its_port_and_nothing_else() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let address = running.address();
    let mut client = running.connect();
    assert_eq!(client.get("/").status(), 200);
    let key = listener().key();
    running.apply(vec![Change::Remove(key)]);
    eventually("the port's end", || std::net::TcpStream::connect(address).is_err());
    assert_eq!(client.get("/").status(), 404, "the connection lives on");
}

#[test]
fn every_address_is_those_of_both_families() {
    let Resource::Listener(base) = listener() else { panic!("a listener") };
    for addresses in [vec![], vec![Ipv6Addr::UNSPECIFIED.into()]] {
        let every = Listener { addresses, ..(*base).clone() };
        let running = Running::start(vec![Resource::Listener(Arc::new(every))]);
        let port = running.address().port();
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            assert_eq!(Client::connect(SocketAddr::new(address, port)).get("/").status(), 404);
        }
    }
}

#[test]
fn a_port_that_is_taken_is_reported_and_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let Resource::Listener(base) = listener() else { panic!("a listener") };
    let bound = Listener { port, addresses: vec![Ipv4Addr::LOCALHOST.into()], ..(*base).clone() };
    let running = Running::start(vec![Resource::Listener(Arc::new(bound))]);
    assert_eq!(running.applied.unbound.len(), 1);
    assert_eq!(running.applied.unbound[0].0.as_str(), "infra/edge/http");
    drop(taken);
    eventually("the second try", || running.proxy().unbound().is_empty());
    assert_eq!(running.connect().get("/").status(), 404);
    let _ = Bind { address: None, port };
}

#[test]
fn e15_a_drain_loses_no_request() {
    let backend = Backend::named("one");
    let mut running = simple(&[backend.address]);
    let load = Load::start(&running);
    load.wait(50);
    let proxy = running.proxy.take().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(proxy.drain());
    assert_eq!(proxy.not_ready(), Some("draining"));
    assert_eq!(load.stop(), [0; 0]);
}

#[test]
fn e15_what_a_proxy_is_told_while_it_drains_is_in_force_and_opens_nothing() {
    let (one, two) = (Backend::named("one"), Backend::named("two"));
    let running = simple(&[one.address]);
    let (address, mut client) = (running.address(), running.connect());
    assert_eq!(client.get("/").text(), "one");
    thread::scope(|scope| {
        let drain = || tokio::runtime::Runtime::new().unwrap().block_on(running.proxy().drain());
        let drained = scope.spawn(drain);
        eventually("the end of accepting", || TcpStream::connect(address).is_err());
        let mut changes: Vec<_> =
            service("echo", &[two.address]).into_iter().map(Change::Upsert).collect();
        let Resource::Listener(base) = listener() else { panic!("a listener") };
        let other = Listener { name: "infra/edge/other".into(), ..(*base).clone() };
        changes.push(Change::Upsert(Resource::Listener(Arc::new(other))));
        running.apply(changes);
        let last = client.get("/");
        assert_eq!((last.text().as_str(), last.values("connection")), ("two", vec!["close"]));
        drained.join().unwrap();
        assert_eq!(running.proxy().address("infra/edge/other"), None);
    });
}

#[test]
fn e15_an_answer_to_a_request_from_before_a_drain_ends_its_connection_too() {
    let (answers, may_answer) = std::sync::mpsc::channel::<()>();
    let may_answer = std::sync::Mutex::new(may_answer);
    let backend = Backend::with(move |_, out| {
        may_answer.lock().unwrap().recv().unwrap();
        out.write_all(ok("late").as_bytes())
    });
    let running = simple(&[backend.address]);
    let (address, mut client) = (running.address(), running.connect());
    client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    eventually("the request", || !backend.received().is_empty());
    thread::scope(|scope| {
        let drain = || tokio::runtime::Runtime::new().unwrap().block_on(running.proxy().drain());
        let drained = scope.spawn(drain);
        eventually("the end of accepting", || TcpStream::connect(address).is_err());
        answers.send(()).unwrap();
        let last = client.answer();
        assert_eq!((last.text().as_str(), last.values("connection")), ("late", vec!["close"]));
        drained.join().unwrap();
    });
}

#[test]
fn e2_a_proxy_that_kept_no_keys_waits_for_them_before_it_is_ready() {
    let a = server_certificate("a", &["a.test"]);
    let protocol = Protocol::Https { certificates: vec![a.name.clone()] };
    let running = Running::start(vec![listener_for("http", HostPattern::Any, protocol)]);
    assert_eq!(running.proxy().not_ready(), Some("waiting for the keys of its listeners"));
    running.apply(vec![Change::Upsert(Resource::Certificate(a))]);
    assert_eq!(running.proxy().not_ready(), None);
}
