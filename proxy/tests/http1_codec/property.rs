//! The codec accepts what the slow reference accepts, and sees the same in it.

use isthmus_proxy::http1::{
    BodyDecoder, BodyError, BodyLimits, Framing, HeadError, Limits, Parse, RequestHead, Version,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::connection::read_fragments;
use crate::reference::{self, Body, Outcome};

/// What the codec makes of the bytes of one head, in the reference's words.
pub fn codec_head(input: &[u8]) -> (Outcome, Option<HeadError>) {
    let mut scratch = RequestHead::new(Limits::default());
    let len = match scratch.parse(input) {
        Err(error) => return (Outcome::Refused, Some(error)),
        Ok(Parse::Partial) => return (Outcome::Partial, None),
        Ok(Parse::Complete(len)) => len,
    };
    let request = scratch.view(input);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let query = request.query().map(|q| format!("?{}", text(q))).unwrap_or_default();
    let fields = request.fields().iter();
    let head = reference::Head {
        method: text(request.method_bytes()),
        target: format!("{}{query}", text(request.path())),
        http10: request.version() == Version::Http10,
        fields: fields.map(|f| (text(f.name).to_ascii_lowercase(), f.value.to_vec())).collect(),
        length: request.content_length(),
        chunked: request.framing() == Framing::Chunked,
        persistent: request.is_persistent(),
        len,
    };
    (Outcome::Head(head), None)
}

/// What the codec makes of a chunked body that arrives in fragments.
pub fn codec_chunked(fragments: &[&[u8]]) -> (Body, Option<BodyError>) {
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let (mut content, mut len) = (Vec::new(), 0);
    for fragment in fragments {
        let mut rest = *fragment;
        while !rest.is_empty() && !decoder.is_done() {
            match decoder.decode(rest) {
                Err(error) => return (Body::Refused, Some(error)),
                Ok(piece) => {
                    content.extend_from_slice(&rest[piece.data]);
                    len += piece.consumed;
                    rest = &rest[piece.consumed..];
                }
            }
        }
    }
    if decoder.is_done() { (Body::Complete { content, len }, None) } else { (Body::Partial, None) }
}

/// Text that is mostly right, of pieces that are often wrong.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let wrong = select(vec![
        "\r",
        "\n",
        "\r\n",
        "\t",
        " ",
        ":",
        "\0",
        "\x7f",
        "#",
        "?",
        "/",
        ",",
        ";",
        "0",
        "5",
        "a",
        "chunked",
        "HTTP/1.1",
        "\x0b",
        "http://",
        "*",
        "<",
        "Host: a\r\n",
    ]);
    prop_oneof![4 => wrong.prop_map(|s: &str| s.as_bytes().to_vec()), 1 => any::<u8>().prop_map(|b| vec![b])]
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec![
            "Host: a.test", "host:b", "Content-Length: 5", "content-length: 0", "Content-Length: 05",
            "Transfer-Encoding: chunked", "transfer-encoding:Chunked ", "Transfer-Encoding: gzip, chunked",
            "Connection: close", "Connection: keep-alive, x-a", "Connection: Upgrade", "Upgrade: websocket",
            "Expect: 100-continue", "Expect: x", "X-A: b", "X-A:", "A:\t\tb c\t", "Cookie: a=b; c=d",
            "X-Forwarded-For: 1.2.3.4", "TE: trailers, deflate", "A: \u{e9}\u{1F600}", "Host: [::1]:80",
        ]).prop_map(str::to_owned),
        1 => "[!-~]{1,12}:[ -~\t]{0,30}",
    ]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let start = (
        select(vec!["", "", "", "\r\n", "\r\n\r\n"]),
        prop_oneof![4 => select(vec!["GET", "POST", "OPTIONS", "CONNECT", "HEAD", "get", "X-1"]).prop_map(str::to_owned), 1 => "[!-~]{1,34}"],
        prop_oneof![4 => select(vec!["/", "/a/b?c=d", "*", "http://a.test/x", "HTTP://a?b", "a.test:80", "//"]).prop_map(str::to_owned), 1 => "[!-~]{1,20}", 1 => "/[!-~]{0,20}"],
        select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1"]),
    );
    (start, prop::collection::vec(field(), 0..8), any::<bool>()).prop_map(
        |((blank, method, target, version), fields, host)| {
            let mut text = format!("{blank}{method} {target} {version}\r\n");
            if host {
                text.push_str("Host: a.test\r\n");
            }
            for field in fields {
                text.push_str(&field);
                text.push_str("\r\n");
            }
            text.push_str("\r\n");
            text.into_bytes()
        },
    )
}

fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let chunk =
        (prop::collection::vec(any::<u8>(), 1..20), select(vec!["", "", ";a", ";a=\"b\"", " ", ";\t"]));
    let trailer =
        select(vec!["", "", "X-Sum: a\r\n", "Content-Length: 5\r\n", "a : b\r\n", "X: \x01\r\n"]);
    (prop::collection::vec(chunk, 0..4), trailer, select(vec!["0", "00", "0;x", "-0"])).prop_map(
        |(chunks, trailer, last)| {
            let mut out = Vec::new();
            for (data, extension) in chunks {
                out.extend(format!("{:X}{extension}\r\n", data.len()).bytes());
                out.extend(data);
                out.extend(b"\r\n");
            }
            out.extend(format!("{last}\r\n{trailer}\r\nrest").bytes());
            out
        },
    )
}

/// Cuts out a range and puts something else there, a few times.
fn damaged(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<Index>(), 0usize..3, piece()), 0..3);
    (text, damage).prop_map(|(mut text, damage)| {
        for (at, cut, piece) in damage {
            let from = at.index(text.len() + 1);
            let to = (from + cut).min(text.len());
            text.splice(from..to, piece);
        }
        text
    })
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..6)
}

/// The text in fragments that end at the cuts.
pub fn fragments<'a>(text: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// More cases by `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(3000), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_head_is_read_as_the_reference_reads_it(input in damaged(request())) {
        let (codec, error) = codec_head(&input);
        prop_assert_eq!(codec, reference::head(&input), "{:?} {:?}", error, String::from_utf8_lossy(&input));
    }

    #[test]
    fn arbitrary_bytes_are_read_as_the_reference_reads_them(
        front in select(vec!["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"]),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let input = [front.as_bytes(), &bytes].concat();
        prop_assert_eq!(codec_head(&input).0, reference::head(&input));
    }

    #[test]
    fn a_chunked_body_is_read_as_the_reference_reads_it(input in damaged(chunked_body())) {
        let (codec, error) = codec_chunked(&[&input]);
        let slow = reference::chunked(&input);
        prop_assert_eq!(codec, slow, "{:?} {}", error, input.escape_ascii());
    }

    #[test]
    fn fragments_of_a_chunked_body_change_nothing(input in damaged(chunked_body()), cuts in cuts()) {
        let whole = codec_chunked(&[&input]);
        prop_assert_eq!(&codec_chunked(&fragments(&input, &cuts)), &whole);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&codec_chunked(&bytes), &whole);
    }

    #[test]
    fn fragments_of_a_connection_change_nothing(
        parts in prop::collection::vec(damaged(request()), 1..4),
        body in chunked_body(),
        cuts in cuts(),
        head in 64usize..400,
        fields in 0usize..10,
    ) {
        let mut input = parts.concat();
        input.extend(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        input.extend(body);
        let limits = Limits { head, start_line: head / 3, fields };
        let whole = read_fragments(&[&input], limits);
        prop_assert_eq!(&read_fragments(&fragments(&input, &cuts), limits), &whole);
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&read_fragments(&bytes, limits), &whole);
    }
}
