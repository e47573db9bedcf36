//! Requests through a real proxy, in HTTP/1.1.

use std::io::Write;

use crate::support::{
    Backend, Running, eventually, listener, ok, resource, route, service, simple, with_filter,
};
use isthmus_ir::{Filter, HeaderEdits, PathRewrite, Redirect, Rewrite};

#[test]
fn a_request_reaches_its_backend_and_the_answer_its_client() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let answer = running.connect().get("/hello?x=1");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "one"));
    let received = backend.received();
    assert_eq!(received[0].line(), "GET /hello?x=1 HTTP/1.1");
    assert_eq!(received[0].values("host"), ["a.test"]);
    assert_eq!(received[0].values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received[0].values("x-forwarded-proto"), ["http"]);
}

#[test]
fn connections_are_used_again_on_both_sides() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::with(|request, out| {
        let path = request.line().split(' ').nth(1).unwrap().to_owned();
        out.write_all(ok(&path).as_bytes())
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    let request = |i: u8| format!("GET /{i} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    client.send([0, 1, 2, 3, 4].map(request).concat());
    for i in 0..5 {
        assert_eq!(client.answer().text(), format!("/{i}"));
    }
}

#[test]
fn bodies_go_both_ways_whatever_their_framing_and_size() {
    let backend = Backend::with(|request, out| {
        let body = &request.body;
        write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
        out.write_all(body)
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    for size in [1, 1_000, 16_384, 100_000, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|i| b'a' + u8::try_from(i % 23).unwrap()).collect();
        client.send(format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {size}\r\n\r\n"));
        let sending = client.stream.try_clone().unwrap();
        let sent = body.clone();
        let writer = std::thread::spawn(move || (&sending).write_all(&sent).unwrap());
        assert!(client.answer().body == body, "{size} bytes by length");
        writer.join().unwrap();
        client.send("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n");
        let sending = client.stream.try_clone().unwrap();
        let sent = body.clone();
        let writer = std::thread::spawn(move || {
            let mut sending = &sending;
            for chunk in sent.chunks(7_000) {
                write!(sending, "{:x}\r\n", chunk.len()).unwrap();
                sending.write_all(chunk).unwrap();
                sending.write_all(b"\r\n").unwrap();
            }
            sending.write_all(b"0\r\n\r\n").unwrap();
        });
        assert!(client.answer().body == body, "{size} bytes in chunks");
        writer.join().unwrap();
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn answers_pass_whatever_their_framing() {
    let backend = Backend::with(|request, out| match request.line().split(' ').nth(1).unwrap() {
        "/chunked" => out.write_all(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        ),
        "/close" => {
            out.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")?;
            Err(std::io::ErrorKind::Other.into())
        }
        "/none" => out.write_all(b"HTTP/1.1 204 No Content\r\n\r\n"),
        _ => out.write_all(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    assert_eq!(client.get("/chunked").text(), "abcde");
    assert_eq!(client.get("/close").text(), "until the end");
    assert_eq!(client.get("/none").status(), 204);
    assert_eq!(client.get("/304").status(), 304);
    assert_eq!(client.get("/chunked").text(), "abcde");
}

#[test]
fn http10_clients_get_what_they_understand() {
    let backend = Backend::with(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send("GET / HTTP/1.0\r\nhost: a.test\r\n\r\n");
    let rest = String::from_utf8(client.rest()).unwrap();
    assert!(rest.ends_with("connection: close\r\n\r\nabc"), "{rest}");
    assert!(!rest.contains("transfer-encoding"), "{rest}");
}

#[test]
fn what_no_route_takes_is_answered_here() {
    let backend = Backend::named("one");
    let mut resources = vec![
        listener(),
        resource(route("a", "/a", &[("echo", 1)])),
        resource(route("none", "/none", &[])),
        resource(route("empty", "/empty", &[("empty", 1)])),
    ];
    resources.extend(service("echo", &[backend.address]));
    resources.extend(service("empty", &[]));
    let running = Running::start(resources);
    let mut client = running.connect();
    assert_eq!(client.get("/b").status(), 404);
    assert_eq!(client.get("/ab").status(), 404, "b4: a prefix is whole elements");
    assert_eq!(client.get("/none").status(), 500);
    assert_eq!(client.get("/empty").status(), 503);
    assert_eq!(client.get("/a/x").status(), 200);
    client.send("HEAD /b HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert!(String::from_utf8(client.read_some(12)).unwrap().starts_with("HTTP/1.1 404"));
}

#[test]
fn filters_edit_redirect_and_rewrite() {
    let backend = Backend::with(|_, out| {
        out.write_all(b"HTTP/1.1 200 OK\r\nx-old: 1\r\nx-isthmus-secret: 1\r\ncontent-length: 0\r\n\r\n")
    });
    let edits = |set: &str| HeaderEdits {
        set: vec![("x-set".to_owned(), set.to_owned())],
        add: vec![("x-add".to_owned(), "b".to_owned())],
        remove: vec!["x-old".to_owned()],
    };
    let redirect = Redirect {
        scheme: Some("https".to_owned()),
        hostname: None,
        path: Some(PathRewrite::Prefix("/new".to_owned())),
        port: None,
        status: 301,
    };
    let rewrite = Rewrite {
        hostname: Some("inner.test".to_owned()),
        path: Some(PathRewrite::Prefix("/inner".to_owned())),
    };
    let edited = with_filter(
        with_filter(route("edit", "/edit", &[("echo", 1)]), Filter::RequestHeaders(edits("q"))),
        Filter::ResponseHeaders(edits("r")),
    );
    let mut resources = vec![
        listener(),
        resource(edited),
        resource(with_filter(route("go", "/go", &[]), Filter::Redirect(redirect))),
        resource(with_filter(route("re", "/re", &[("echo", 1)]), Filter::Rewrite(rewrite))),
    ];
    resources.extend(service("echo", &[backend.address]));
    let running = Running::start(resources);
    let mut client = running.connect();
    client.send("GET /edit HTTP/1.1\r\nhost: a.test\r\nx-old: 1\r\nx-add: a\r\nx-set: x\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.values("x-set"), ["r"]);
    assert_eq!(answer.values("x-add"), ["b"]);
    assert_eq!(answer.values("x-old"), [""; 0]);
    assert_eq!(answer.values("x-isthmus-secret"), [""; 0], "b12: ours never leave the edge");
    let answer = client.get("/go/a?b=c");
    assert_eq!(answer.status(), 301);
    assert_eq!(answer.values("location"), ["https://a.test/new/a?b=c"]);
    client.get("/re/x/../y?z");
    let received = backend.received();
    assert_eq!(received[0].values("x-set"), ["q"]);
    assert_eq!(received[0].values("x-add"), ["a", "b"]);
    assert_eq!(received[0].values("x-old"), [""; 0]);
    assert_eq!(received[1].line(), "GET /inner/y?z HTTP/1.1");
    assert_eq!(received[1].values("host"), ["inner.test"]);
}

#[test]
fn b11_b12_a_client_cannot_speak_for_others() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send(
        "GET / HTTP/1.1\r\nhost: a.test\r\nx-forwarded-for: 10.0.0.1\r\nX-Isthmus-Id: 1\r\n\
         X-Envoy-Peer: 1\r\nforwarded: for=1\r\nx-forwarded-client-cert: x\r\nx-mine: 1\r\n\r\n",
    );
    client.answer();
    let received = &backend.received()[0];
    assert_eq!(received.values("x-forwarded-for"), ["127.0.0.1"]);
    for gone in ["x-isthmus-id", "x-envoy-peer", "forwarded", "x-forwarded-client-cert"] {
        assert_eq!(received.values(gone), [""; 0], "{gone}");
    }
    assert_eq!(received.values("x-mine"), ["1"]);
}

#[test]
fn a_client_that_leaves_cancels_the_upstream() {
    let backend = Backend::with(|_, out| {
        // Holds the answer back until the proxy hangs up.
        let mut byte = [0];
        assert_eq!(std::io::Read::read(out, &mut byte).unwrap_or(0), 0);
        Err(std::io::ErrorKind::Other.into())
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    eventually("the request", || !backend.received().is_empty());
    drop(client);
    eventually("the connection's end", || {
        running.proxy().metrics().contains("isthmus_connections_open 0")
    });
}

#[test]
fn expectations_are_met_by_the_backend() {
    let backend = Backend::with(|_, out| out.write_all(ok("done").as_bytes()));
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send("POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    client.send("abc");
    assert_eq!(client.answer().text(), "done");
}
