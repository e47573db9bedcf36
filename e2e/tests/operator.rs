//! The life of a mesh on a real cluster, as its user lives it: Helm, a MeshInstall, a Gateway that carries
//! traffic, another certificate, drift, a leader that is killed, an image that does not exist, an upgrade and
//! its way back under load, by Helm and by the command, and the end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking"
)]

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use isthmus_e2e::{
    cluster::{
        self, Cluster,
        command::{eventually, output},
    },
    conformance::define,
    install::load_images,
    programs,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use serde_json::Value;

const WITHIN: Duration = Duration::from_mins(1);

/// The versions between which the upgrade goes; both are what was built.
const VERSIONS: [&str; 2] = [env!("CARGO_PKG_VERSION"), "0.1.999"];

/// A route that comes later.
const LATER: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: later, namespace: default}
spec:
  parentRefs: [{name: web}]
  hostnames: [later]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}]
";

const MESH: &str = r"
apiVersion: isthmus.dev/v1alpha1
kind: MeshInstall
metadata: {name: mesh}
spec:
  cluster: {id: east}
  controlPlane: {replicas: 2}
  proxy: {replicas: 1}
  upgrade: {timeoutSeconds: 20}
";

/// A Gateway, a route, and a backend that the cluster has the image of anyway.
const WEB: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  gatewayClassName: isthmus
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: backend, port: 8080}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: backend, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: backend}}
  template:
    metadata: {labels: {app: backend}}
    spec:
      containers:
        - name: backend
          image: isthmus.dev/isthmus:VERSION
          args: [demo, echo, --name=backend, '--address=[::]:8080']
---
apiVersion: v1
kind: Service
metadata: {name: backend, namespace: default}
spec:
  selector: {app: backend}
  ports: [{port: 8080}]
";

/// Another control plane beside the mesh's own.
const NEXT: &str = r"
apiVersion: isthmus.dev/v1alpha1
kind: MeshRevision
metadata: {name: next}
spec: {meshInstall: mesh, version: 0.1.999}
";

#[test]
fn f5_f14_f15_f20_f21_f22_a_mesh_lives_and_ends() {
    let clusters = cluster::up(1, 1).unwrap();
    let cluster = &clusters.all()[0];
    install(cluster);
    cluster.apply(&WEB.replace("VERSION", VERSIONS[0])).unwrap();
    let address = eventually(WITHIN, || address(cluster)).unwrap();
    eventually(WITHIN, || ask(address, "web", "200")).unwrap();

    another_certificate_takes_over(cluster, address);
    let load = Load::start(|index| Client { address, kept: None, keeps: index % 2 == 0 }.asks());
    drift_is_repaired(cluster);
    another_replica_leads(cluster, address);
    a_bad_image_is_undone(cluster);
    another_revision_takes_over(cluster);
    helm_goes_forth_and_back(cluster);
    for version in [VERSIONS[1], VERSIONS[0]] {
        upgrade(cluster, version);
    }
    let (answered, elapsed) = load.end();
    println!("{answered} requests answered in {elapsed:?}");
    let meant = elapsed.as_secs_f64() * f64::from(Load::RATE);
    assert!(f64::from(answered) >= 0.95 * meant, "{answered} requests in {elapsed:?} are less load");

    let load = Load::start(|_| move || ask_while_it_is_there(address));
    end(cluster);
    load.end();
}

fn install(cluster: &Cluster) {
    for version in VERSIONS {
        load_images(cluster, version).unwrap();
    }
    define(cluster, "standard").unwrap();
    for name in ["isthmus-crds", "isthmus"] {
        cluster.helm(&["lint", "--strict", &chart(name)]).unwrap();
        helm(cluster, &["install", name, &chart(name), "--create-namespace"]);
    }
    cluster.apply(MESH).unwrap();
    cluster.kubectl(&["wait", "meshinstall/mesh", "--for=condition=Ready", "--timeout=60s"]).unwrap();
}

fn chart(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts").join(name).display().to_string()
}

/// Has Helm do something in the namespace of the mesh, and wait until it is done.
fn helm(cluster: &Cluster, arguments: &[&str]) {
    let within = ["--namespace", "isthmus-system", "--wait", "--timeout=2m"];
    cluster.helm(&[arguments, &within].concat()).unwrap();
}

/// A listener is never without a certificate, also while the new one may not be read yet.
fn another_certificate_takes_over(cluster: &Cluster, address: SocketAddr) {
    let address = SocketAddr::new(address.ip(), 443);
    let certificates = ["first", "second"].map(|name| (name, certificate(cluster, name)));
    let roots = Arc::new(client(certificates.each_ref().map(|(_, der)| der)));
    let serves = |name: &str, der: &CertificateDer<'static>| {
        let listeners = format!(
            r#"{{"spec":{{"listeners":[{{"name":"http","port":80,"protocol":"HTTP"}},
                {{"name":"https","port":443,"protocol":"HTTPS","tls":{{"certificateRefs":[{{"name":"{name}"}}]}}}}]}}}}"#
        );
        cluster.kubectl(&["patch", "gateway/web", "--type=merge", "-p", &listeners]).unwrap();
        eventually(WITHIN, || {
            ensure!(ask_by_tls(address, &roots)? == *der, "another certificate");
            Ok(())
        })
        .unwrap();
    };
    let [(first, first_der), (second, second_der)] = certificates;
    serves(first, &first_der);
    let client = Arc::clone(&roots);
    let load = Load::start(|_| {
        let client = Arc::clone(&client);
        move || ask_by_tls(address, &client).map(drop)
    });
    serves(second, &second_der);
    load.end();
}

/// A self-signed certificate in a Secret of this name.
fn certificate(cluster: &Cluster, name: &str) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["web".to_owned()]).unwrap();
    let secret = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default"},
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": certified.cert.pem(),
            "tls.key": certified.signing_key.serialize_pem(),
        },
    });
    cluster.apply(&secret.to_string()).unwrap();
    certified.cert.der().clone()
}

/// The leader is killed: another one serves proxies, and says what they do.
fn another_replica_leads(cluster: &Cluster, address: SocketAddr) {
    let in_mesh = "--namespace=isthmus-system";
    let holder = "jsonpath={.spec.holderIdentity}";
    let leader =
        cluster.kubectl(&[in_mesh, "get", "lease/isthmus-control-plane", "-o", holder]).unwrap();
    cluster.kubectl(&[in_mesh, "delete", "pod", &leader, "--grace-period=0", "--force"]).unwrap();
    cluster.apply(LATER).unwrap();
    eventually(WITHIN, || ask(address, "later", "302")).unwrap();
    let programmed =
        r#"jsonpath={.status.parents[0].conditions[?(@.type=="isthmus.dev/Programmed")].status}"#;
    eventually(WITHIN, || {
        let programmed = cluster.kubectl(&["get", "httproute/later", "-o", programmed])?;
        ensure!(programmed == "True", "Programmed is {programmed:?}");
        Ok(())
    })
    .unwrap();
}

fn drift_is_repaired(cluster: &Cluster) {
    cluster.kubectl(&["scale", "deployment/web-isthmus", "--replicas=3"]).unwrap();
    let control_plane = ["--namespace=isthmus-system", "delete", "service/isthmus-control-plane"];
    cluster.kubectl(&control_plane).unwrap();
    eventually(WITHIN, || {
        let replicas = "jsonpath={.spec.replicas}";
        let replicas = cluster.kubectl(&["get", "deployment/web-isthmus", "-o", replicas])?;
        ensure!(replicas == "1", "{replicas} replicas");
        cluster.kubectl(&["--namespace=isthmus-system", "get", "service/isthmus-control-plane"])
    })
    .unwrap();
}

fn a_bad_image_is_undone(cluster: &Cluster) {
    let patch = |image: &str| {
        let patch = format!(r#"{{"spec":{{"controlPlane":{{"image":{image}}}}}}}"#);
        cluster.kubectl(&["patch", "meshinstall/mesh", "--type=merge", "-p", &patch]).unwrap()
    };
    patch(r#""isthmus.dev/none:1""#);
    eventually(WITHIN, || {
        let told = ready(cluster)?;
        ensure!(told.contains("RolledBack") && told.contains("isthmus.dev/none:1"), "{told}");
        Ok(())
    })
    .unwrap();
    patch("null");
    in_force(cluster, VERSIONS[0]);
}

/// A Gateway moves to another revision and back again; the revision ends when nothing is run by it.
fn another_revision_takes_over(cluster: &Cluster) {
    let run_by = |version: &str, service: &str| {
        cluster.kubectl(&["rollout", "status", "deployment/web-isthmus", "--timeout=60s"])?;
        let container = "jsonpath={.spec.template.spec.containers[0]['image', 'args']}";
        let container = cluster.kubectl(&["get", "deployment/web-isthmus", "-o", container])?;
        let wanted = [format!("isthmus.dev/proxy:{version}"), format!("{service}.isthmus-system.svc:")];
        ensure!(wanted.iter().all(|wanted| container.contains(wanted)), "{container}");
        let programmed = r#"jsonpath={.status.conditions[?(@.type=="Programmed")].status}"#;
        let programmed = cluster.kubectl(&["get", "gateway/web", "-o", programmed])?;
        ensure!(programmed == "True", "Programmed is {programmed:?}");
        Ok(())
    };
    cluster.apply(NEXT).unwrap();
    cluster.kubectl(&["label", "gateway/web", "isthmus.dev/revision=next"]).unwrap();
    eventually(WITHIN, || run_by(VERSIONS[1], "isthmus-control-plane-next")).unwrap();
    cluster.kubectl(&["wait", "meshrevision/next", "--for=condition=Ready", "--timeout=60s"]).unwrap();
    cluster.kubectl(&["delete", "meshrevision/next", "--wait=false"]).unwrap();
    cluster.kubectl(&["label", "gateway/web", "isthmus.dev/revision-"]).unwrap();
    eventually(WITHIN, || run_by(VERSIONS[0], "isthmus-control-plane")).unwrap();
    cluster.kubectl(&["wait", "meshrevision/next", "--for=delete", "--timeout=60s"]).unwrap();
    in_force(cluster, VERSIONS[0]);
}

/// The operator brings the version of its images, and the mesh follows; so it does back again.
fn helm_goes_forth_and_back(cluster: &Cluster) {
    helm(cluster, &["upgrade", "isthmus-crds", &chart("isthmus-crds")]);
    let tag = format!("image.tag={}", VERSIONS[1]);
    helm(cluster, &["upgrade", "isthmus", &chart("isthmus"), "--set", &tag]);
    in_force(cluster, VERSIONS[1]);
    for release in ["isthmus", "isthmus-crds"] {
        helm(cluster, &["rollback", release, "1"]);
    }
    in_force(cluster, VERSIONS[0]);
}

fn upgrade(cluster: &Cluster, version: &str) {
    let mut command = Command::new(programs().join("isthmus"));
    command.arg("upgrade").arg("--kubeconfig").arg(cluster.kubeconfig());
    command.args(["--context", cluster.context(), "--version", version, "--wait=120"]);
    output(&mut command).unwrap();
    in_force(cluster, version);
}

/// Waits until the mesh and the Gateway's proxies are of this version.
fn in_force(cluster: &Cluster, version: &str) {
    eventually(WITHIN, || {
        let told = ready(cluster)?;
        ensure!(told == format!("True InForce: version {version} runs"), "{told}");
        let image = "jsonpath={.spec.template.spec.containers[0].image}";
        let image = cluster.kubectl(&["get", "deployment/web-isthmus", "-o", image])?;
        ensure!(image == format!("isthmus.dev/proxy:{version}"), "{image}");
        Ok(())
    })
    .unwrap();
    cluster.kubectl(&["rollout", "status", "deployment/web-isthmus", "--timeout=60s"]).unwrap();
}

/// The condition Ready of the newest MeshInstall.
fn ready(cluster: &Cluster) -> Result<String> {
    let install: Value =
        serde_json::from_str(&cluster.kubectl(&["get", "meshinstall/mesh", "-o", "json"])?)?;
    let seen = &install["status"]["observedGeneration"];
    ensure!(*seen == install["metadata"]["generation"], "generation {seen} is not the newest");
    let conditions = install["status"]["conditions"].as_array().context("no conditions")?;
    let ready = conditions.iter().find(|one| one["type"] == "Ready").context("no Ready")?;
    let text = |field: &str| ready[field].as_str().unwrap_or_default();
    Ok(format!("{} {}: {}", text("status"), text("reason"), text("message")))
}

/// What Isthmus made goes, in order; what its user made stays.
fn end(cluster: &Cluster) {
    let autoscale = r#"{"spec":{"proxy":{"autoscale":{"maxReplicas":2}}}}"#;
    cluster.kubectl(&["patch", "meshinstall/mesh", "--type=merge", "-p", autoscale]).unwrap();
    let autoscaler = "horizontalpodautoscaler/web-isthmus";
    cluster.kubectl(&["wait", autoscaler, "--for=create", "--timeout=60s"]).unwrap();
    let mut command = Command::new(programs().join("isthmus"));
    command.arg("uninstall").arg("--kubeconfig").arg(cluster.kubeconfig());
    output(command.args(["--context", cluster.context(), "--wait=120"])).unwrap();
    for chart in ["isthmus", "isthmus-crds"] {
        cluster.helm(&["uninstall", chart, "--namespace", "isthmus-system", "--wait"]).unwrap();
    }
    eventually(WITHIN, || {
        let left = left(cluster)?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .unwrap();
    cluster.kubectl(&["get", "gateway/web", "httproute/web", "httproute/later"]).unwrap();
}

/// Objects of ours that are still there, definitions aside: those are kept.
fn left(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = "deployments,services,endpointslices,serviceaccounts,configmaps,secrets,leases,roles,rolebindings,pods,\
                 poddisruptionbudgets,networkpolicies,clusterroles,clusterrolebindings,gatewayclasses,\
                 horizontalpodautoscalers,meshinstalls,meshrevisions";
    let all = cluster.kubectl(&["get", kinds, "--all-namespaces", "-o", "json"])?;
    let all: Value = serde_json::from_str(&all)?;
    let ours = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let everywhere = ["default", "kube-root-ca.crt"].contains(&name);
        let node = namespace == "kube-node-lease" || namespace == "kube-system";
        let mesh =
            ["MeshInstall", "MeshRevision"].contains(&object["kind"].as_str().unwrap_or_default());
        (mesh || name.contains("isthmus") || namespace == "isthmus-system") && !everywhere && !node
    };
    let items = all["items"].as_array().context("no list")?;
    Ok(items
        .iter()
        .filter(ours)
        .map(|one| format!("{} {}", one["kind"], one["metadata"]["name"]))
        .collect())
}

fn address(cluster: &Cluster) -> Result<SocketAddr> {
    let path = "jsonpath={.status.addresses[0].value}";
    let address = cluster.kubectl(&["get", "gateway/web", "-o", path])?;
    Ok(SocketAddr::new(address.parse()?, 80))
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// Asks once, and wants an answer of this status.
fn ask(address: SocketAddr, host: &str, status: &str) -> Result<()> {
    ask_on(connect(address)?, host, status)
}

fn ask_on(mut stream: impl Read + Write, host: &str, status: &str) -> Result<()> {
    write!(stream, "GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    Ok(())
}

/// Asks where somebody takes the connection: who does so answers, also while it ends.
fn ask_while_it_is_there(address: SocketAddr) -> Result<()> {
    connect(address).map_or(Ok(()), |stream| ask_on(stream, "web", "200"))
}

fn client(roots: [&CertificateDer<'static>; 2]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_root_certificates(store).with_no_client_auth()
}

/// The certificate by which a request was answered.
fn ask_by_tls(address: SocketAddr, client: &Arc<ClientConfig>) -> Result<CertificateDer<'static>> {
    let mut connection = ClientConnection::new(Arc::clone(client), ServerName::try_from("web")?)?;
    let mut stream = connect(address)?;
    connection.complete_io(&mut stream)?;
    ask_on(rustls::Stream::new(&mut connection, &mut stream), "web", "200")?;
    let shown = connection.peer_certificates().and_then(|shown| shown.first());
    Ok(shown.context("no certificate")?.clone().into_owned())
}

/// Who asks for what `web` leads to.
struct Client {
    address: SocketAddr,
    kept: Option<BufReader<TcpStream>>,
    keeps: bool,
}

impl Client {
    fn asks(mut self) -> impl FnMut() -> Result<()> + Send + 'static {
        move || {
            if !self.keeps {
                return ask(self.address, "web", "200");
            }
            // A connection that was kept may have been closed; that it was is no answer.
            if let Some(kept) = self.kept.take() {
                let answer = ask_and_keep(kept)?;
                if !matches!(answer, Answer::None) {
                    self.kept = answer.connection();
                    return Ok(());
                }
            }
            let answer = ask_and_keep(BufReader::new(connect(self.address)?))?;
            ensure!(!matches!(answer, Answer::None), "closed before it was used");
            self.kept = answer.connection();
            Ok(())
        }
    }
}

/// What came of a request on a connection.
enum Answer {
    /// It was answered, and the connection may be used again.
    Kept(BufReader<TcpStream>),
    /// It was answered, and the connection is closed.
    Last,
    /// The connection had been closed.
    None,
}

impl Answer {
    fn connection(self) -> Option<BufReader<TcpStream>> {
        match self {
            Self::Kept(connection) => Some(connection),
            Self::Last | Self::None => None,
        }
    }
}

/// Asks on a connection.
fn ask_and_keep(mut stream: BufReader<TcpStream>) -> Result<Answer> {
    let closed = stream.get_mut().write_all(b"GET /health HTTP/1.1\r\nhost: web\r\n\r\n").is_err();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(0) if head.is_empty() => return Ok(Answer::None),
            Err(error) if head.is_empty() && error.kind() == ErrorKind::ConnectionReset => {
                return Ok(Answer::None);
            }
            read => ensure!(!closed && read? > 0, "ended after {head:?}"),
        }
    }
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.context("a body without a length")?.parse()?];
    stream.read_exact(&mut body)?;
    Ok(if head.contains("connection: close") { Answer::Last } else { Answer::Kept(stream) })
}

/// 200 requests a second, each at its time.
struct Load {
    began: Instant,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u32, Vec<String>)>>,
}

impl Load {
    /// Requests a second.
    const RATE: u32 = 200;
    const THREADS: u32 = 8;
    /// Between two requests of a thread.
    const PACE: Duration = Duration::from_millis(1000 * Self::THREADS as u64 / Self::RATE as u64);

    /// A thread for each of what `client` makes.
    fn start<A: FnMut() -> Result<()> + Send + 'static>(client: impl Fn(u32) -> A) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let one = |index| {
            let (ends, mut ask) = (Arc::clone(&ends), client(index));
            thread::spawn(move || {
                let (mut answered, mut failures, mut next) = (0, Vec::new(), Instant::now());
                while !ends.load(Ordering::Relaxed) {
                    match ask() {
                        Ok(()) => answered += 1,
                        Err(error) => failures.push(format!("{error:#}")),
                    }
                    next += Self::PACE;
                    // The pace of the load, not a wait for anything.
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
                (answered, failures)
            })
        };
        let threads = (0..Self::THREADS).map(one).collect();
        Self { began: Instant::now(), ends, threads }
    }

    /// How many requests were answered, which is all of them, and in what time.
    fn end(self) -> (u32, Duration) {
        let elapsed = self.began.elapsed();
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|thread| thread.join().unwrap());
        let (answered, failures): (Vec<_>, Vec<_>) = ended.unzip();
        let (answered, failures) = (answered.iter().sum(), failures.concat());
        assert!(
            failures.is_empty(),
            "{answered} requests answered, but {}: {failures:?}",
            failures.len()
        );
        (answered, elapsed)
    }
}
