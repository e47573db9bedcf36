//! The program itself, under a control plane: its stream, its certificate, its state, its signals.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use isthmus_ir::{Change, Listener, Resource};
use isthmus_xds::{
    ca::{Issue, Issued},
    delta::server::Limits,
    server::{self, Authenticate, Caller, Denied, ProxyEvent, Publisher, Reports, Role},
};
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::wrappers::UnixListenerStream;

use crate::{
    authority::Authority,
    support::{Backend, Client, closed_port, eventually, listener, resource, route, service},
};

pub const SCOPE: &str = "gateway/infra/edge";

/// Knows one token, and signs for it.
struct Known(Authority);

impl Authenticate for Known {
    async fn authenticate(&self, caller: Caller<'_>) -> Result<server::Proxy, Denied> {
        if caller.bearer != Some("secret") {
            return Err(Denied("an unknown token".to_owned()));
        }
        Ok(server::Proxy { id: "edge-0".into(), scope: SCOPE.into(), role: Role::Ingress })
    }
}

impl Issue for Known {
    async fn issue(&self, caller: Caller<'_>, csr: Bytes) -> Result<Issued, Denied> {
        self.authenticate(caller).await?;
        Ok(Issued {
            chain: self.0.sign(&csr, "/ns/infra/sa/edge"),
            not_after: i64::MAX,
            trust_domain: self.0.domain.clone(),
            roots: vec![self.0.root().clone()],
        })
    }
}

/// A control plane on a socket in `directory`, for as long as it lives.
struct ControlPlane {
    publisher: Publisher,
    reports: Reports,
    runtime: Runtime,
}

impl ControlPlane {
    fn start(directory: &Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let (publisher, reports) = Publisher::new(Limits::default());
        let socket = directory.join("control.sock");
        drop(std::fs::remove_file(&socket));
        let entered = runtime.enter();
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        drop(entered);
        let known = Arc::new(Known(Authority::new("east.test")));
        let publishing = publisher.clone();
        runtime.spawn(async move {
            let never = std::future::pending::<()>();
            let (observations, _) = tokio::sync::mpsc::channel(1);
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

    /// Waits until the proxy has acked `revision`.
    fn acked(&mut self, revision: u64) -> ProxyEvent {
        let reports = &mut self.reports;
        self.runtime.block_on(async {
            loop {
                let event = reports.next().await;
                if event.report.as_ref().is_some_and(|report| report.revision == revision) {
                    return event;
                }
            }
        })
    }
}

/// The program, which is killed if it is still there in the end.
pub struct Program(pub Child);

impl Program {
    fn start(directory: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_isthmus-proxy"))
            .args(["--threads", "1", "--control"])
            .arg(directory.join("control.sock"))
            .arg("--state-dir")
            .arg(directory.join("state"))
            .arg("--admin")
            .arg(directory.join("admin.sock"))
            .arg("--access-log")
            .arg(directory.join("access.log"))
            .env("ISTHMUS_PROXY_TOKEN", "secret")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn is_ready(socket: &PathBuf) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut answer = String::new();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

pub fn resources(port: u16, backend: &Backend) -> Vec<Resource> {
    let Resource::Listener(base) = listener() else { panic!("a listener") };
    let listener = Listener { port, addresses: vec![Ipv4Addr::LOCALHOST.into()], ..(*base).clone() };
    let mut all =
        vec![Resource::Listener(Arc::new(listener)), resource(route("all", "/", &[("echo", 1)]))];
    all.extend(service("echo", &[backend.address]));
    all
}

#[test]
fn e2_it_serves_acks_keeps_and_ends_as_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::named("one");
    let address = closed_port();
    let mut control = ControlPlane::start(directory.path());
    let mut program = Program::start(directory.path());
    let admin = directory.path().join("admin.sock");
    eventually("the admin socket", || admin.exists());
    assert!(!is_ready(&admin), "before the first commit");

    control.publish(7, resources(address.port(), &backend));
    let report = control.acked(7).report.unwrap();
    assert!(report.refused.is_empty() && report.unbound.is_empty());
    assert!(is_ready(&admin));
    assert_eq!(Client::connect(address).get("/a?b").text(), "one");

    let log = directory.path().join("access.log");
    eventually("the access log's line", || std::fs::metadata(&log).is_ok_and(|m| m.len() > 0));
    let line = BufReader::new(std::fs::File::open(&log).unwrap()).lines().next().unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["path"], &line["status"]), (&"/a".into(), &200.into()));

    let state = directory.path().join("state");
    eventually("the kept resources", || state.join("resources").exists());
    eventually("the kept certificate", || state.join("svid").exists());

    // Alone, it serves what it kept.
    drop(control);
    program.signal("-KILL");
    program.exit_code();
    let start = Instant::now();
    let mut program = Program::start(directory.path());
    eventually("readiness", || is_ready(&admin));
    assert_eq!(Client::connect(address).get("/").text(), "one");
    assert!(start.elapsed() < Duration::from_secs(5));

    // What it holds already is acked without being sent again.
    let mut control = ControlPlane::start(directory.path());
    control.publish(8, resources(address.port(), &backend));
    control.acked(8);

    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::named("one");
    let address = closed_port();
    let mut control = ControlPlane::start(directory.path());
    let mut program = Program::start(directory.path());
    control.publish(1, resources(address.port(), &backend));
    control.acked(1);
    // A request under way holds the drain up.
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nhost: a.test\r\n");
    let metrics = directory.path().join("admin.sock");
    eventually("the connection", || is_ready(&metrics));
    program.signal("-TERM");
    eventually("the drain", || !is_ready(&metrics));
    let start = Instant::now();
    program.signal("-TERM");
    assert_eq!(program.exit_code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(1));
}
