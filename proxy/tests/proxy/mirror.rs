//! Copies of requests, which their originals never notice.

use std::{io::Write, net::SocketAddr};

use isthmus_ir::{BackendTarget, Filter, Fraction};

use crate::support::{
    Backend, Running, closed_port, eventually, listener, resource, route, service, service_name,
    with_filter,
};

fn mirrored(mirrors: &[(SocketAddr, u32)], primary: &Backend) -> Running {
    let mut all = route("all", "/", &[("echo", 1)]);
    let mut resources = vec![listener()];
    for (index, (mirror, percent)) in mirrors.iter().enumerate() {
        let name = format!("mirror{index}");
        let filter = Filter::Mirror {
            target: BackendTarget::Service(service_name(&name)),
            fraction: Fraction { numerator: *percent, denominator: 100 },
        };
        all = with_filter(all, filter);
        resources.extend(service(&name, &[*mirror]));
    }
    resources.push(resource(all));
    resources.extend(service("echo", &[primary.address]));
    Running::start(resources)
}

#[test]
fn a_copy_is_the_request_with_its_body() {
    let (primary, first, second) = (Backend::named("one"), Backend::named("a"), Backend::named("b"));
    let running = mirrored(&[(first.address, 100), (second.address, 100)], &primary);
    let mut client = running.connect();
    let body = "x".repeat(30_000);
    for _ in 0..5 {
        client.send(format!(
            "POST /p?q HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(client.answer().text(), "one");
    }
    for mirror in [&first, &second] {
        eventually("all copies", || mirror.received().len() == 5);
        for copy in mirror.received() {
            assert_eq!(copy.line(), "POST /p?q HTTP/1.1");
            assert_eq!(copy.values("host"), ["a.test"]);
            assert!(copy.body == body.as_bytes());
        }
    }
}

#[test]
fn a_fraction_of_requests_is_copied() {
    let (primary, mirror) = (Backend::named("one"), Backend::named("a"));
    let running = mirrored(&[(mirror.address, 30)], &primary);
    let mut client = running.connect();
    for _ in 0..300 {
        client.get("/");
    }
    eventually("the copies", || {
        let metrics = running.proxy().metrics();
        let line = format!("isthmus_mirrored_total {}", mirror.received().len());
        metrics.contains(&line)
    });
    let copies = mirror.received().len();
    assert!((50..130).contains(&copies), "{copies} of 300 for 30 %");
}

#[test]
fn c11_a_mirror_that_answers_without_end_or_not_at_all_is_not_noticed() {
    let endless = Backend::with(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n")?;
        let block = vec![0; 64 * 1024];
        loop {
            out.write_all(&block)?;
        }
    });
    let silent = Backend::with(|_, out| {
        let mut byte = [0];
        drop(std::io::Read::read(out, &mut byte));
        Err(std::io::ErrorKind::Other.into())
    });
    let primary = Backend::named("one");
    let running =
        mirrored(&[(endless.address, 100), (silent.address, 100), (closed_port(), 100)], &primary);
    let mut client = running.connect();
    let body = "x".repeat(500_000);
    for _ in 0..5 {
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(client.answer().text(), "one");
    }
    eventually("giving up", || {
        let metrics = running.proxy().metrics();
        let dropped = metrics.lines().find_map(|l| l.strip_prefix("isthmus_mirrors_dropped_total "));
        dropped.unwrap().parse::<u32>().unwrap() >= 10
    });
}
