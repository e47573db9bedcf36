//! Limits hold to the byte.

use isthmus_proxy::http1::{
    BodyDecoder, BodyError, BodyLimits, Framing, HeadError, Limits, Parse, RequestHead, ResponseHead,
};

fn request(limits: Limits, text: &str) -> Result<Parse, HeadError> {
    RequestHead::new(limits).parse(text.as_bytes())
}

#[test]
fn a_head_may_be_as_long_as_the_limit() {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(100));
    let limits = |head| Limits { head, ..Limits::default() };
    assert_eq!(request(limits(text.len()), &text), Ok(Parse::Complete(text.len())));
    assert_eq!(request(limits(text.len() - 1), &text), Err(HeadError::TooLarge));
    let partial = &text[..text.len() - 1];
    assert_eq!(request(limits(text.len()), partial), Ok(Parse::Partial));
    assert_eq!(request(limits(text.len() - 1), partial), Err(HeadError::TooLarge));
    let mut response = ResponseHead::new(limits(64));
    assert_eq!(
        response.parse(format!("HTTP/1.1 200 {}", "a".repeat(60)).as_bytes()),
        Err(HeadError::TooLarge)
    );
}

#[test]
fn a_request_line_may_be_as_long_as_the_limit() {
    let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(50));
    let text = format!("{line}Host: a\r\n\r\n");
    let limits = |start_line| Limits { start_line, ..Limits::default() };
    assert_eq!(request(limits(line.len()), &text), Ok(Parse::Complete(text.len())));
    assert_eq!(request(limits(line.len() - 1), &text), Err(HeadError::TargetTooLong));
    assert_eq!(request(limits(line.len()), &line[..line.len() - 1]), Ok(Parse::Partial));
    assert_eq!(request(limits(line.len() - 2), &line[..line.len() - 1]), Err(HeadError::TargetTooLong));
}

#[test]
fn there_may_be_as_many_fields_as_the_limit() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\n\r\n";
    let limits = |fields| Limits { fields, ..Limits::default() };
    assert_eq!(request(limits(3), text), Ok(Parse::Complete(text.len())));
    assert_eq!(request(limits(2), text), Err(HeadError::TooManyFields));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(256));
    assert_eq!(
        request(limits(10_000), &many),
        Err(HeadError::TooManyFields),
        "256 is the most there is"
    );
}

fn body(limits: BodyLimits, text: &str) -> Result<bool, BodyError> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, limits);
    let mut rest = text.as_bytes();
    while !rest.is_empty() && !decoder.is_done() {
        rest = &rest[decoder.pass(rest)?.consumed..];
    }
    Ok(decoder.is_done())
}

#[test]
fn a8_extensions_and_trailers_may_be_as_long_as_the_limit() {
    let limits = BodyLimits { extension: 4, trailers: 8, trailer_fields: 1 };
    assert_eq!(body(limits, "1;abc\r\na\r\n0;abc\r\n\r\n"), Ok(true));
    assert_eq!(body(limits, "1;abcd\r\na\r\n0\r\n\r\n"), Err(BodyError::ChunkExtension));
    assert_eq!(body(limits, "0\r\nA: b\r\n\r\n"), Ok(true));
    assert_eq!(body(limits, "0\r\nA: bc\r\n\r\n"), Err(BodyError::TrailerTooLarge));
    let wide = BodyLimits { trailers: 100, ..limits };
    assert_eq!(body(wide, "0\r\nA: b\r\nA: b\r\n\r\n"), Err(BodyError::TrailerTooLarge));
}
