//! Names of the ClusterSet from a running instance: asked over UDP and TCP by an independent resolver, and
//! then what answers at the address.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
};

use isthmus_e2e::{free, programs};

const PATIENCE: Duration = Duration::from_secs(30);
const SERVICE: &str = "cart.shop.svc.clusterset.local.";

/// Answers every connection with 200 and `cart`.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ncart");
                }
            });
        }
    });
    address
}

fn manifests(dns: SocketAddr, backend: SocketAddr) -> String {
    format!(
        "
apiVersion: isthmus.dev/v1alpha1
kind: MeshInstall
metadata: {{name: mesh}}
spec:
  cluster: {{id: east}}
  gateways: {{eastWest: {{address: {ip}, port: {east_west}}}}}
  dns: {{address: {ip}, port: {dns}}}
---
apiVersion: v1
kind: Service
metadata: {{name: cart, namespace: shop}}
spec: {{ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: cart-1, namespace: shop, labels: {{kubernetes.io/service-name: cart}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {{name: cart, namespace: shop}}
",
        ip = dns.ip(),
        east_west = free().port(),
        dns = dns.port(),
        port = backend.port()
    )
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(programs().join("isthmus"));
    command.arg("run").arg("-f").arg(directory.join("mesh.yaml"));
    command.arg("--state-dir").arg(directory.join("state")).stdin(Stdio::null());
    command
}

/// An instance that has said that it is ready.
fn run(directory: &Path) -> Running {
    let mut child = command(directory).stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let running = Running(child);
    let ready = BufReader::new(output).lines().map_while(Result::ok).any(|l| l.starts_with("ready"));
    assert!(ready, "it ended without a ready line");
    running
}

fn resolver(address: SocketAddr, mut connection: ConnectionConfig) -> TokioResolver {
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    (options.attempts, options.cache_size) = (1, 0);
    builder.build().unwrap()
}

/// The address of the service and the port of `http`.
async fn whereabouts(resolver: &TokioResolver) -> SocketAddr {
    let found = resolver.lookup_ip(SERVICE).await.unwrap();
    let address: IpAddr = found.iter().next().unwrap();
    let found = resolver.lookup(format!("_http._tcp.{SERVICE}"), RecordType::SRV).await.unwrap();
    let port = found.answers().iter().find_map(|record| match &record.data {
        RData::SRV(srv) => Some(srv.port),
        _ => None,
    });
    SocketAddr::new(address, port.unwrap())
}

/// What is answered there, as soon as anything is: the name may be there before the listener.
fn ask(address: SocketAddr) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        match answer {
            Ok(answer) if answer.contains(" 200 ") => return answer,
            answer if Instant::now() > deadline => panic!("nobody serves at {address}: {answer:?}"),
            _ => std::thread::yield_now(),
        }
    }
}

#[test]
fn an_instance_whose_own_port_is_taken_does_not_start() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let manifest = format!(
        "apiVersion: isthmus.dev/v1alpha1\nkind: MeshInstall\nmetadata: {{name: mesh}}\n\
         spec: {{gateways: {{eastWest: {{port: {port}}}}}, dns: {{port: {}}}}}\n",
        free().port()
    );
    std::fs::write(directory.path().join("mesh.yaml"), manifest).unwrap();
    let output = command(directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("spec.gateways.eastWest"));
}

#[tokio::test]
async fn h12_a_name_leads_to_a_service_over_udp_and_tcp() {
    let directory = tempfile::tempdir().unwrap();
    let dns = free();
    std::fs::write(directory.path().join("mesh.yaml"), manifests(dns, backend())).unwrap();
    let instance = run(directory.path());
    let mut found = Vec::new();
    for connection in [ConnectionConfig::udp(), ConnectionConfig::tcp()] {
        found.push(whereabouts(&resolver(dns, connection)).await);
    }
    assert_eq!(found.first(), found.last());
    let address = *found.first().unwrap();
    assert!(address.ip().is_loopback() && (20_000..30_000).contains(&address.port()), "{address}");
    assert!(ask(address).ends_with("cart"));

    // A second instance that wants the same port runs, and says so.
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("mesh.yaml"), manifests(dns, backend())).unwrap();
    let mut second = command(other.path()).stderr(Stdio::piped()).spawn().unwrap();
    let output = second.stderr.take().unwrap();
    let _second = Running(second);
    let said = |line: &String| line.contains("spec.dns.port") && line.contains(&dns.to_string());
    assert!(BufReader::new(output).lines().map_while(Result::ok).any(|line| said(&line)));

    // After a restart the service is where it was.
    drop(instance);
    let _again = run(directory.path());
    let again = whereabouts(&resolver(dns, ConnectionConfig::udp())).await;
    assert_eq!(again, address);
    assert!(ask(again).ends_with("cart"));
}
