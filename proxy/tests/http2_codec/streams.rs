//! The `h2` crate takes what we make, and what it makes we take: a request and an answer with trailers.

use bytes::Bytes;
use http::HeaderMap;
use isthmus_proxy::http1::{
    BodyCoding, BodyDecoder, BodyLimits, Edits, Framing, Limits, Method, Parse, Persistence,
    RequestHead, ResponseHead,
};
use isthmus_proxy::http2::{
    Scheme, Settings, Trailers, read_request, read_response, trailer_map, write_request, write_response,
};

const REQUEST: &[u8] =
    b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The trailers of a chunked body that has nothing else.
fn sent_trailers(name: &str) -> HeaderMap {
    let mut body = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let text = format!("0\r\n{name}: 1\r\nHost: x\r\n\r\n");
    let mut rest = text.as_bytes();
    while !body.is_done() {
        rest = &rest[body.decode(rest).unwrap().consumed..];
    }
    trailer_map(body.trailers().unwrap())
}

fn received_trailers(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let trailers = Trailers::read(map, &BodyLimits::default()).unwrap();
    trailers.view().iter().map(|f| (text(f.name), text(f.value))).collect()
}

async fn serve(io: tokio::io::DuplexStream) {
    let mut connection = Settings::default().server().handshake::<_, Bytes>(io).await.unwrap();
    let (request, mut respond) = connection.accept().await.unwrap().unwrap();
    let driver = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    let (mut head, mut text) = (RequestHead::new(Limits::default()), Vec::new());
    read_request(&request, request.body().is_end_stream(), &mut text, &mut head).unwrap();
    let view = head.view(&text);
    assert_eq!(view.method_bytes(), b"POST");
    assert_eq!((view.target(), view.authority()), (&b"/a?b"[..], Some(&b"a.test"[..])));
    assert!(view.takes_trailers());
    let mut body = request.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    body.flow_control().release_capacity(5).unwrap();
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(received_trailers(&trailers), [("x-up".to_owned(), "1".to_owned())]);

    let mut head = ResponseHead::new(Limits::default());
    assert_eq!(head.parse(RESPONSE), Ok(Parse::Complete(RESPONSE.len())));
    let mut edits = Edits::default();
    edits.begin_response(head.view(RESPONSE), BodyCoding::Same, Persistence::Default);
    let mut stream = respond.send_response(write_response(head.view(RESPONSE), &edits), false).unwrap();
    stream.send_data(Bytes::from_static(b"world"), false).unwrap();
    stream.send_trailers(sent_trailers("x-down")).unwrap();
    driver.await.unwrap();
}

#[tokio::test]
async fn a_request_and_its_answer_cross_with_trailers() {
    let (near, far) = tokio::io::duplex(4096);
    let server = tokio::spawn(serve(far));
    let (sender, connection) = Settings::default().client().handshake::<_, Bytes>(near).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut sender = sender.ready().await.unwrap();

    let mut head = RequestHead::new(Limits::default());
    assert_eq!(head.parse(REQUEST), Ok(Parse::Complete(REQUEST.len())));
    let mut edits = Edits::default();
    edits.begin_request(head.view(REQUEST), BodyCoding::Same, Persistence::Default);
    let request = write_request(head.view(REQUEST), &edits, None, Scheme::Http).unwrap();
    let (response, mut stream) = sender.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"hello"), false).unwrap();
    stream.send_trailers(sent_trailers("x-up")).unwrap();

    let response = response.await.unwrap();
    let (mut head, mut text) = (ResponseHead::new(Limits::default()), Vec::new());
    let ended = response.body().is_end_stream();
    read_response(&response, Method::Post, ended, &mut text, &mut head).unwrap();
    assert_eq!(text, b"HTTP/1.1 200 OK\r\ncontent-type: x\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut body = response.into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "world");
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(received_trailers(&trailers), [("x-down".to_owned(), "1".to_owned())]);
    drop((sender, body, stream));
    driver.await.unwrap().unwrap();
    server.await.unwrap();
}
