//! What comes by HTTP/2 becomes a head of HTTP/1.1, or is refused.

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use isthmus_proxy::http1::{
    BodyError, BodyLimits, Framing, HeadError, Limits, Method, RequestHead, ResponseHead,
};
use isthmus_proxy::http2::{Trailers, read_request, read_response};

fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri.parse::<Uri>().unwrap());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn read(request: &Request<()>, ended: bool) -> Result<String, HeadError> {
    let mut head = RequestHead::new(Limits::default());
    let mut text = b"left over".to_vec();
    read_request(request, ended, &mut text, &mut head)?;
    assert_eq!(head.view(&text).head_len(), text.len());
    Ok(String::from_utf8(text).unwrap())
}

fn get(uri: &str, fields: &[(&str, &str)]) -> Result<String, HeadError> {
    read(&request("GET", uri, fields), true)
}

#[test]
fn a_request_becomes_a_head() {
    let fields = [
        ("user-agent", "x"),
        ("cookie", "a=b"),
        ("accept", "*/*"),
        ("cookie", "c=d"),
        ("te", "trailers"),
    ];
    assert_eq!(
        get("http://a.test/x?y", &fields).unwrap(),
        "GET /x?y HTTP/1.1\r\nhost: a.test\r\nuser-agent: x\r\naccept: */*\r\nte: trailers\r\n\
         cookie: a=b; c=d\r\n\r\n"
    );
}

#[test]
fn a_body_of_unknown_length_is_chunked() {
    let post = request("POST", "http://a/", &[]);
    assert_eq!(
        read(&post, false).unwrap(),
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(read(&post, true).unwrap(), "POST / HTTP/1.1\r\nhost: a\r\n\r\n");
    let known = request("POST", "http://a/", &[("content-length", "5")]);
    assert_eq!(read(&known, false).unwrap(), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(read(&known, true), Err(HeadError::LengthInvalid));
}

#[test]
fn b14_a_path_begins_with_a_slash() {
    let with_path = |method: &str, path: &'static str| {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static(path));
        let mut request = request(method, "/", &[("host", "a")]);
        *request.uri_mut() = Uri::from_parts(parts).unwrap();
        read(&request, true)
    };
    assert_eq!(with_path("OPTIONS", "*").unwrap(), "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(with_path("GET", "*"), Err(HeadError::Target));
    assert_eq!(with_path("GET", "?x"), Err(HeadError::Target));
    assert!(with_path("GET", "//x").is_ok());
    let no_path = request("GET", "a.test", &[("host", "a.test")]);
    assert_eq!(read(&no_path, true), Err(HeadError::Target));
}

#[test]
fn b15_authority_and_host_are_one() {
    let host = |host: &str| get("http://a.test/", &[("host", host)]);
    assert!(host("a.test").unwrap().starts_with("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"));
    assert!(host("A.TEST").is_ok());
    assert_eq!(host("b.test"), Err(HeadError::HostConflict));
    assert_eq!(host("a.test:80"), Err(HeadError::HostConflict));
    assert_eq!(host(""), Err(HeadError::HostConflict));
    assert_eq!(get("/", &[("host", "a"), ("host", "a")]), Err(HeadError::HostRepeated));
    assert_eq!(get("/", &[]), Err(HeadError::HostMissing));
    assert_eq!(get("/", &[("host", "")]), Err(HeadError::HostInvalid));
    assert_eq!(get("http://me@a.test/", &[]), Err(HeadError::HostInvalid));
    assert_eq!(get("/", &[("host", "a.test")]).unwrap(), "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
}

#[test]
fn fields_about_a_connection_are_refused() {
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        assert_eq!(
            get("http://a/", &[(name, value)]),
            Err(HeadError::ConnectionField),
            "{name}: {value}"
        );
    }
}

#[test]
fn the_strict_reader_has_the_last_word() {
    assert_eq!(get("http://a/", &[("content-length", "+5")]), Err(HeadError::LengthInvalid));
    let twice = [("content-length", "0"), ("content-length", "0")];
    assert_eq!(get("http://a/", &twice), Err(HeadError::LengthRepeated));
    assert_eq!(read(&request("get", "http://a/", &[]), true), Err(HeadError::Method));
    assert_eq!(get("http://a/", &[("expect", "x")]), Err(HeadError::Expectation));
    assert_eq!(get("http://a/\u{e9}", &[]), Err(HeadError::Target));
    let long = "a".repeat(20_000);
    assert_eq!(get(&format!("http://a/{long}"), &[]), Err(HeadError::TargetTooLong));
    assert_eq!(get("http://a/", &[("x", &"a".repeat(70_000))]), Err(HeadError::TooLarge));
    let many = vec![("x", "a"); 200];
    assert_eq!(get("http://a/", &many), Err(HeadError::TooManyFields));
}

#[test]
fn connect_has_an_authority_and_no_path() {
    let connect = |uri: &str, ended| read(&request("CONNECT", uri, &[]), ended);
    assert_eq!(
        connect("a.test:443", false).unwrap(),
        "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n"
    );
    assert_eq!(connect("a.test", false), Err(HeadError::Target));
    assert_eq!(connect("http://a.test:443/x", false), Err(HeadError::Target));
    let mut extended = request("CONNECT", "http://a/", &[]);
    extended.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    assert_eq!(read(&extended, false), Err(HeadError::Method));
}

fn answer(
    status: u16,
    fields: &[(&str, &str)],
    method: Method,
    ended: bool,
) -> Result<(String, Framing), HeadError> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    let mut head = ResponseHead::new(Limits::default());
    let mut text = Vec::new();
    read_response(&response.body(()).unwrap(), method, ended, &mut text, &mut head)?;
    let framing = head.view(&text).framing(method, false)?;
    Ok((String::from_utf8(text).unwrap(), framing))
}

#[test]
fn an_answer_becomes_a_head() {
    let (text, framing) = answer(200, &[("content-type", "x")], Method::Get, false).unwrap();
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-type: x\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(framing, Framing::Chunked);
    let framed = |status, fields: &[(&str, &str)], method, ended| {
        answer(status, fields, method, ended).unwrap().1
    };
    assert_eq!(framed(200, &[("content-length", "5")], Method::Get, false), Framing::Length(5));
    assert_eq!(framed(200, &[], Method::Get, true), Framing::None);
    assert_eq!(framed(999, &[], Method::Get, false), Framing::Chunked);
    let (text, framing) = answer(200, &[("content-length", "5")], Method::Head, true).unwrap();
    assert_eq!(
        (text.as_str(), framing),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::None)
    );
    let (text, framing) = answer(204, &[], Method::Get, true).unwrap();
    assert_eq!((text.as_str(), framing), ("HTTP/1.1 204 No Content\r\n\r\n", Framing::None));
    let (text, framing) = answer(103, &[("link", "x")], Method::Get, false).unwrap();
    assert_eq!((text.as_str(), framing), ("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", Framing::None));
}

#[test]
fn an_answer_is_judged_as_strictly() {
    assert_eq!(answer(101, &[], Method::Get, false), Err(HeadError::UnaskedSwitch));
    assert_eq!(
        answer(200, &[("connection", "close")], Method::Get, true),
        Err(HeadError::ConnectionField)
    );
    assert_eq!(
        answer(200, &[("content-length", "5")], Method::Get, true),
        Err(HeadError::LengthInvalid)
    );
}

#[test]
fn c8_trailers_are_filtered_and_bounded() {
    let map = |fields: &[(&'static str, &'static str)]| {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(pair).collect::<http::HeaderMap>()
    };
    let all = map(&[
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("x-a", " b "),
        ("host", "c"),
        ("te", "trailers"),
    ]);
    let trailers = Trailers::read(&all, &BodyLimits::default()).unwrap();
    let fields: Vec<_> = trailers.view().iter().map(|f| (f.name, f.value)).collect();
    assert_eq!(fields, [(&b"grpc-status"[..], &b"0"[..]), (b"x-a", b"b")]);
    let few = BodyLimits { trailer_fields: 4, ..BodyLimits::default() };
    assert_eq!(Trailers::read(&all, &few).map(|_| ()), Err(BodyError::TrailerTooLarge));
    let small = BodyLimits { trailers: 20, ..BodyLimits::default() };
    assert_eq!(Trailers::read(&all, &small).map(|_| ()), Err(BodyError::TrailerTooLarge));
}
