//! Heads of HTTP/1.1 as HTTP/2 sends them, and back.

use isthmus_proxy::http1::{
    BodyCoding, Edits, FieldName, InvalidValue, Known, Limits, Parse, Persistence, RequestHead,
    ResponseHead,
};
use isthmus_proxy::http2::{Scheme, read_request, write_request, write_response};
use proptest::prelude::*;

/// The request by HTTP/2, shown as its parts.
fn sent(
    text: &str,
    target: Option<&str>,
    edit: impl Fn(&mut Edits, &RequestHead),
) -> Result<String, InvalidValue> {
    let mut head = RequestHead::new(Limits::default());
    assert_eq!(head.parse(text.as_bytes()), Ok(Parse::Complete(text.len())));
    let mut edits = Edits::default();
    edits.begin_request(head.view(text.as_bytes()), BodyCoding::Same, Persistence::Default);
    edit(&mut edits, &head);
    let view = head.view(text.as_bytes());
    let request = write_request(view, &edits, target.map(str::as_bytes), Scheme::Https)?;
    let mut out = format!("{} {}", request.method(), request.uri());
    for (name, value) in request.headers() {
        out.push_str(&format!("\n{name}: {}", value.as_bytes().escape_ascii()));
    }
    Ok(out)
}

fn plain(text: &str) -> Result<String, InvalidValue> {
    sent(text, None, |_, _| {})
}

#[test]
fn a_request_leaves_its_connection_behind() {
    let text = "POST /a?b HTTP/1.1\r\nHost: a.test:8080\r\nConnection: x-own, TE, close\r\nX-Own: 1\r\n\
        TE: deflate, trailers\r\nTransfer-Encoding: chunked\r\nX-Kept: 2\r\nCookie: a; b\r\n\r\n";
    assert_eq!(
        plain(text).unwrap(),
        "POST https://a.test:8080/a?b\nx-kept: 2\ncookie: a; b\nte: trailers"
    );
    let length = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(plain(length).unwrap(), "POST https://a/\ncontent-length: 5");
}

#[test]
fn a_upgrade_has_no_place_in_http_2() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n\r\n";
    assert_eq!(plain(text).unwrap(), "GET https://a/");
}

#[test]
fn a11_the_authority_is_the_target_s() {
    assert_eq!(
        plain("GET http://a.test/x HTTP/1.1\r\nHost: b\r\n\r\n").unwrap(),
        "GET https://a.test/x"
    );
    assert_eq!(
        plain("GET http://a.test?x HTTP/1.1\r\nHost: b\r\n\r\n").unwrap(),
        "GET https://a.test/?x"
    );
    assert_eq!(plain("OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n").unwrap(), "OPTIONS https://b*");
    assert_eq!(plain("CONNECT a:1 HTTP/1.1\r\nHost: b\r\n\r\n").unwrap(), "CONNECT a:1");
    assert_eq!(plain("GET / HTTP/1.0\r\n\r\n"), Err(InvalidValue), "somebody has to set a host");
}

#[test]
fn edits_and_a_new_target_apply() {
    let text = "GET /a?b HTTP/1.1\r\nHost: a\r\nA: 1\r\n\r\n";
    let edit = |edits: &mut Edits, head: &RequestHead| {
        let fields = head.view(text.as_bytes()).fields();
        edits.set(fields, Known::Host.into(), b"c.test").unwrap();
        edits.remove(fields, FieldName::new(b"a").unwrap());
        edits.add(FieldName::new(b"X-New").unwrap(), b"2").unwrap();
    };
    assert_eq!(sent(text, Some("/c?d"), edit).unwrap(), "GET https://c.test/c?d\nx-new: 2");
    for bad in ["", "x", "*", "/a b", "/a#b", "http://x/"] {
        assert_eq!(sent(text, Some(bad), |_, _| {}), Err(InvalidValue), "{bad:?}");
    }
}

#[test]
fn an_answer_leaves_its_connection_behind() {
    let text = "HTTP/1.1 200 OK\r\nConnection: close, x-own\r\nX-Own: a\r\nKeep-Alive: 5\r\n\
        Transfer-Encoding: chunked\r\nX-Kept: \u{e9}\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    let mut head = ResponseHead::new(Limits::default());
    head.parse(text.as_bytes()).unwrap();
    let mut edits = Edits::default();
    edits.begin_response(head.view(text.as_bytes()), BodyCoding::Same, Persistence::Default);
    let response = write_response(head.view(text.as_bytes()), &edits);
    assert_eq!(response.status(), 200);
    let fields: Vec<_> = response.headers().iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    assert_eq!(fields, [("x-kept", &b"\xc3\xa9"[..]), ("set-cookie", b"a"), ("set-cookie", b"b")]);
}

proptest! {
    /// What we write for HTTP/2 we read back as the same request.
    #[test]
    fn a_request_comes_back_as_it_went(
        path in "/[!$-;=@-_a-z|~]{0,20}",
        query in proptest::option::of("[!$-;=?-~]{0,20}"),
        host in "[a-z0-9.-]{1,20}(:[0-9]{1,5})?",
        fields in prop::collection::vec(("[a-zA-Z0-9_-]{1,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..10),
        length in proptest::option::of(1u32..1000),
    ) {
        let query = query.map(|q| format!("?{q}")).unwrap_or_default();
        let mut text = format!("PUT {path}{query} HTTP/1.1\r\nHost: {host}\r\n");
        let fields: Vec<_> = fields.into_iter().map(|(name, value)| (format!("x-{name}"), value)).collect();
        for (name, value) in &fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        match length {
            Some(length) => text.push_str(&format!("Content-Length: {length}\r\n\r\n")),
            None => text.push_str("Transfer-Encoding: chunked\r\n\r\n"),
        }
        let mut head = RequestHead::new(Limits::default());
        prop_assert_eq!(head.parse(text.as_bytes()), Ok(Parse::Complete(text.len())));
        let mut edits = Edits::default();
        edits.begin_request(head.view(text.as_bytes()), BodyCoding::Same, Persistence::Default);
        let Ok(request) = write_request(head.view(text.as_bytes()), &edits, None, Scheme::Http) else {
            // The http crate knows fewer hosts than RFC 3986.
            return Ok(());
        };
        let mut again = RequestHead::new(Limits::default());
        let mut written = Vec::new();
        prop_assert_eq!(read_request(&request, false, &mut written, &mut again), Ok(()));
        let (before, after) = (head.view(text.as_bytes()), again.view(&written));
        prop_assert_eq!((before.path(), before.query()), (after.path(), after.query()));
        prop_assert_eq!(before.authority(), after.authority());
        prop_assert_eq!(before.framing(), after.framing());
        // Maps keep the order of fields of one name only.
        for (name, _) in &fields {
            let name = FieldName::new(name.as_bytes()).unwrap();
            let values = |request: isthmus_proxy::http1::Request<'_>| {
                request.fields().all(name).map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            prop_assert_eq!(values(before), values(after));
        }
    }
}
