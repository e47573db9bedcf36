//! Heads of responses, and how their bodies are framed.

use expect_test::{Expect, expect};
use isthmus_proxy::http1::{Framing, HeadError, Limits, Method, Parse, ResponseHead};

fn parse(text: &str) -> Result<ResponseHead, HeadError> {
    let mut head = ResponseHead::new(Limits::default());
    match head.parse(text.as_bytes())? {
        Parse::Complete(len) => assert_eq!(len, text.len()),
        Parse::Partial => panic!("{text:?} is not complete"),
    }
    Ok(head)
}

fn framing(text: &str, method: Method, websocket: bool) -> Result<Framing, HeadError> {
    parse(text)?.view(text.as_bytes()).framing(method, websocket)
}

fn refused(text: &str, error: HeadError) {
    assert_eq!(parse(text).map(|_| ()), Err(error), "{text:?}");
}

#[test]
fn a_status_line_is_read() {
    let text = "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n";
    let head = parse(text).unwrap();
    let view = head.view(text.as_bytes());
    assert_eq!((view.status(), view.reason(), view.is_persistent()), (404, &b"Not Found"[..], true));
    for text in ["HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.0 999 x\r\n\r\n"] {
        assert!(parse(text).is_ok(), "{text:?}");
    }
    let old = "HTTP/1.0 200 OK\r\n\r\n";
    assert!(!parse(old).unwrap().view(old.as_bytes()).is_persistent());
}

#[test]
fn a16_what_is_no_status_line_is_refused() {
    for bad in [
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1",
        "HTTP/1.1 200\tOK",
        "200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x7fK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
    ] {
        let parsed = parse(&format!("{bad}\r\n\r\n")).map(|_| ());
        assert!(
            matches!(parsed, Err(HeadError::StatusLine | HeadError::BlankLines)),
            "{bad:?}: {parsed:?}"
        );
    }
    refused("HTTP/2.0 200 OK\r\n\r\n", HeadError::Version);
    refused("HTTP/1.1 200 OK\n\r\n", HeadError::LineEnd);
}

#[test]
fn a1_to_a7_a_response_is_judged_as_strictly_as_a_request() {
    let with = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    for (fields, error) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", HeadError::LengthAndEncoding),
        ("Content-Length: 5\r\nContent-Length: 5", HeadError::LengthRepeated),
        ("Content-Length: 5, 5", HeadError::LengthInvalid),
        ("Content-Length: +5", HeadError::LengthInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", HeadError::EncodingRepeated),
        ("Transfer-Encoding: gzip, chunked", HeadError::EncodingUnsupported),
        ("Transfer-Encoding: identity", HeadError::EncodingInvalid),
        ("A : b", HeadError::FieldName),
        (": b", HeadError::FieldName),
        ("A: b\0", HeadError::FieldValue),
        ("A: b\rc", HeadError::LineEnd),
        ("A: b\r\n c", HeadError::Fold),
        ("A: b\nC: d", HeadError::LineEnd),
    ] {
        refused(&with(fields), error);
    }
    refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::EncodingInHttp10);
}

fn table(expected: &Expect) {
    let heads = [
        ("length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("neither", "HTTP/1.1 200 OK\r\n\r\n"),
        ("100", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"),
        ("103", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("204", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("404", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"),
    ];
    let mut out = String::new();
    for (name, head) in heads {
        out.push_str(&format!("{name:9}"));
        for method in [Method::Get, Method::Head, Method::Connect] {
            let framing =
                framing(head, method, false).map_or_else(|e| e.to_string(), |f| format!("{f:?}"));
            out.push_str(&format!(" {framing:11}"));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    expected.assert_eq(&out);
}

#[test]
fn a_body_is_framed_as_rfc_9112_section_6_3_says() {
    // Answers to GET, HEAD and CONNECT.
    table(&expect![[r"
        length    Length(5)   None        Tunnel
        length 0  None        None        Tunnel
        chunked   Chunked     None        Tunnel
        neither   UntilClose  None        Tunnel
        100       None        None        None
        103       None        None        None
        204       None        None        None
        304       None        None        None
        404       Length(5)   None        Length(5)
    "]]);
}

#[test]
fn a10_only_101_that_was_asked_for_makes_a_tunnel() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(framing(switch, Method::Get, true), Ok(Framing::Tunnel));
    assert_eq!(framing(switch, Method::Get, false), Err(HeadError::UnaskedSwitch));
    let other = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    assert_eq!(framing(other, Method::Get, true), Err(HeadError::UnaskedSwitch));
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(framing(ok, Method::Get, true), Ok(Framing::Length(2)));
}

#[test]
fn a13_interim_answers_are_told_from_final_ones() {
    let interim = |text: &str| parse(text).unwrap().view(text.as_bytes()).is_interim();
    assert!(interim("HTTP/1.1 100 Continue\r\n\r\n"));
    assert!(interim("HTTP/1.1 103 Early Hints\r\n\r\n"));
    assert!(!interim("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    assert!(!interim("HTTP/1.1 200 OK\r\n\r\n"));
}

#[test]
fn fragments_of_a_response_change_nothing() {
    let text = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nA: \xe9\t b \r\n\r\nhello";
    let mut whole = ResponseHead::new(Limits::default());
    let complete = whole.parse(text);
    let Ok(Parse::Complete(len)) = complete else { panic!("{complete:?}") };
    assert_eq!(&text[len..], b"hello");
    let mut head = ResponseHead::new(Limits::default());
    for end in 0..len {
        assert_eq!(head.parse(&text[..end]), Ok(Parse::Partial), "at {end}");
    }
    assert_eq!(head.parse(&text[..len]), complete);
    let fields = |head: &ResponseHead| {
        head.view(text).fields().iter().map(|f| format!("{f:?}")).collect::<Vec<_>>()
    };
    assert_eq!(fields(&head), fields(&whole));
    assert_eq!(fields(&head).len(), 3);
}
