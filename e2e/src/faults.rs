//! A proxy in front of an API server, which does what API servers and networks do on bad days.

mod passing;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::Incoming,
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
    time::{Instant, sleep},
};

use self::passing::Passing;
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
    /// It passes on nothing, of answers that have begun neither, and does not hang up; what is held goes on
    /// when this ends.
    Freeze,
    /// It passes each request on after this time.
    Slow(Duration),
    /// It tells each watch that is open that it has expired (410), as an event in its stream, and ends it;
    /// what is asked from now on it passes on.
    Gone,
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
    /// When requests came since the fault began.
    asked: Mutex<Vec<Instant>>,
    /// Writes since the fault began, those of Leases apart.
    writes: AtomicUsize,
    /// What those were, and how the API server answered.
    written: Mutex<Vec<String>>,
    /// Connections that were refused since the fault began.
    refused: AtomicUsize,
    /// How often it did what it does since the fault began.
    met: AtomicUsize,
}

impl State {
    fn new() -> Self {
        Self {
            fault: watch::Sender::new(Fault::None),
            asked: Mutex::default(),
            writes: AtomicUsize::new(0),
            written: Mutex::default(),
            refused: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
        }
    }

    fn meet(&self) {
        self.met.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits while nothing is passed on.
    async fn thaw(&self) {
        let mut fault = self.fault.subscribe();
        if *fault.borrow_and_update() == Fault::Freeze {
            self.meet();
            // The sender lives as long as this.
            let _ = fault.wait_for(|fault| *fault != Fault::Freeze).await;
        }
    }
}

/// What a thread that panicked left is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let state = Arc::new(State::new());
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
        lock(&self.state.asked).clear();
        lock(&self.state.written).clear();
        for count in [&self.state.writes, &self.state.refused, &self.state.met] {
            count.store(0, Ordering::Relaxed);
        }
        self.state.fault.send_replace(fault);
    }

    /// What it does now.
    pub fn fault(&self) -> Fault {
        *self.state.fault.borrow()
    }

    /// When it was asked for something since the fault began.
    pub fn asked(&self) -> Vec<Instant> {
        lock(&self.state.asked).clone()
    }

    /// How many writes it was asked for since the fault began, those of Leases apart.
    pub fn writes(&self) -> usize {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// Those that were answered, each as its method, its path and the status of the answer.
    pub fn written(&self) -> Vec<String> {
        lock(&self.state.written).clone()
    }

    /// How many connections it refused since the fault began.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// How often the fault befell somebody since it began, those aside that are told of elsewhere.
    pub fn met(&self) -> usize {
        self.state.met.load(Ordering::Relaxed) + self.refused()
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
    let fault = *state.fault.borrow();
    let turn = turn(&state);
    if let Some(code) = refused_with(fault, turn) {
        state.meet();
        if fault == Fault::Storm {
            sleep(lull(turn)).await;
        }
        return refusal(code);
    }
    held_up(&state, fault, turn).await;
    let write = is_write(&request).then(|| format!("{} {}", request.method(), request.uri()));
    let cut = write.is_some() && is_cut(fault, state.writes.fetch_add(1, Ordering::Relaxed) + 1);
    if cut && !reaches(fault) {
        state.fault.send_replace(Fault::Refuse);
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
    let (mut head, body) = request.into_parts();
    head.headers.remove(HOST);
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let sent = upstream.send(Request::from_parts(head, Body::from(body.to_vec()))).await;
    let (head, body) = sent.map_err(io::Error::other)?.into_parts();
    if let Some(write) = write {
        lock(&state.written).push(format!("{write} {}", head.status.as_u16()));
    }
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
    state.thaw().await;
    Ok(Response::from_parts(head, Passing::new(body, state, is_watch).into_body()))
}

/// Notes a request; how many there were before it.
fn turn(state: &State) -> usize {
    let mut asked = lock(&state.asked);
    asked.push(Instant::now());
    asked.len() - 1
}

/// With which status it is answered instead of being passed on, if it is.
fn refused_with(fault: Fault, turn: usize) -> Option<u16> {
    match fault {
        Fault::Status(code) => Some(code),
        Fault::Storm => weather(turn),
        _ => None,
    }
}

/// Waits for as long as a request is held up.
async fn held_up(state: &State, fault: Fault, turn: usize) {
    match fault {
        Fault::Storm => sleep(lull(turn)).await,
        Fault::Slow(time) => {
            state.meet();
            sleep(time).await;
        }
        _ => state.thaw().await,
    }
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
