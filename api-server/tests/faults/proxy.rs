//! A proxy in front of an API server, which does what API servers and networks do on bad days.

use std::{convert::Infallible, io, net::SocketAddr};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use isthmus_api_server::{Client, connect};
use isthmus_e2e::api_server::ApiServer;
use kube::client::Body;
use tokio::{net::TcpListener, sync::watch};

/// What the proxy does to every request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It answers so itself.
    Status(u16),
    /// It passes on so many bytes of an answer and hangs up.
    Cut(usize),
    /// It passes on nothing, and does not hang up.
    Freeze,
    /// It does not take the connection at all.
    Refuse,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    fault: watch::Sender<Fault>,
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl Proxy {
    /// In front of the API server of `upstream`.
    pub(crate) async fn start(upstream: Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = watch::Sender::new(Fault::None);
        let faults = fault.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if *faults.borrow() == Fault::Refuse {
                    continue;
                }
                let (upstream, faults) = (upstream.clone(), faults.clone());
                tokio::spawn(async move {
                    // Whatever the fault becomes, connections of the one before are gone.
                    let mut changes = faults.subscribe();
                    let service =
                        service_fn(|request| answer(upstream.clone(), request, faults.clone()));
                    let connection =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        _ = connection => {}
                        _ = changes.wait_for(|fault| *fault == Fault::Refuse) => {}
                    }
                });
            }
        });
        Self { address, fault }
    }

    /// It does this from now on.
    pub(crate) fn does(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn answer(
    upstream: Client,
    request: Request<Incoming>,
    faults: watch::Sender<Fault>,
) -> Result<Answer, io::Error> {
    let fault = *faults.borrow();
    if let Fault::Status(code) = fault {
        let status = format!(
            r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"as the test wants it","reason":"Test","code":{code}}}"#
        );
        let body = Full::new(Bytes::from(status)).map_err(|never: Infallible| match never {});
        let mut answer = Response::new(body.boxed_unsync());
        *answer.status_mut() = code.try_into().unwrap();
        answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
        answer.headers_mut().insert("retry-after", "1".parse().unwrap());
        return Ok(answer);
    }
    let (mut head, body) = request.into_parts();
    head.headers.remove("host");
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let sent = upstream.send(Request::from_parts(head, Body::from(body.to_vec()))).await;
    let (head, body) = sent.map_err(io::Error::other)?.into_parts();
    let mut passed = 0;
    let frames = body.into_data_stream().map(move |data| {
        let data: Bytes = data.map_err(io::Error::other)?;
        passed += data.len();
        match *faults.borrow() {
            Fault::Cut(most) if passed > most => Err(io::ErrorKind::ConnectionReset.into()),
            Fault::Status(_) => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(Frame::data(data)),
        }
    });
    if fault == Fault::Freeze {
        std::future::pending::<()>().await;
    }
    Ok(Response::from_parts(head, BodyExt::boxed_unsync(StreamBody::new(Box::pin(frames)))))
}

impl Proxy {
    /// In front of `server`, and a client by way of it.
    pub(crate) async fn before(server: &ApiServer) -> (Self, Client) {
        let direct = connect(Some(&server.kubeconfig()), None).await.unwrap();
        let proxy = Self::start(direct).await;
        let path = server.kubeconfig_by(proxy.address).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("https://", "http://")).unwrap();
        let client = connect(Some(&path), None).await.unwrap();
        (proxy, client)
    }
}

/// A real API server, started where waiting is allowed.
pub(crate) async fn api_server() -> ApiServer {
    tokio::task::spawn_blocking(|| ApiServer::start().unwrap()).await.unwrap()
}
