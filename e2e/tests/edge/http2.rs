//! HTTP/2: with prior knowledge and by ALPN from clients, by `appProtocol` to backends, with trailers.

use std::{net::SocketAddr, sync::Arc};

use h2::{RecvStream, client, server};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use super::{
    backend::Backend,
    instance::{Instance, free, gateway_of, route, service},
    tls::{Certificate, Client, listener},
};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A backend that speaks HTTP/2 in clear text, says what it was asked, and ends its answers as gRPC does.
fn backend(runtime: &Runtime) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind((super::instance::backends(), 0))).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let (said, trailers) = answer(request).await;
                        let mut stream = respond.send_response(Response::new(()), false).unwrap();
                        stream.send_data(said.into(), false).unwrap();
                        stream.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}

async fn answer(request: Request<RecvStream>) -> (String, HeaderMap) {
    let (parts, mut body) = request.into_parts();
    let (said, _) = read(&mut body).await;
    let te = parts.headers.get("te").map_or("", |te| te.to_str().unwrap());
    let said = format!("{} {} {said} te={te}", parts.method, parts.uri.path());
    (said, HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]))
}

async fn read(body: &mut RecvStream) -> (String, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        all.extend_from_slice(&chunk);
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    (String::from_utf8(all).unwrap(), body.trailers().await.unwrap())
}

/// `POST path` of `host` with a body, on `stream`: status, body, and the trailer `grpc-status`.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
) -> (u16, String, Option<String>) {
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{host}{path}")).header("te", "trailers");
    let mut sender = sender.ready().await.unwrap();
    let (response, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    // An answer that needs no body may be there already, and the stream at its end.
    let _ = body.send_data("hello".into(), true);
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    let (text, trailers) = read(&mut response.into_body()).await;
    let trailer =
        trailers.and_then(|fields| Some(fields.get("grpc-status")?.to_str().unwrap().to_owned()));
    (status, text, trailer)
}

#[test]
fn http2_on_both_sides() {
    let runtime = runtime();
    let (clear, secure, grpc, a) = (free(), free(), backend(&runtime), Backend::start("a"));
    let (own, other) = (Certificate::of("h2c.example"), Certificate::of("other.example"));
    let listeners = [
        format!("  - {{name: http, protocol: HTTP, port: {}}}\n", clear.port()),
        listener("own", secure.port(), "h2c.example", "[{name: own}]"),
        listener("other", secure.port(), "other.example", "[{name: other}]"),
    ];
    let manifests = [
        gateway_of("gateway", clear.ip(), &listeners.concat()),
        own.secret("default", "own"),
        other.secret("default", "other"),
        route("h2c", "h2c.example", "  - backendRefs: [{name: h2c, port: 8080}]\n"),
        route("plain", "plain.example", "  - backendRefs: [{name: a, port: 8080}]\n"),
        service("default", "h2c", ", appProtocol: kubernetes.io/h2c", &[grpc]),
        service("default", "a", "", &[a.address]),
    ];
    let _instance = Instance::start(&manifests.concat());
    let expected = (200, "POST /pkg.Service/Method hello te=trailers".to_owned(), Some("0".to_owned()));
    runtime.block_on(async {
        let stream = || async { TcpStream::connect(clear).await.unwrap() };
        assert_eq!(ask(stream().await, "h2c.example", "/pkg.Service/Method").await, expected);
        assert_eq!(ask(stream().await, "plain.example", "/").await.1, "a");
        assert_eq!(ask(stream().await, "nobody.example", "/").await.0, 404);

        let client = Client::trusting(&[&own, &other]).speaking("h2");
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&client.0));
        let secured = || async {
            let stream = TcpStream::connect(secure).await.unwrap();
            connector.connect("h2c.example".try_into().unwrap(), stream).await.unwrap()
        };
        let stream = secured().await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(ask(stream, "h2c.example", "/pkg.Service/Method").await, expected);
        assert_eq!(ask(secured().await, "other.example", "/").await.0, 421);
    });
}
