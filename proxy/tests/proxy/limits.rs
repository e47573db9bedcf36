//! What strangers cannot do to others.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use isthmus_proxy::{Limits, Settings};

use crate::support::{Backend, PATIENCE, Running, eventually, listener, resource, route, service};

fn limited(limits: Limits, backend: &Backend) -> Running {
    let mut resources = vec![listener(), resource(route("all", "/", &[("echo", 1)]))];
    resources.extend(service("echo", &[backend.address]));
    Running::with(Settings { threads: 1, limits, ..Settings::default() }, resources)
}

#[test]
fn c7_a_head_that_does_not_arrive_ends_its_connection() {
    let backend = Backend::named("one");
    let limits = Limits { header_timeout: Duration::from_millis(200), ..Limits::default() };
    let running = limited(limits, &backend);
    let mut slow = running.connect();
    let start = Instant::now();
    slow.send("GET / HTTP/1.1\r\nhost: ");
    let mut other = running.connect();
    assert_eq!(other.get("/").status(), 200);
    assert_eq!(slow.answer().status(), 408);
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(slow.is_closed());
}

#[test]
fn c7_a_body_that_stalls_ends_its_connection() {
    let backend = Backend::named("one");
    let limits = Limits { stall_timeout: Duration::from_millis(200), ..Limits::default() };
    let running = limited(limits, &backend);
    let mut slow = running.connect();
    slow.send("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nabc");
    assert_eq!(slow.answer().status(), 408);
    assert!(slow.is_closed());
}

#[test]
fn c6_a_client_that_takes_no_answer_is_dropped() {
    let backend = Backend::with(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")?;
        let block = vec![0; 64 * 1024];
        loop {
            out.write_all(&block)?;
        }
    });
    let limits = Limits { stall_timeout: Duration::from_millis(200), ..Limits::default() };
    let running = limited(limits, &backend);
    let mut idle = running.connect();
    idle.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    eventually("the end", || running.proxy().metrics().contains("isthmus_connections_open 0"));
}

#[test]
fn idle_connections_are_closed_in_the_end() {
    let backend = Backend::named("one");
    let limits = Limits { idle_timeout: Duration::from_millis(200), ..Limits::default() };
    let running = limited(limits, &backend);
    let mut client = running.connect();
    assert_eq!(client.get("/").status(), 200);
    assert!(client.is_closed());
}

#[test]
fn connections_that_wait_for_long_are_used_again() {
    let backend = Backend::named("one");
    let running = limited(Limits::default(), &backend);
    let mut client = running.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/").status(), 200);
        // Nothing comes, and above all not the end of the connection.
        client.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let waited = std::io::Read::read(&mut client.stream, &mut [0; 1]).unwrap_err();
        assert_eq!(waited.kind(), std::io::ErrorKind::WouldBlock);
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

#[test]
fn c8_heads_have_a_size_and_a_number_of_fields() {
    let backend = Backend::named("one");
    let running = limited(Limits::default(), &backend);
    let many = "x: y\r\n".repeat(300);
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    for fields in [many, long] {
        let mut client = running.connect();
        client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n"));
        assert_eq!(client.answer().status(), 431);
    }
    assert_eq!(backend.received().len(), 0);
    let fits = format!("x: {}\r\n", "y".repeat(40_000));
    let mut client = running.connect();
    client.send(format!("GET / HTTP/1.1\r\nhost: a.test\r\n{fits}\r\n"));
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let backend = Backend::named("one");
    let running = limited(Limits { connections: 2, ..Limits::default() }, &backend);
    let mut kept: Vec<_> = (0..2).map(|_| running.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").status(), 200);
    }
    assert!(running.connect().is_closed());
    drop(kept);
    eventually("room", || running.proxy().metrics().contains("isthmus_connections_open 0"));
    assert_eq!(running.connect().get("/").status(), 200);
}
