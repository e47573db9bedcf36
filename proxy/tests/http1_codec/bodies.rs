//! Bodies: every framing, passing on and decoding, trailers, and what is written.

use isthmus_proxy::http1::{
    BodyDecoder, BodyError, BodyLimits, Framing, Known, write_chunk, write_end, write_trailer,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::property::{codec_chunked, fragments};
use crate::reference::Body;

/// What `pass` forwards of a chunked body that arrives in fragments, completed by the trailer section.
fn passed(fragments: &[&[u8]]) -> Result<Vec<u8>, BodyError> {
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let mut out = Vec::new();
    for fragment in fragments {
        let mut rest = *fragment;
        while !rest.is_empty() && !decoder.is_done() {
            let piece = decoder.pass(rest)?;
            out.extend_from_slice(&rest[piece.data]);
            rest = &rest[piece.consumed..];
        }
    }
    decoder.end_of_input()?;
    out.extend_from_slice(decoder.trailer_section());
    Ok(out)
}

#[test]
fn a_length_ends_a_body() {
    let mut decoder = BodyDecoder::new(Framing::Length(5), BodyLimits::default());
    let piece = decoder.decode(b"hel").unwrap();
    assert_eq!((piece.consumed, piece.data, piece.ended), (3, 0..3, false));
    assert_eq!(decoder.end_of_input(), Err(BodyError::Incomplete));
    let piece = decoder.pass(b"lo, and more").unwrap();
    assert_eq!((piece.consumed, piece.data, piece.ended), (2, 0..2, true));
    assert_eq!(decoder.end_of_input(), Ok(()));
    let after = decoder.decode(b"more").unwrap();
    assert_eq!((after.consumed, after.ended), (0, true));
}

#[test]
fn the_connection_ends_a_body_that_nothing_else_ends() {
    let mut decoder = BodyDecoder::new(Framing::UntilClose, BodyLimits::default());
    assert_eq!(decoder.decode(b"hello").unwrap().data, 0..5);
    assert!(!decoder.is_done());
    assert_eq!(decoder.end_of_input(), Ok(()));
    assert!(decoder.is_done());
}

#[test]
fn no_body_is_done_at_once() {
    let mut decoder = BodyDecoder::new(Framing::None, BodyLimits::default());
    assert!(decoder.is_done());
    assert_eq!(decoder.decode(b"GET").unwrap().consumed, 0);
}

#[test]
fn a15_bytes_behind_a_body_are_not_taken() {
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let input = b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let mut rest = &input[..];
    while !decoder.is_done() {
        rest = &rest[decoder.pass(rest).unwrap().consumed..];
    }
    assert_eq!(rest, b"HTTP/1.1 200 OK\r\n\r\n");
}

#[test]
fn a_chunked_body_is_passed_on_in_one_run() {
    let input = b"5\r\nhello\r\n0\r\n\r\nnext";
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let piece = decoder.pass(input).unwrap();
    assert_eq!((piece.consumed, piece.data, piece.ended), (15, 0..15, true));
    assert!(decoder.trailer_section().is_empty());
    assert!(decoder.trailers().is_none());
}

#[test]
fn a7_extensions_are_not_passed_on() {
    let input = b"5;a=b\r\nhello\r\n2;c\r\n!!\r\n0;d\r\n\r\n";
    assert_eq!(passed(&[input]).unwrap(), b"5\r\nhello\r\n2\r\n!!\r\n0\r\n\r\n");
}

#[test]
fn trailers_are_passed_on_where_trailers_are_allowed() {
    let input = b"1\r\na\r\n0\r\nX-Sum:  b \r\nContent-Length: 5\r\nHost: c\r\nServer-Timing: d\r\n\r\n";
    assert_eq!(passed(&[input]).unwrap(), b"1\r\na\r\n0\r\nX-Sum: b\r\nServer-Timing: d\r\n\r\n");
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let mut rest = &input[..];
    while !decoder.is_done() {
        rest = &rest[decoder.decode(rest).unwrap().consumed..];
    }
    let trailers = decoder.trailers().unwrap();
    let names: Vec<_> = trailers.iter().map(|f| (f.name, f.value)).collect();
    assert_eq!(names, [(&b"X-Sum"[..], &b"b"[..]), (b"Server-Timing", b"d")]);
    assert_eq!(trailers.first(Known::ServerTiming), Some(&b"d"[..]));
    let mut out = Vec::new();
    write_end(Some(trailers), &mut out);
    assert_eq!(out, b"0\r\nX-Sum: b\r\nServer-Timing: d\r\n\r\n");
}

#[test]
fn c8_trailers_are_bounded() {
    let mut input = b"0\r\n".to_vec();
    input.extend(b"A: b\r\n".repeat(65));
    assert_eq!(passed(&[&input]), Err(BodyError::TrailerTooLarge));
    let mut input = b"0\r\nA: ".to_vec();
    input.resize(9000, b'a');
    assert_eq!(passed(&[&input]), Err(BodyError::TrailerTooLarge));
}

#[test]
fn c8_a_forbidden_trailer_is_not_written() {
    let mut out = Vec::new();
    write_trailer(b"grpc-status", b"0", &mut out);
    for (name, value) in
        [("content-length", "5"), ("host", "a"), (":path", "/"), ("a", "b\r\nc: d"), ("", "")]
    {
        write_trailer(name.as_bytes(), value.as_bytes(), &mut out);
    }
    assert_eq!(out, b"grpc-status: 0\r\n");
}

#[test]
fn a8_a_mebibyte_of_extension_takes_no_memory_and_is_refused() {
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    assert_eq!(decoder.decode(b"5;").unwrap().consumed, 2);
    let mut taken = 0;
    let error = loop {
        match decoder.decode(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") {
            Ok(piece) => taken += piece.consumed,
            Err(error) => break error,
        }
    };
    assert_eq!(error, BodyError::ChunkExtension);
    assert!(taken <= 256);
}

proptest! {
    #[test]
    fn chunks_that_are_written_are_read_back(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            write_chunk(chunk, &mut wire);
        }
        write_end(None, &mut wire);
        let (body, error) = codec_chunked(&fragments(&wire, &cuts));
        let expected = Body::Complete { content: chunks.concat(), len: wire.len() };
        prop_assert_eq!(body, expected, "{:?}", error);
        prop_assert_eq!(passed(&fragments(&wire, &cuts)).unwrap(), wire);
    }
}
