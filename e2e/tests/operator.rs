//! The life of a mesh on a real cluster, as its user lives it: Helm, a MeshInstall, a Gateway that carries
//! traffic, another certificate, drift, a leader that is killed, an image that does not exist, an upgrade and
//! its way back under load, and the end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
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
  upgrade: {timeoutSeconds: 10}
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
    let load = Load::start(move || ask(address, "web", "200"));
    drift_is_repaired(cluster);
    another_replica_leads(cluster, address);
    a_bad_image_is_undone(cluster);
    another_revision_takes_over(cluster);
    for version in [VERSIONS[1], VERSIONS[0]] {
        upgrade(cluster, version);
    }
    let (answered, failed) = load.end();
    assert_eq!(failed, 0, "of {} requests", answered + failed);
    assert!(answered > 1000, "{answered} requests are no load");

    end(cluster);
}

fn install(cluster: &Cluster) {
    for version in VERSIONS {
        load_images(cluster, version).unwrap();
    }
    define(cluster, "standard").unwrap();
    let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts");
    for chart in ["isthmus-crds", "isthmus"] {
        let from = charts.join(chart).display().to_string();
        cluster.helm(&["lint", "--strict", &from]).unwrap();
        let namespace = ["--namespace", "isthmus-system", "--create-namespace"];
        cluster
            .helm(&[&["install", chart, &from, "--wait", "--timeout=2m"], &namespace[..]].concat())
            .unwrap();
    }
    cluster.apply(MESH).unwrap();
    cluster.kubectl(&["wait", "meshinstall/mesh", "--for=condition=Ready", "--timeout=60s"]).unwrap();
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
    let load = Load::start(move || ask_by_tls(address, &client).map(drop));
    serves(second, &second_der);
    let (answered, failed) = load.end();
    assert_eq!(failed, 0, "of {} handshakes", answered + failed);
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

fn upgrade(cluster: &Cluster, version: &str) {
    let mut command = Command::new(programs().join("isthmus"));
    command.arg("upgrade").arg("--kubeconfig").arg(cluster.kubeconfig());
    command.args(["--context", cluster.context(), "--version", version, "--wait=120"]);
    output(&mut command).unwrap();
    in_force(cluster, version);
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = cluster.kubectl(&["get", "deployment/web-isthmus", "-o", image]).unwrap();
    assert_eq!(image, format!("isthmus.dev/proxy:{version}"));
}

fn in_force(cluster: &Cluster, version: &str) {
    eventually(WITHIN, || {
        let told = ready(cluster)?;
        ensure!(told == format!("True InForce: version {version} runs"), "{told}");
        Ok(())
    })
    .unwrap();
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

fn end(cluster: &Cluster) {
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
}

/// Objects of ours that are still there, definitions aside: those are kept.
fn left(cluster: &Cluster) -> Result<Vec<String>> {
    let kinds = "deployments,services,endpointslices,serviceaccounts,configmaps,secrets,leases,roles,rolebindings,pods,\
                 poddisruptionbudgets,networkpolicies,clusterroles,clusterrolebindings,gatewayclasses";
    let all = cluster.kubectl(&["get", kinds, "--all-namespaces", "-o", "json"])?;
    let all: Value = serde_json::from_str(&all)?;
    let ours = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let everywhere = ["default", "kube-root-ca.crt"].contains(&name);
        let node = namespace == "kube-node-lease" || namespace == "kube-system";
        (name.contains("isthmus") || namespace == "isthmus-system") && !everywhere && !node
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

/// About 200 requests a second.
struct Load {
    ends: Arc<AtomicBool>,
    counts: Arc<[AtomicU32; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(ask: impl Fn() -> Result<()> + Clone + Send + 'static) -> Self {
        let (ends, counts) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU32; 2]>::default());
        let one = || {
            let (ends, counts, ask) = (Arc::clone(&ends), Arc::clone(&counts), ask.clone());
            thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    counts[usize::from(ask().is_err())].fetch_add(1, Ordering::Relaxed);
                    // The pace of the load, not a wait for anything.
                    thread::sleep(Duration::from_millis(20));
                }
            })
        };
        let threads = (0..4).map(|_| one()).collect();
        Self { ends, counts, threads }
    }

    /// How many requests were answered, and how many were not.
    fn end(self) -> (u32, u32) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let [answered, failed] = [0, 1].map(|index| self.counts[index].load(Ordering::Relaxed));
        (answered, failed)
    }
}
