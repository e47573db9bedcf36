//! What is written for the next hop.

use expect_test::{Expect, expect};
use isthmus_proxy::http1::{
    BodyCoding, Edits, FieldName, HeadError, Known, Limits, Parse, Persistence, Request, RequestHead,
    ResponseHead,
};

/// Asserts that `out` is a head that means what `request` means, without what is about the connection.
pub fn same_but_hop_by_hop(request: Request<'_>, out: &[u8]) {
    let mut again = RequestHead::new(Limits { head: 1 << 20, ..Limits::default() });
    match again.parse(out) {
        Ok(Parse::Complete(len)) => assert_eq!(len, out.len()),
        // HTTP/1.0 without a host: it stays unsaid until someone sets it.
        Err(HeadError::HostInvalid) if request.authority().is_none() => return,
        other => panic!("{other:?}: {}", out.escape_ascii()),
    }
    let written = again.view(out);
    assert_eq!(written.method_bytes(), request.method_bytes());
    assert_eq!((written.path(), written.query()), (request.path(), request.query()));
    assert_eq!(written.authority(), request.authority());
    assert_eq!(written.framing(), request.framing());
    let connection =
        [Known::Connection, Known::KeepAlive, Known::Te, Known::Upgrade, Known::ProxyConnection];
    assert!(connection.into_iter().all(|name| !written.fields().has(name)));
    // The host may be the target's now, and the framing, compared above, is written in one way.
    let as_before = |known| !matches!(known, Known::Host | Known::TransferEncoding);
    for field in written.fields().iter().filter(|f| as_before(f.known)) {
        assert!(request.fields().iter().any(|old| old == field), "{field:?} is new");
    }
}

fn request(
    text: &str,
    body: BodyCoding,
    option: Persistence,
    edit: impl Fn(&mut Edits, Request<'_>),
) -> String {
    let mut head = RequestHead::new(Limits::default());
    assert_eq!(head.parse(text.as_bytes()), Ok(Parse::Complete(text.len())));
    let mut edits = Edits::default();
    edits.begin_request(head.view(text.as_bytes()), body, option);
    edit(&mut edits, head.view(text.as_bytes()));
    let mut out = Vec::new();
    edits.write_request(head.view(text.as_bytes()), None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn response(text: &str, body: BodyCoding, option: Persistence) -> String {
    let mut head = ResponseHead::new(Limits::default());
    assert_eq!(head.parse(text.as_bytes()), Ok(Parse::Complete(text.len())));
    let mut edits = Edits::default();
    edits.begin_response(head.view(text.as_bytes()), body, option);
    let mut out = Vec::new();
    edits.write_response(head.view(text.as_bytes()), &mut out);
    String::from_utf8(out).unwrap()
}

/// The head with its line ends as a text file has them.
fn lines(head: &str) -> String {
    let text = head.replace("\r\n", "\n");
    assert_eq!(text.replace('\n', "\r\n"), head, "there is a bare line end");
    text
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&lines(&request(text, BodyCoding::Same, Persistence::Default, |_, _| {})));
}

fn name(text: &str) -> FieldName<'_> {
    FieldName::new(text.as_bytes()).unwrap()
}

#[test]
fn what_is_about_the_connection_stays_behind() {
    check(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Own\r\nKeep-Alive: 5\r\nX-Own: 1\r\nA: b\r\n\
         TE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy-Connection: close\r\nProxy: x\r\n\r\n",
        &expect![[r"
            GET / HTTP/1.1
            Host: a
            A: b

        "]],
    );
}

#[test]
fn b13_connection_options_take_away_nothing_that_is_end_to_end() {
    check(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: host, Authorization, x-forwarded-for, X-Forwarded-Tenant, \
         x-own, cookie\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Tenant: t\r\n\
         X-Own: 1\r\nx-own: 2\r\nCookie: a\r\n\r\n",
        &expect![[r"
            GET / HTTP/1.1
            Host: a
            Authorization: x
            X-Forwarded-For: 1.2.3.4
            X-Forwarded-Tenant: t
            Cookie: a

        "]],
    );
}

#[test]
fn b13_connection_options_take_away_no_framing() {
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n",
        &expect![[r"
            POST / HTTP/1.1
            Host: a
            Content-Length: 5

        "]],
    );
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n",
        &expect![[r"
            POST / HTTP/1.1
            Host: a
            Transfer-Encoding: chunked

        "]],
    );
}

#[test]
fn a11_the_authority_of_an_absolute_form_becomes_the_host() {
    check(
        "GET http://a.test?x HTTP/1.1\r\nA: b\r\nHost: b.test\r\n\r\n",
        &expect![[r"
            GET /?x HTTP/1.1
            host: a.test
            A: b

        "]],
    );
}

#[test]
fn an_older_client_is_spoken_for_in_http_1_1() {
    check(
        "GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
        &expect![[r"
            GET /a HTTP/1.1
            Host: a

        "]],
    );
}

#[test]
fn an_older_client_that_names_no_host_is_forwarded_with_an_empty_one() {
    check(
        "GET /a HTTP/1.0\r\nA: b\r\n\r\n",
        &expect![[r"
            GET /a HTTP/1.1
            host: 
            A: b

        "]],
    );
}

#[test]
fn leading_empty_lines_are_not_forwarded() {
    check(
        "\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        &expect![[r"
            GET /a HTTP/1.1
            Host: a

        "]],
    );
}

#[test]
fn edits_apply_in_order() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\n\r\n";
    let out = request(text, BodyCoding::Same, Persistence::Close, |edits, request| {
        let fields = request.fields();
        edits.add(name("A"), b"5").unwrap();
        edits.set(fields, name("b"), b"6").unwrap();
        edits.set(fields, name("host"), b"b.test").unwrap();
        edits.add(name("X-New"), b"").unwrap();
        edits.add(name("X-New"), b"7").unwrap();
        edits.remove(fields, name("a"));
        let kept: Vec<_> = edits.kept(fields).map(|f| (f.name.to_vec(), f.value.to_vec())).collect();
        assert_eq!(kept.len(), 5, "{kept:?}");
        assert!(kept.contains(&(b"X-New".to_vec(), b"7".to_vec())));
    });
    expect![[r"
        GET / HTTP/1.1
        host: b.test
        C: 4
        b: 6
        X-New: 
        X-New: 7
        connection: close

    "]]
    .assert_eq(&lines(&out));
}

#[test]
fn a14_a_value_that_would_end_its_line_is_refused() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    request(text, BodyCoding::Same, Persistence::Default, |edits, request| {
        for bad in ["a\r\nb: c", "a\n", "\0", "a\rb", "\x7f"] {
            assert!(edits.add(name("x"), bad.as_bytes()).is_err(), "{bad:?}");
            assert!(edits.set(request.fields(), name("host"), bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert_eq!(edits.kept(request.fields()).count(), 1);
        for bad in ["x", "", "/a b", "/a\r\n", "/#a"] {
            let written = edits.write_request(request, Some(bad.as_bytes()), &mut Vec::new());
            assert!(written.is_err(), "{bad:?}");
        }
    });
}

#[test]
fn a_rewritten_target_replaces_path_and_query() {
    let text = "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut head = RequestHead::new(Limits::default());
    head.parse(text.as_bytes()).unwrap();
    let mut edits = Edits::default();
    edits.begin_request(head.view(text.as_bytes()), BodyCoding::Same, Persistence::Default);
    let mut out = Vec::new();
    edits.write_request(head.view(text.as_bytes()), Some(b"/c?d"), &mut out).unwrap();
    assert_eq!(out, b"GET /c?d HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_body_can_be_framed_anew() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let with = |body| request(text, body, Persistence::Default, |_, _| {});
    assert_eq!(
        with(BodyCoding::Chunked),
        "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        with(BodyCoding::Length(120)),
        "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 120\r\n\r\n"
    );
    assert_eq!(with(BodyCoding::Length(0)), "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(with(BodyCoding::Unframed), "POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(with(BodyCoding::Described), text);
}

#[test]
fn a4_the_coding_is_forwarded_in_the_case_that_everybody_knows() {
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cHuNkEd\r\n\r\n",
        &expect![[r"
            POST / HTTP/1.1
            Host: a
            transfer-encoding: chunked

        "]],
    );
}

#[test]
fn an_upgrade_is_forwarded_when_asked_to() {
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, x-a\r\nX-A: b\r\n\r\n";
    expect![[r"
        GET / HTTP/1.1
        Host: a
        Upgrade: websocket
        connection: upgrade

    "]]
    .assert_eq(&lines(&request(text, BodyCoding::Same, Persistence::Upgrade, |_, _| {})));
}

#[test]
fn a_response_is_forwarded_in_http_1_1() {
    let old = "HTTP/1.0 404 Not here\r\nConnection: keep-alive\r\nA: b\r\n\r\n";
    assert_eq!(
        response(old, BodyCoding::Chunked, Persistence::Default),
        "HTTP/1.1 404 Not here\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let short = "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(
        response(short, BodyCoding::Same, Persistence::Close),
        "HTTP/1.1 200 \r\nContent-Length: 2\r\nconnection: close\r\n\r\n"
    );
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(response(plain, BodyCoding::Same, Persistence::Default), plain);
}

#[test]
fn a_response_without_body_may_describe_one() {
    let head = "HTTP/1.1 304 Not Modified\r\nContent-Length: 20\r\nEtag: a\r\n\r\n";
    assert_eq!(response(head, BodyCoding::Described, Persistence::Default), head);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        response(chunked, BodyCoding::Described, Persistence::Default),
        "HTTP/1.1 200 OK\r\n\r\n"
    );
    let stale = "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        response(stale, BodyCoding::Same, Persistence::Default),
        "HTTP/1.1 304 Not Modified\r\n\r\n"
    );
    for status in ["100 Continue", "103 Early Hints", "204 No Content"] {
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let head = format!("HTTP/1.1 {status}\r\n{framing}\r\nA: b\r\n\r\n");
            let out = response(&head, BodyCoding::Same, Persistence::Default);
            assert_eq!(out, format!("HTTP/1.1 {status}\r\nA: b\r\n\r\n"));
        }
    }
}
