//! Floods of frames against a server with our settings: each ends with the connection, after a bounded
//! number of frames, or is held back because nothing more is read.

use bytes::Bytes;
use h2::Reason;
use isthmus_proxy::http2::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET http://a/` in HPACK: three names of the static table and a literal.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A server that takes requests and never answers nor reads them.
fn server(io: DuplexStream) -> JoinHandle<(usize, Option<h2::Error>)> {
    tokio::spawn(async move {
        let mut connection = Settings::default().server().handshake::<_, Bytes>(io).await.unwrap();
        let mut held = Vec::new();
        let mut accepted = 0;
        loop {
            match connection.accept().await {
                None => return (accepted, None),
                Some(Err(error)) => return (accepted, Some(error)),
                Some(Ok(request)) => {
                    accepted += 1;
                    held.push(request);
                }
            }
        }
    })
}

/// Sends the flood; how many of its pieces were taken, what the server ended with, and how many requests
/// it took. The client reads all that comes.
async fn flood(
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> (usize, Option<h2::Error>, usize) {
    let (client, far) = tokio::io::duplex(16 << 10);
    let server = server(far);
    let (mut read, mut write) = tokio::io::split(client);
    let reader = tokio::spawn(async move {
        let mut sink = [0; 4096];
        while read.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    });
    let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    start.extend(frame(SETTINGS, 0, 0, &[]));
    write.write_all(&start).await.unwrap();
    let mut sent = 0;
    for piece in pieces {
        if write.write_all(&piece).await.is_err() {
            break;
        }
        sent += 1;
    }
    drop(write);
    reader.abort();
    let (accepted, error) = server.await.unwrap();
    (sent, error, accepted)
}

fn reason(error: Option<&h2::Error>) -> Option<Reason> {
    error.and_then(h2::Error::reason)
}

/// Client streams from the first.
fn streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

#[tokio::test]
async fn c1_rapid_reset_ends_the_connection() {
    let requests = streams().take(100_000).map(|id| {
        let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, id, GET);
        pair.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
        pair
    });
    let (sent, error, accepted) = flood(requests).await;
    assert_eq!(reason(error.as_ref()), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert!(sent < 5_000, "{sent} were taken");
    assert!(accepted < 1_000, "{accepted} requests were begun");
}

#[tokio::test]
async fn c2_resets_that_we_are_made_to_send_end_the_connection() {
    let requests = streams().take(100_000).map(|id| {
        let mut pair = frame(HEADERS, END_HEADERS, id, GET);
        // More than a window can hold is an error of the stream (RFC 9113, section 6.9.1).
        pair.extend(frame(WINDOW_UPDATE, 0, id, &0x7fff_ffff_u32.to_be_bytes()));
        pair
    });
    let (sent, error, _) = flood(requests).await;
    assert_eq!(reason(error.as_ref()), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert!(sent < 5_000, "{sent} were taken");
}

#[tokio::test]
async fn c3_a_head_without_end_ends_the_connection() {
    let begin = std::iter::once(frame(HEADERS, END_STREAM, 1, GET));
    // A literal without indexing: `x: aaa...` of 100 bytes.
    let mut field = vec![0, 1, b'x', 100];
    field.extend([b'a'; 100]);
    let more = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &field), 100_000);
    let (sent, error, accepted) = flood(begin.chain(more)).await;
    assert!(error.is_some() && accepted == 0, "{error:?} {accepted}");
    assert!(sent < 5_000, "{sent} were taken");
}

#[tokio::test]
async fn c3_empty_continuations_end_the_connection() {
    let begin = std::iter::once(frame(HEADERS, END_STREAM, 1, GET));
    let more = std::iter::repeat_n(frame(CONTINUATION, 0, 1, &[]), 100_000);
    let (sent, error, _) = flood(begin.chain(more)).await;
    assert!(error.is_some(), "{error:?}");
    assert!(sent < 5_000, "{sent} were taken");
}

#[tokio::test]
async fn c4_a_small_head_that_unpacks_to_a_large_one_is_not_taken() {
    // `cookie: aaa...` of 3,900 bytes goes into the dynamic table; each byte 0xbe is that field again.
    let mut block = GET.to_vec();
    block.extend([0x40 | 32, 127]);
    // 3,900 in HPACK: 127 in the first byte, then 3,773 in sevens of bits.
    block.extend([0x80 | 0x3d, 0x1d]);
    block.extend([b'a'; 3900]);
    block.extend([0xbe; 12_000]);
    let heads = streams().take(1000).map(move |id| frame(HEADERS, END_HEADERS | END_STREAM, id, &block));
    let (sent, error, accepted) = flood(heads).await;
    assert_eq!(accepted, 0, "47 MB of cookies were taken");
    assert!(error.is_some(), "the connection goes on after {sent}");
    assert!(sent < 20, "{sent} were taken");
}

#[tokio::test]
async fn c5_empty_data_ends_the_connection() {
    let begin = std::iter::once(frame(HEADERS, END_HEADERS, 1, GET));
    let (sent, error, _) =
        flood(begin.chain(std::iter::repeat_n(frame(DATA, 0, 1, &[]), 100_000))).await;
    assert_eq!(reason(error.as_ref()), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert!(sent < 20_000, "{sent} were taken");
}

#[tokio::test]
async fn c5_data_of_one_byte_ends_the_connection() {
    let begin = std::iter::once(frame(HEADERS, END_HEADERS, 1, GET));
    let (sent, error, _) =
        flood(begin.chain(std::iter::repeat_n(frame(DATA, 0, 1, b"a"), 100_000))).await;
    assert_eq!(reason(error.as_ref()), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
    assert!(sent < 20_000, "{sent} were taken");
}

#[tokio::test]
async fn c9_more_streams_than_allowed_are_refused() {
    let requests = streams().take(200).map(|id| frame(HEADERS, END_HEADERS, id, GET));
    let (_, _, accepted) = flood(requests).await;
    assert_eq!(accepted, 128);
}

/// A client that never reads: what it may send before it has to wait.
async fn taken_unread(piece: Vec<u8>) -> usize {
    let (mut client, far) = tokio::io::duplex(16 << 10);
    let server = server(far);
    let mut start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    start.extend(frame(SETTINGS, 0, 0, &[]));
    client.write_all(&start).await.unwrap();
    let mut sent = 0;
    while fits(&mut client, &piece).await {
        sent += piece.len();
        assert!(sent < 64 << 20, "nothing holds the client back");
    }
    server.abort();
    sent
}

/// Writes the piece, unless there is no room after everybody else had many turns.
async fn fits(client: &mut DuplexStream, piece: &[u8]) -> bool {
    let turns = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        written = client.write_all(piece) => written.is_ok(),
        () = turns => false,
    }
}

#[tokio::test]
async fn c5_pings_and_settings_are_not_queued_for_who_does_not_read() {
    let pings = taken_unread(frame(PING, 0, 0, &[0; 8])).await;
    assert!(pings < 256 << 10, "{pings} bytes of PING were taken");
    let settings = taken_unread(frame(SETTINGS, 0, 0, &[])).await;
    assert!(settings < 256 << 10, "{settings} bytes of SETTINGS were taken");
}
