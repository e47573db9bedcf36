//! What happens to requests when endpoints fail.

use std::{
    io::Write,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use isthmus_ir::{Change, EndpointState, HealthPolicy, RetryPolicy, Timeouts};

use crate::support::{
    Backend, Received, Running, closed_port, endpoint, eventually, listener, ok, resource, route,
    service, service_with, simple,
};

fn fail() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Other.into())
}

#[test]
fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let backend = Backend::named("one");
    let running = simple(&[closed_port(), backend.address]);
    let mut client = running.connect();
    for _ in 0..20 {
        client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!(client.answer().status(), 200);
    }
    assert!(backend.received().iter().all(|r| r.body == b"hi"));
}

#[test]
fn an_endpoint_that_refuses_is_out_at_once_and_comes_back_when_it_answers() {
    let backend = Backend::named("one");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let running = simple(&[address, backend.address]);
    let mut client = running.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "one");
    }
    let up = |up: u8| {
        let line = format!("endpoint=\"{address}\",cluster=\"east\"}} {up}");
        move |running: &Running| running.proxy().metrics().contains(&line)
    };
    assert!(up(0)(&running), "{}", running.proxy().metrics());
    let back =
        Backend::on(TcpListener::bind(address).unwrap(), |_, out| out.write_all(ok("two").as_bytes()));
    eventually("the endpoint's return", || up(1)(&running));
    eventually("a request there", || {
        drop(running.connect().get("/"));
        !back.received().is_empty()
    });
}

#[test]
fn a_pooled_connection_that_died_costs_nothing() {
    // Answers once on each connection, and closes it without a word.
    let backend = Backend::with(|_, out| {
        out.write_all(ok("one").as_bytes())?;
        fail()
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(backend.received().len(), 20);
    let metrics = running.proxy().metrics();
    assert!(metrics.contains("isthmus_retries_total{route=\"HTTPRoute/shop/all/0\"} 0"), "{metrics}");
}

#[test]
fn only_idempotent_requests_are_sent_twice() {
    let backend = Backend::with(|_, _| fail());
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(client.answer().status(), 502);
    assert_eq!(backend.received().len(), 1);
}

#[test]
fn an_idempotent_request_with_a_body_is_sent_again_whole() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let broken = Backend::with(move |_, _| {
        seen.fetch_add(1, Ordering::SeqCst);
        fail()
    });
    let good = Backend::named("good");
    let running = simple(&[broken.address, good.address]);
    let body = "x".repeat(5_000);
    let mut client = running.connect();
    eventually("a retry", || {
        let mut client = running.connect();
        client.send(format!("PUT / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5000\r\n\r\n{body}"));
        assert_eq!(client.answer().text(), "good");
        count.load(Ordering::SeqCst) > 0
    });
    client.get("/");
    assert!(
        good.received()
            .iter()
            .filter(|r| r.line().starts_with("PUT"))
            .all(|r| r.body == body.as_bytes())
    );
}

#[test]
fn statuses_that_the_rule_names_are_tried_again() {
    let bad = Backend::with(|_, out| out.write_all(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"));
    let good = Backend::named("good");
    let mut all = route("all", "/", &[("echo", 1)]);
    all.retry = RetryPolicy { attempts: 2, statuses: vec![503], ..RetryPolicy::default() };
    let mut resources = vec![listener(), resource(all)];
    resources.extend(service("echo", &[bad.address, good.address]));
    let running = Running::start(resources);
    let mut client = running.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "good");
    }
    assert!(!bad.received().is_empty());
}

#[test]
fn limits_of_time_are_kept() {
    let slow = Backend::with(|request: &Received, out| {
        if request.line().contains("/fast") {
            return out.write_all(ok("fast").as_bytes());
        }
        let mut byte = [0];
        drop(std::io::Read::read(out, &mut byte));
        fail()
    });
    let mut whole = route("whole", "/whole", &[("slow", 1)]);
    whole.timeouts = Timeouts { request: Some(Duration::from_millis(100)), backend_request: None };
    let mut attempt = route("attempt", "/attempt", &[("slow", 1)]);
    attempt.timeouts = Timeouts { request: None, backend_request: Some(Duration::from_millis(100)) };
    attempt.retry = RetryPolicy { attempts: 0, ..RetryPolicy::default() };
    // An endpoint that is alone is not tried again, and what it did is what the client hears.
    let mut alone = route("alone", "/alone", &[("slow", 1)]);
    alone.timeouts = attempt.timeouts;
    let mut resources = vec![listener(), resource(whole), resource(attempt), resource(alone)];
    resources.extend(service("slow", &[slow.address]));
    let running = Running::start(resources);
    let mut client = running.connect();
    for path in ["/whole", "/attempt", "/alone"] {
        let start = Instant::now();
        assert_eq!(client.get(path).status(), 504, "{path}");
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(2), "{path}: {took:?}");
    }
    assert_eq!(client.get("/whole/fast").text(), "fast");
}

#[test]
fn requests_are_shared_out_by_weight() {
    let (a, b, none) = (Backend::named("a"), Backend::named("b"), Backend::named("none"));
    let mut resources =
        vec![listener(), resource(route("all", "/", &[("a", 3), ("b", 1), ("none", 0)]))];
    resources.extend(service("a", &[a.address]));
    resources.extend(service("b", &[b.address]));
    resources.extend(service("none", &[none.address]));
    let running = Running::start(resources);
    let mut client = running.connect();
    for _ in 0..400 {
        client.get("/");
    }
    let (a, b) = (a.received().len(), b.received().len());
    assert_eq!((a + b, none.received().len()), (400, 0));
    assert!((240..360).contains(&a), "{a} of 400 for 3 in 4");
}

#[test]
fn a_backend_whose_endpoints_are_down_passes_its_share_on() {
    let good = Backend::named("good");
    let mut resources = vec![listener(), resource(route("all", "/", &[("down", 1), ("good", 1)]))];
    resources.extend(service("down", &[closed_port()]));
    resources.extend(service("good", &[good.address]));
    let running = Running::start(resources);
    let mut client = running.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "good");
    }
}

#[test]
fn priorities_are_used_in_order_and_draining_endpoints_last() {
    let (near, far, leaving) =
        (Backend::named("near"), Backend::named("far"), Backend::named("leaving"));
    let mut second = endpoint(far.address);
    second.priority = 1;
    let mut draining = endpoint(leaving.address);
    draining.state = EndpointState::Draining;
    let endpoints = vec![endpoint(near.address), second, draining.clone()];
    let mut resources = vec![listener(), resource(route("all", "/", &[("echo", 1)]))];
    resources.extend(service_with("echo", endpoints, HealthPolicy::default()));
    let running = Running::start(resources);
    let mut client = running.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "near");
    }
    let change = |endpoints| {
        let service = service_with("echo", endpoints, HealthPolicy::default());
        running.apply(service.into_iter().map(Change::Upsert).collect());
    };
    let mut second = endpoint(far.address);
    second.priority = 1;
    change(vec![endpoint(closed_port()), second, draining.clone()]);
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "far");
    }
    change(vec![draining]);
    assert_eq!(client.get("/").text(), "leaving");
    change(vec![]);
    assert_eq!(client.get("/").status(), 503);
}

#[test]
fn c13_a_service_that_fails_as_a_whole_is_not_sent_a_multiple() {
    let bad = Backend::with(|_, out| out.write_all(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"));
    let mut all = route("all", "/", &[("echo", 1)]);
    all.retry = RetryPolicy { attempts: 3, statuses: vec![503], ..RetryPolicy::default() };
    let mut resources = vec![listener(), resource(all)];
    let never_out = HealthPolicy { consecutive_failures: u16::MAX, ..HealthPolicy::default() };
    let endpoints: Vec<_> = (0..3)
        .map(|_| bad.address)
        .enumerate()
        .map(|(i, address)| {
            let mut endpoint = endpoint(address);
            endpoint.id = i.to_string().into();
            endpoint
        })
        .collect();
    resources.extend(service_with("echo", endpoints, never_out));
    let running = Running::with(
        isthmus_proxy::Settings { threads: 1, ..isthmus_proxy::Settings::default() },
        resources,
    );
    let mut client = running.connect();
    for _ in 0..2_000 {
        assert_eq!(client.get("/").status(), 503);
    }
    let sent = bad.received().len();
    assert!(sent <= 2_000 + 400 + 200, "{sent} attempts for 2000 requests");
}
