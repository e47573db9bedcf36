//! A proxy in front of an API server, which does what API servers and networks do on bad days.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
    header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{
    Client,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

use crate::api_server::ApiServer;

/// What the proxy does to every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
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
    /// At one write it hangs up; from then on it refuses everything.
    CutWrite {
        /// At which, counted from 1 since the fault began; writes of Leases do not count.
        nth: usize,
        /// Whether the API server gets that write.
        reached: bool,
    },
    /// It holds up requests and answers, so that they come in another order; some it answers with 410,
    /// 429, 500 or 503, and of some it loses the answer.
    Storm,
}

/// The proxy. It runs for as long as its runtime.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    fault: watch::Sender<Fault>,
    /// Requests, and those among them that write, since the fault began.
    requests: AtomicUsize,
    writes: AtomicUsize,
    /// Connections that were refused since the fault began.
    refused: AtomicUsize,
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl Proxy {
    /// In front of `server`.
    ///
    /// # Errors
    /// When there is no port, or the server's kubeconfig cannot be used.
    pub async fn before(server: &ApiServer) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(server.kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let upstream = Client::try_from(config)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            fault: watch::Sender::new(Fault::None),
            requests: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        });
        tokio::spawn(accept(listener, upstream, Arc::clone(&state)));
        Ok(Self { address, state })
    }

    /// A kubeconfig by way of it for `server`'s administrator, who acts as `user` where one is given.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig(&self, server: &ApiServer, user: Option<&str>) -> Result<std::path::PathBuf> {
        let path = server.kubeconfig_by(self.address)?;
        let text = std::fs::read_to_string(&path)?.replace("https://", "http://");
        let mut config: serde_json::Value = serde_json::from_str(&text)?;
        if let Some(user) = user {
            let fields = config.pointer_mut("/users/0/user").context("no user")?;
            fields.as_object_mut().context("no fields")?.insert("as".to_owned(), user.into());
        }
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// It does this from now on.
    pub fn does(&self, fault: Fault) {
        self.state.requests.store(0, Ordering::Relaxed);
        self.state.writes.store(0, Ordering::Relaxed);
        self.state.refused.store(0, Ordering::Relaxed);
        self.state.fault.send_replace(fault);
    }

    /// What it does now.
    pub fn fault(&self) -> Fault {
        *self.state.fault.borrow()
    }

    /// How many writes it was asked for since the fault began, those of Leases apart.
    pub fn writes(&self) -> usize {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// How many connections it refused since the fault began.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, upstream: Client, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        if *state.fault.borrow() == Fault::Refuse {
            state.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            tokio::spawn(serve(stream, upstream.clone(), Arc::clone(&state)));
        }
    }
}

async fn serve(stream: TcpStream, upstream: Client, state: Arc<State>) {
    // Whatever the fault becomes, connections of the one before are gone.
    let mut changes = state.fault.subscribe();
    let service = service_fn(|request| answer(upstream.clone(), request, Arc::clone(&state)));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        _ = changes.wait_for(|fault| *fault == Fault::Refuse) => {}
    }
}

/// An error here hangs up.
async fn answer(
    upstream: Client,
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Answer, io::Error> {
    let (fault, turn) = (*state.fault.borrow(), state.requests.fetch_add(1, Ordering::Relaxed));
    if let Fault::Status(code) = fault {
        return refusal(code);
    }
    if fault == Fault::Storm {
        sleep(lull(turn)).await;
        if let Some(code) = weather(turn) {
            return refusal(code);
        }
    }
    let cut = is_write(&request) && is_cut(fault, state.writes.fetch_add(1, Ordering::Relaxed) + 1);
    if cut && !reaches(fault) {
        state.fault.send_replace(Fault::Refuse);
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let (mut head, body) = request.into_parts();
    head.headers.remove(HOST);
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let sent = upstream.send(Request::from_parts(head, Body::from(body.to_vec()))).await;
    let (head, body) = sent.map_err(io::Error::other)?.into_parts();
    if cut {
        state.fault.send_replace(Fault::Refuse);
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if fault == Fault::Storm {
        sleep(lull(turn + 5)).await;
        if turn % 13 == 12 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    let mut passed = 0;
    let frames = body.into_data_stream().map(move |data| {
        let data: Bytes = data.map_err(io::Error::other)?;
        passed += data.len();
        match *state.fault.borrow() {
            Fault::Cut(most) if passed > most => Err(io::ErrorKind::ConnectionReset.into()),
            Fault::Status(_) => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(Frame::data(data)),
        }
    });
    if fault == Fault::Freeze {
        std::future::pending::<()>().await;
    }
    Ok(Response::from_parts(head, StreamBody::new(Box::pin(frames)).boxed_unsync()))
}

fn is_write(request: &Request<Incoming>) -> bool {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    !reads && !request.uri().path().contains("/leases")
}

fn is_cut(fault: Fault, number: usize) -> bool {
    matches!(fault, Fault::CutWrite { nth, .. } if nth == number)
}

/// Whether the API server gets what is cut.
fn reaches(fault: Fault) -> bool {
    matches!(fault, Fault::CutWrite { reached: true, .. })
}

/// How long a request is held up in a storm.
fn lull(turn: usize) -> Duration {
    Duration::from_millis(u64::try_from(turn * 37 % 150).unwrap_or_default())
}

/// What a request is answered in a storm; none when it goes on.
fn weather(turn: usize) -> Option<u16> {
    [410, 500, 429, 503].get(turn % 19).copied()
}

fn refusal(code: u16) -> Result<Answer, io::Error> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "as the test wants it", "reason": "Test", "code": code,
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = code.try_into().map_err(io::Error::other)?;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    Ok(answer)
}
