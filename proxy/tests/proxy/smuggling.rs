//! What two implementations could read in two ways never reaches a backend.

use std::io::Write;

use crate::support::{Backend, Running, simple};

fn refused(bytes: &[u8]) -> (u16, usize) {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let status = status(&running, bytes);
    (status, backend.received().len())
}

/// The status that answers, when the connection is closed behind it.
fn status(running: &Running, bytes: &[u8]) -> u16 {
    let mut client = running.connect();
    client.send(bytes);
    let answer = client.answer();
    assert!(client.is_closed(), "the connection is closed after {}", answer.status());
    answer.status()
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: a.test\r\n{fields}\r\n\r\n{body}").into_bytes()
}

#[test]
fn a1_length_and_transfer_encoding_are_refused_together() {
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a.test\r\n\r\n";
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
    ] {
        assert_eq!(refused(&post(fields, smuggled)), (400, 0), "{fields}");
    }
}

#[test]
fn a2_a3_a_length_is_said_once_and_is_a_number() {
    for fields in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length:",
        "content-length: +5",
        "content-length: -1",
        "content-length: 99999999999999999999",
        "content-length: 05",
    ] {
        assert_eq!(refused(&post(fields, "hello")), (400, 0), "{fields}");
    }
}

#[test]
fn a4_only_chunked_is_a_transfer_encoding() {
    for (fields, status) in [
        ("transfer-encoding: xchunked", 400),
        ("transfer-encoding: chunked, identity", 400),
        ("transfer-encoding: \x0bchunked", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
        ("transfer-encoding: gzip, chunked", 501),
    ] {
        assert_eq!(refused(&post(fields, "0\r\n\r\n")), (status, 0), "{fields:?}");
    }
    let old = b"POST / HTTP/1.0\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(old), (400, 0));
}

#[test]
fn a5_a6_a7_field_lines_are_strict() {
    for fields in ["x : y", ": y", "x\0: y", "x: a\rb", "x: a\r\n folded", "x: a\ny: b"] {
        assert_eq!(refused(&post(fields, "")), (400, 0), "{fields:?}");
    }
}

#[test]
fn a7_a8_broken_chunks_reach_no_backend_as_a_whole_message() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "-5\r\nhello\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "0\r\nx: y\nz: w\r\n\r\n",
    ] {
        let backend = Backend::named("one");
        let running = simple(&[backend.address]);
        let mut client = running.connect();
        client.send(post("transfer-encoding: chunked", body));
        let rest = String::from_utf8(client.rest()).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{body:?}: {rest}");
        assert_eq!(backend.received().len(), 0, "{body:?}");
    }
}

#[test]
fn a11_the_authority_of_the_target_wins() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    client.send("GET http://b.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    let received = &backend.received()[0];
    assert_eq!(received.line(), "GET /x HTTP/1.1");
    assert_eq!(received.values("host"), ["b.test"]);
}

#[test]
fn a12_a16_malformed_request_lines_are_refused() {
    for line in ["GET /x#y HTTP/1.1", "GET  / HTTP/1.1", "GET /\tHTTP/1.1", "GET /", "get / HTTP/1.1"] {
        let status = refused(format!("{line}\r\nhost: a.test\r\n\r\n").as_bytes());
        assert!(matches!(status, (400 | 501, 0)), "{line:?}: {status:?}");
    }
    assert_eq!(refused("\r\n".repeat(10_000).as_bytes()), (400, 0));
}

#[test]
fn a13_interim_answers_are_counted() {
    let backend = Backend::with(|_, out| {
        for _ in 0..100 {
            out.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")?;
        }
        Ok(())
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    let mut answer = client.get("/");
    let mut interim = 0;
    while answer.status() == 103 {
        interim += 1;
        answer = client.answer();
    }
    assert_eq!(answer.status(), 502);
    assert!(interim <= 16, "{interim}");
}

#[test]
fn a15_what_follows_an_answer_is_never_another_requests() {
    let backend = Backend::with(|_, out| {
        out.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
        )
    });
    let running = simple(&[backend.address]);
    let mut client = running.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(backend.connections(), 5, "none is used again");
}

#[test]
fn b1_b2_b3_b5_paths_have_one_reading() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    for path in ["/a%2f..%2fb", "/a%5cb", "/a\\b", "/..;/a", "/.;x/a", "/%00", "/../a", "/%c0%af"] {
        let mut client = running.connect();
        assert_eq!(client.get(path).status(), 400, "{path}");
    }
    assert_eq!(backend.received().len(), 0);
    let mut client = running.connect();
    for (path, seen) in [
        ("//admin", "/admin"),
        ("/./admin", "/admin"),
        ("/a/../admin", "/admin"),
        ("/%2e%2e/../a", ""),
        ("/%61dmin", "/admin"),
        ("/a%252Fb", "/a%252Fb"),
    ] {
        let answer = client.get(path);
        if seen.is_empty() {
            assert_eq!(answer.status(), 400, "{path}");
            continue;
        }
        let received = backend.received();
        assert_eq!(received.last().unwrap().line(), format!("GET {seen} HTTP/1.1"), "{path}");
    }
}

#[test]
fn b8_hosts_have_one_reading() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    for host in ["a.test:99999", "a..test", "[::1%25eth0]", "a@b.test", ""] {
        let answer = running.connect().send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).answer();
        assert_eq!(answer.status(), 400, "{host}");
    }
    assert_eq!(backend.received().len(), 0);
}
