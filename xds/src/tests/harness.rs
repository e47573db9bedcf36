//! A control plane and proxies in one process, joined by streams in memory.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use crate::{
    ca::{Issue, Issued},
    client::{Apply, Client, Connect, Link, Outcome, Proof, Reporter, Settings},
    delta::server::Limits,
    server::{
        self, Authenticate, Caller, Denied, Proxy, ProxyEvent, ProxyReport, Publisher, Reports, Role,
    },
};
use bytes::Bytes;
use isthmus_ir::{
    BackendProtocol, Balancing, Change, HealthPolicy, HostPattern, Kind, Name, ObjectRef, PathMatch,
    Redacted, Resource, RetryPolicy, Route, RouteId, RouteKind, RouteMatch, Service, Timeouts,
};
use tokio::{
    io::DuplexStream,
    sync::{Notify, mpsc},
    task::{AbortHandle, JoinHandle},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// A control plane that proxies can reach.
pub struct Mesh {
    pub publisher: Publisher,
    reports: Reports,
    pub dial: Dial,
    server: JoinHandle<()>,
    stop: Arc<Notify>,
}

/// Opens streams in memory to whichever control plane is there.
#[derive(Clone)]
pub struct Dial(Arc<Mutex<mpsc::UnboundedSender<io::Result<DuplexStream>>>>);

impl Connect for Dial {
    type Io = DuplexStream;

    async fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let sent = self.0.lock().unwrap().send(Ok(far));
        sent.map(|()| near).map_err(|_| io::ErrorKind::ConnectionRefused.into())
    }
}

/// Takes a token `<id>@<scope>` for what it says; `connect` uses the scope `gateway/a`.
pub struct Tokens;

impl Authenticate for Tokens {
    async fn authenticate(&self, caller: Caller<'_>) -> Result<Proxy, Denied> {
        let token = caller.bearer.and_then(|token| token.split_once('@'));
        let (id, scope) = token.ok_or_else(|| Denied("no token".to_owned()))?;
        Ok(Proxy { id: id.into(), scope: scope.into(), role: Role::Ingress })
    }
}

impl Issue for Tokens {
    async fn issue(&self, caller: Caller<'_>, csr: Bytes) -> Result<Issued, Denied> {
        let proxy = self.authenticate(caller).await?;
        let leaf = [csr.as_ref(), proxy.id.as_str().as_bytes()].concat();
        Ok(Issued {
            chain: vec![leaf.into(), Bytes::from_static(b"issuer")],
            not_after: 1_800_000_000,
            trust_domain: "east".parse().unwrap(),
            roots: vec![Bytes::from_static(b"root")],
        })
    }
}

impl Mesh {
    pub fn start() -> Self {
        let (publisher, reports) = Publisher::new(Limits::default());
        let (sender, incoming) = mpsc::unbounded_channel();
        let stop = Arc::<Notify>::default();
        let server = serve(publisher.clone(), incoming, stop.clone());
        Self { publisher, reports, dial: Dial(Arc::new(Mutex::new(sender))), server, stop }
    }

    /// Ends the control plane; its streams end with it.
    pub async fn stop(&mut self) {
        self.stop.notify_one();
        let server = &mut self.server;
        server.await.unwrap();
        let (sender, _) = mpsc::unbounded_channel();
        *self.dial.0.lock().unwrap() = sender;
    }

    /// Another control plane, which knows nothing, in the place of this one.
    pub async fn restart(&mut self) {
        if !self.server.is_finished() {
            self.stop().await;
        }
        let Self { publisher, reports, dial, server, stop } = Self::start();
        *self.dial.0.lock().unwrap() = dial.0.lock().unwrap().clone();
        (self.publisher, self.reports, self.server, self.stop) = (publisher, reports, server, stop);
    }

    pub fn publish(&self, scope: &str, revision: u64, changes: &[Change]) {
        self.publisher.publish(&scope.into(), revision, changes);
    }

    pub fn connect(&self, id: &str) -> TestProxy {
        TestProxy::start(self, &format!("{id}@gateway/a"))
    }

    /// Waits for news of `id` at `revision`.
    pub async fn report_of(&mut self, id: &str, revision: u64) -> ProxyEvent {
        loop {
            let event = self.reports.next().await;
            let at = event.report.as_ref().map(|report| report.revision);
            if event.proxy.id.as_str() == id && at == Some(revision) {
                return event;
            }
        }
    }

    pub async fn news(&mut self) -> ProxyEvent {
        self.reports.next().await
    }
}

fn serve(
    publisher: Publisher,
    incoming: mpsc::UnboundedReceiver<io::Result<DuplexStream>>,
    stop: Arc<Notify>,
) -> JoinHandle<()> {
    let (tokens, issue) = (Arc::new(Tokens), Arc::new(Tokens));
    tokio::spawn(async move {
        let incoming = UnboundedReceiverStream::new(incoming);
        let (observations, _) = mpsc::channel(1);
        let stopped = stop.notified();
        server::serve(incoming, publisher, tokens, issue, observations, stopped).await.unwrap();
    })
}

/// A proxy that writes down what it is told.
pub struct TestProxy {
    applied: mpsc::UnboundedReceiver<(u64, Vec<String>)>,
    links: mpsc::UnboundedReceiver<Link>,
    /// What will come of snapshots.
    pub bad: Arc<Mutex<Outcome>>,
    /// Nothing comes of a snapshot while it is locked.
    pub gate: Arc<tokio::sync::Mutex<()>>,
    pub reporter: Reporter,
    pub task: AbortHandle,
}

struct Notes {
    applied: mpsc::UnboundedSender<(u64, Vec<String>)>,
    links: mpsc::UnboundedSender<Link>,
    bad: Arc<Mutex<Outcome>>,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl Apply for Notes {
    async fn apply(&mut self, staged: Vec<Change>, revision: u64) -> Outcome {
        let staged = staged.iter().map(written).collect();
        let _ = self.applied.send((revision, staged));
        let _ = self.gate.lock().await;
        self.bad.lock().unwrap().clone()
    }

    fn link(&mut self, link: Link) {
        let _ = self.links.send(link);
    }
}

impl TestProxy {
    pub fn start(mesh: &Mesh, token: &str) -> Self {
        Self::spawn(Client::new(mesh.dial.clone(), settings(token)))
    }

    pub fn nothing_applied(&mut self) -> bool {
        self.applied.try_recv().is_err()
    }

    pub fn spawn(client: Client<impl Connect>) -> Self {
        let (sender, applied) = mpsc::unbounded_channel();
        let (link_sender, links) = mpsc::unbounded_channel();
        let bad = Arc::<Mutex<Outcome>>::default();
        let gate = Arc::<tokio::sync::Mutex<()>>::default();
        let mut notes =
            Notes { applied: sender, links: link_sender, bad: bad.clone(), gate: gate.clone() };
        let reporter = client.reporter();
        let task = tokio::spawn(async move { client.run(&mut notes).await }).abort_handle();
        Self { applied, links, bad, gate, reporter, task }
    }

    /// The next snapshot that was put in force.
    pub async fn applied(&mut self) -> (u64, Vec<String>) {
        self.applied.recv().await.unwrap()
    }

    pub async fn link(&mut self) -> Link {
        self.links.recv().await.unwrap()
    }
}

impl Drop for TestProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn token_proof(token: &str) -> Proof {
    Proof::Token(Redacted::new(token.to_owned()))
}

pub fn settings(token: &str) -> Settings {
    let kinds = Kind::ALL.to_vec();
    Settings { proof: token_proof(token), user_agent: "test".to_owned(), kinds }
}

fn written(change: &Change) -> String {
    let key = change.key();
    let sign = if matches!(change, Change::Upsert(_)) { '+' } else { '-' };
    format!("{sign}{}/{}", key.kind.as_str(), key.name)
}

pub fn proxy_event(id: &str, scope: &str, revision: u64) -> ProxyEvent {
    let proxy = Proxy { id: id.into(), scope: scope.into(), role: Role::Ingress };
    let report = ProxyReport { revision, refused: BTreeMap::new(), unbound: BTreeMap::new() };
    ProxyEvent { proxy, report: Some(report) }
}

/// A rule that matches everything.
pub fn route(name: &str) -> Resource {
    let path = PathMatch::Prefix("/".to_owned());
    Resource::Route(Arc::new(Route {
        name: name.into(),
        route: RouteId { kind: RouteKind::Http, object: ObjectRef::new("ns", name) },
        rule: 0,
        rule_name: None,
        created: 0,
        attachments: vec![isthmus_ir::Attachment {
            listener: Name::from("ns/gateway/http"),
            hostnames: vec![HostPattern::Any],
        }],
        matches: vec![RouteMatch { path, method: None, headers: vec![], query: vec![] }],
        filters: vec![],
        backends: vec![],
        timeouts: Timeouts::default(),
        retry: RetryPolicy::default(),
    }))
}

pub fn service(name: &str) -> Resource {
    Resource::Service(Arc::new(Service {
        name: name.into(),
        object: ObjectRef::new("ns", name),
        port: 80,
        protocol: BackendProtocol::Http1,
        balancing: Balancing::LeastRequest,
        health: HealthPolicy::default(),
        overprovision_percent: 140,
    }))
}
