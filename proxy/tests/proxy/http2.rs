//! HTTP/2 on either side.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{Reason, client::SendRequest};
use http::{HeaderMap, Request, Response};
use isthmus_ir::{BackendProtocol, Change, Resource, Service};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use crate::support::{
    Backend, PATIENCE, Running, eventually, listener, resource, route, service, simple,
};

/// What came of a request: head, content, trailers.
struct Answer {
    head: Response<()>,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

async fn open(address: SocketAddr) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(
    sender: &SendRequest<Bytes>,
    request: Request<()>,
    body: Option<Bytes>,
) -> Result<Answer, h2::Error> {
    let mut sender = sender.clone().ready().await?;
    let (answer, mut send) = sender.send_request(request, body.is_none())?;
    if let Some(body) = body {
        send.send_data(body, true)?;
    }
    let (head, mut stream) = tokio::time::timeout(PATIENCE, answer).await.unwrap()?.into_parts();
    let mut content = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        content.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    Ok(Answer { head: Response::from_parts(head, ()), body: content, trailers })
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://a.test{path}")).body(()).unwrap()
}

/// Answers on HTTP/2 with the request's content, and with trailers as gRPC has them.
fn http2_backend(seen: Arc<AtomicUsize>) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(tcp).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    seen.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(async move {
                        assert_eq!(request.headers()["te"], "trailers");
                        let path = request.uri().path().to_owned();
                        let mut body = request.into_body();
                        let head = Response::builder().header("x-path", path).body(()).unwrap();
                        let mut send = respond.send_response(head, false).unwrap();
                        while let Some(Ok(data)) = body.data().await {
                            body.flow_control().release_capacity(data.len()).unwrap();
                            send.send_data(data, false).unwrap();
                        }
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        send.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    (runtime, address)
}

fn h2c(address: SocketAddr) -> Vec<Resource> {
    let mut resources = service("echo", &[address]);
    let Resource::Service(base) = &resources[0] else { panic!("a service") };
    let spoken = Service { protocol: BackendProtocol::H2c, ..(**base).clone() };
    resources[0] = Resource::Service(Arc::new(spoken));
    resources
}

#[test]
fn many_streams_of_one_connection_reach_a_backend_in_http1() {
    let backend = Backend::with(|request, out| {
        write!(out, "HTTP/1.1 200 OK\r\nx-method: {}\r\n", request.line().split(' ').next().unwrap())?;
        write!(out, "content-length: {}\r\n\r\n", request.body.len())?;
        out.write_all(&request.body)
    });
    let running = simple(&[backend.address]);
    let address = running.address();
    Runtime::new().unwrap().block_on(async {
        let sender = open(address).await;
        let tasks: Vec<_> = (0..50_usize)
            .map(|i| {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let body = Bytes::from(vec![b'x'; i * 1_000]);
                    let answer =
                        ask(&sender, request("POST", "/p?q"), Some(body.clone())).await.unwrap();
                    assert_eq!((answer.head.status().as_u16(), answer.body.len()), (200, body.len()));
                    assert_eq!(answer.head.headers()["x-method"], "POST");
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let answer = ask(&sender, request("GET", "/a/../b"), None).await.unwrap();
        assert_eq!(answer.head.status(), 200);
    });
    let received = backend.received();
    assert_eq!(received.len(), 51);
    assert!(received.iter().take(50).all(|r| r.line() == "POST /p?q HTTP/1.1"));
    assert_eq!(received[50].line(), "GET /b HTTP/1.1");
    assert_eq!(received[50].values("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn errors_and_chunked_answers_have_their_form_in_http2() {
    let backend = Backend::with(|_, out| {
        out.write_all(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\n\r\n",
        )
    });
    let mut resources = vec![listener(), resource(route("all", "/x", &[("echo", 1)]))];
    resources.extend(service("echo", &[backend.address]));
    let running = Running::start(resources);
    Runtime::new().unwrap().block_on(async {
        let sender = open(running.address()).await;
        let answer = ask(&sender, request("GET", "/y"), None).await.unwrap();
        assert_eq!(answer.head.status(), 404);
        let answer = ask(&sender, request("GET", "/x%2fy"), None).await.unwrap();
        assert_eq!(answer.head.status(), 400);
        let answer = ask(&sender, request("GET", "/x"), None).await.unwrap();
        assert_eq!(answer.body, b"abc");
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        assert!(!answer.head.headers().contains_key("transfer-encoding"));
    });
}

#[test]
fn grpc_passes_from_end_to_end() {
    let seen = Arc::default();
    let (_backend, address) = http2_backend(Arc::clone(&seen));
    let mut resources = vec![listener(), resource(route("all", "/", &[("echo", 1)]))];
    resources.extend(h2c(address));
    let running = Running::start(resources);
    Runtime::new().unwrap().block_on(async {
        let sender = open(running.address()).await;
        for _ in 0..20 {
            let mut request = request("POST", "/pkg.Service/Method");
            request.headers_mut().insert("te", "trailers".parse().unwrap());
            let body = Bytes::from(vec![b'x'; 100_000]);
            let answer = ask(&sender, request, Some(body.clone())).await.unwrap();
            assert!(answer.body == body);
            assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
            assert_eq!(answer.head.headers()["x-path"], "/pkg.Service/Method");
        }
    });
    assert_eq!(seen.load(Ordering::SeqCst), 20);
}

#[test]
fn http1_clients_reach_backends_that_speak_http2() {
    let seen = Arc::default();
    let (_backend, address) = http2_backend(Arc::clone(&seen));
    let mut resources = vec![listener(), resource(route("all", "/", &[("echo", 1)]))];
    resources.extend(h2c(address));
    let running = Running::start(resources);
    let mut client = running.connect();
    for _ in 0..5 {
        client.send(
            "POST / HTTP/1.1\r\nhost: a.test\r\nte: trailers\r\nconnection: te\r\n\
                     transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        );
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    }
    assert_eq!(seen.load(Ordering::SeqCst), 5);
}

#[test]
fn c1_rapid_resets_end_the_connection_and_nobody_elses() {
    let backend = Backend::named("one");
    let running = simple(&[backend.address]);
    Runtime::new().unwrap().block_on(async {
        let tcp = TcpStream::connect(running.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(tcp).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut sent = 0;
        while sent < 100_000 {
            let Ok(mut sender) = sender.clone().ready().await else { break };
            let Ok((_, mut stream)) = sender.send_request(request("GET", "/"), false) else { break };
            stream.send_reset(Reason::CANCEL);
            sent += 1;
            if driver.is_finished() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(sent < 100_000, "the connection was cut after {sent}");
    });
    assert_eq!(running.connect().get("/").status(), 200);
}

#[test]
fn a_drain_sends_goaway_and_finishes_what_was_begun() {
    let backend = Backend::named("one");
    let mut running = simple(&[backend.address]);
    let address = running.address();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = h2::client::handshake(tcp).await.unwrap();
        let driver = tokio::spawn(connection);
        ask(&sender, request("GET", "/"), None).await.unwrap();
        let proxy = running.proxy.take().unwrap();
        proxy.drain().await;
        drop(sender);
        assert!(driver.await.unwrap().is_ok(), "ended without an error");
    });
}

#[test]
fn a_stream_whose_backend_gives_up_is_tried_elsewhere() {
    let bad = Backend::with(|_, _| Err(std::io::ErrorKind::Other.into()));
    let good = Backend::named("good");
    let running = simple(&[bad.address, good.address]);
    Runtime::new().unwrap().block_on(async {
        let sender = open(running.address()).await;
        for _ in 0..10 {
            let body = Bytes::from_static(b"kept for another attempt");
            let answer = ask(&sender, request("PUT", "/"), Some(body)).await.unwrap();
            assert_eq!(answer.body, b"good");
        }
    });
    assert!(good.received().iter().all(|r| r.body == b"kept for another attempt"));
    running.apply(vec![Change::Remove(listener().key())]);
    eventually("the end", || !good.received().is_empty());
}
