//! The program under a control plane on the network: TLS, tokens, readiness by TCP, a drain that is announced.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use isthmus_identity::{Anchors, Optional, crypto_provider};
use isthmus_ir::{Change, Resource};
use isthmus_xds::{
    ca::{Issue, Issued},
    delta::server::Limits,
    server::{self, Authenticate, Caller, Denied, Publisher, Reports, Role},
    tls::{Peer, incoming, server_config},
};
use rustls::{
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

use crate::{
    authority::Authority,
    program::{Program, SCOPE, resources},
    support::{Backend, Client, closed_port, eventually},
};

const CONTROL: &str = "/ns/isthmus-system/sa/isthmus-control-plane";
const EDGE: &str = "/ns/infra/sa/edge";

/// Streams to those who show the edge's SVID, and SVIDs to those who know the token.
struct Known(Arc<Authority>);

impl Authenticate for Known {
    async fn authenticate(&self, caller: Caller<'_>) -> Result<server::Proxy, Denied> {
        let peer = caller.extensions.get::<Peer>().and_then(|peer| peer.id.as_ref());
        if peer != Some(&self.0.id(EDGE)) {
            return Err(Denied("an SVID is required".to_owned()));
        }
        Ok(server::Proxy { id: "edge-0".into(), scope: SCOPE.into(), role: Role::Ingress })
    }
}

impl Issue for Known {
    async fn issue(&self, caller: Caller<'_>, csr: Bytes) -> Result<Issued, Denied> {
        if caller.bearer != Some("secret") {
            return Err(Denied("the token is not valid".to_owned()));
        }
        Ok(Issued {
            chain: self.0.sign(&csr, EDGE),
            not_after: i64::MAX,
            trust_domain: self.0.domain.clone(),
            roots: vec![self.0.root().clone()],
        })
    }
}

/// A control plane on `address`, for as long as it lives.
struct ControlPlane {
    publisher: Publisher,
    reports: Reports,
    runtime: Runtime,
}

impl ControlPlane {
    fn start(address: SocketAddr, authority: &Arc<Authority>) -> Self {
        let runtime = Runtime::new().unwrap();
        let (publisher, reports) = Publisher::new(Limits::default());
        let own = authority.svid(CONTROL);
        let chain = own.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from(own.key.expose().to_vec()).into();
        let key = CertifiedKey::from_der(chain, key, &crypto_provider()).unwrap();
        let anchors = Anchors::new(&authority.domain, [authority.root()]).unwrap();
        let config = server_config(Optional(anchors), Arc::new(key)).unwrap();
        let known = Arc::new(Known(Arc::clone(authority)));
        let publishing = publisher.clone();
        runtime.spawn(async move {
            let (_config, current) = watch::channel(config);
            let listener = TcpListener::bind(address).await.unwrap();
            let never = std::future::pending::<()>();
            let (observations, _) = tokio::sync::mpsc::channel(1);
            let incoming = incoming(listener, current);
            server::serve(incoming, publishing, Arc::clone(&known), known, observations, never)
                .await
                .unwrap();
        });
        Self { publisher, reports, runtime }
    }

    fn publish(&self, revision: u64, resources: Vec<Resource>) {
        let changes: Vec<Change> = resources.into_iter().map(Change::Upsert).collect();
        self.publisher.publish(&SCOPE.into(), revision, &changes);
    }

    fn acked(&mut self, revision: u64) {
        let reports = &mut self.reports;
        let acked = async {
            while reports.next().await.report.is_none_or(|report| report.revision != revision) {}
        };
        let waited = async { tokio::time::timeout(Duration::from_secs(30), acked).await };
        self.runtime.block_on(waited).unwrap();
    }
}

/// What a pod of the proxy has.
struct Pod {
    directory: tempfile::TempDir,
    control: SocketAddr,
    ready: SocketAddr,
    authority: Arc<Authority>,
    expected: String,
}

impl Pod {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::new("east.test"));
        let expected = authority.id(CONTROL).to_string();
        Self { directory, control: closed_port(), ready: closed_port(), authority, expected }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn with_token(self) -> Self {
        fs::write(self.path("token"), "secret\n").unwrap();
        self
    }

    fn with_roots(self) -> Self {
        fs::write(self.path("root.pem"), self.authority.root_pem()).unwrap();
        self
    }

    fn start(&self, more: &[&str]) -> Program {
        let log = fs::File::create(self.path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_isthmus-proxy"))
            .args(["--threads", "1", "--control-plane", &self.control.to_string()])
            .args(["--control-plane-id", &self.expected])
            .arg("--roots")
            .arg(self.path("root.pem"))
            .arg("--token-file")
            .arg(self.path("token"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(["--ready-address", &format!("[::]:{}", self.ready.port())])
            .args(more)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Program(child)
    }

    fn ask(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.ready).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    fn is_ready(&self) -> bool {
        self.ask("/ready").is_some_and(|(status, _)| status == 200)
    }

    /// Waits until the log says something; how often it does.
    fn said(&self, what: &str) -> usize {
        let said = || fs::read_to_string(self.path("log")).unwrap().matches(what).count();
        eventually(what, || said() > 0);
        said()
    }
}

#[test]
fn e7_a_token_brings_an_svid_and_the_svid_brings_the_stream() {
    let pod = Pod::new().with_roots();
    let backend = Backend::named("one");
    let address = closed_port();
    let mut control = ControlPlane::start(pod.control, &pod.authority);
    control.publish(7, resources(address.port(), &backend));
    let mut program = pod.start(&["--drain-wait", "0"]);
    pod.said("the token file");
    assert_eq!(pod.ask("/ready").unwrap(), (503, "waiting for the control plane\n".to_owned()));
    let pod = pod.with_token();
    control.acked(7);
    assert!(pod.is_ready());
    assert_eq!(pod.ask("/config_dump").unwrap(), (404, "/ready /metrics\n".to_owned()));
    assert!(pod.ask("/metrics").unwrap().1.contains("isthmus_"));
    assert_eq!(Client::connect(address).get("/").text(), "one");

    // Started again while nobody can say whose a token is, it comes back by the SVID that it kept.
    fs::remove_file(pod.path("token")).unwrap();
    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(0));
    let mut program = pod.start(&["--drain-wait", "0"]);
    control.publish(8, Vec::new());
    control.acked(8);

    // Alone and without roots, it serves what it kept, and says once what is missing.
    drop(control);
    program.signal("-KILL");
    program.exit_code();
    fs::remove_file(pod.path("root.pem")).unwrap();
    let _program = pod.start(&[]);
    eventually("readiness", || pod.is_ready());
    assert_eq!(Client::connect(address).get("/").text(), "one");
    pod.said("the roots file");
    let pod = pod.with_roots();
    pod.said("cannot be reached");
    assert_eq!(pod.said("the roots file"), 1);
    let mut control = ControlPlane::start(pod.control, &pod.authority);
    control.publish(9, resources(address.port(), &backend));
    control.acked(9);
}

#[test]
fn e15_before_a_drain_there_is_time_to_hear_of_it() {
    let pod = Pod::new().with_roots().with_token();
    let backend = Backend::named("one");
    let address = closed_port();
    let mut control = ControlPlane::start(pod.control, &pod.authority);
    control.publish(1, resources(address.port(), &backend));
    let mut program = pod.start(&["--drain-wait", "2"]);
    control.acked(1);
    let start = Instant::now();
    program.signal("-TERM");
    eventually("that it is not ready", || !pod.is_ready());
    assert_eq!(pod.ask("/ready").unwrap(), (503, "draining\n".to_owned()));
    // Who has not heard of it yet is served as ever.
    let answer = Client::connect(address).get("/");
    assert_eq!((answer.status(), answer.values("connection").len()), (200, 0));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(program.exit_code(), Some(0));
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn another_control_plane_than_the_expected_one_is_named() {
    let mut pod = Pod::new().with_roots().with_token();
    let control = pod.authority.id(CONTROL);
    let _control = ControlPlane::start(pod.control, &pod.authority);
    let other = pod.authority.id("/ns/isthmus-system/sa/other").to_string();
    pod.expected.clone_from(&other);
    let _program = pod.start(&[]);
    pod.said(&format!("TLS identity mismatch at {}: expected {other}, got {control}", pod.control));
}
