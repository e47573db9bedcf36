//! `isthmus run` on a directory, and what can be asked of it.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub use isthmus_e2e::free;
use serde_json::Value;

/// Nothing here takes longer than this on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where backends listen.
pub fn backends() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

/// A running instance; it is ended with the test, and its proxies with it.
pub struct Instance {
    child: Child,
    directory: tempfile::TempDir,
    /// The line that it printed when it was ready.
    pub ready: String,
}

impl Instance {
    /// Runs the instance on `manifests`, until it is ready.
    pub fn start(manifests: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("m")).unwrap();
        fs::write(directory.path().join("m/all.yaml"), manifests).unwrap();
        let (child, ready) = run(directory.path().join("m"), directory.path().join("state"));
        Self { child, directory, ready }
    }

    /// Writes a file of manifests.
    pub fn write(&self, name: &str, manifests: &str) {
        let directory = self.directory.path();
        fs::write(directory.join("written"), manifests).unwrap();
        fs::rename(directory.join("written"), directory.join("m").join(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.directory.path().join("m").join(name)).unwrap();
    }

    /// What `isthmus ARGS` prints about this instance, and its exit code.
    pub fn isthmus(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(program())
            .args(args)
            .arg("--state-dir")
            .arg(self.directory.path().join("state"))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    /// An object as `isthmus get` shows it.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let (code, text) = self.isthmus(&["get", kind, name, "-n", namespace, "-o", "json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The process ids of its proxies.
    pub fn proxies(&self) -> Vec<u32> {
        let (_, text) = self.isthmus(&["get", "proxies", "-o", "json"]);
        let listed: Value = serde_json::from_str(&text).unwrap();
        let pid = |proxy: &Value| proxy["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        listed["items"].as_array().unwrap().iter().filter_map(pid).collect()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal("TERM", self.child.id());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end", || self.child.try_wait().unwrap())
    }

    /// Ends the control plane alone, as a crash would.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Runs it again on the same directories.
    pub fn restart(&mut self) {
        let directory = self.directory.path();
        (self.child, self.ready) = run(directory.join("m"), directory.join("state"));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            self.terminate();
            let _ = self.child.wait();
        }
    }
}

fn run(manifests: PathBuf, state: PathBuf) -> (Child, String) {
    let mut command = Command::new(program());
    command.arg("run").arg("-f").arg(manifests).arg("--state-dir").arg(state);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).find(|line| line.starts_with("ready"));
    (child, ready.expect("a ready line"))
}

/// Signals a process that a test started.
pub fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn program() -> PathBuf {
    isthmus_e2e::programs().join("isthmus")
}

/// What `look` finds, as soon as it finds something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A Gateway `gateway` in namespace `default` with one HTTP listener at `address`.
pub fn gateway(address: SocketAddr) -> String {
    let listeners = format!("  - {{name: http, protocol: HTTP, port: {}}}\n", address.port());
    gateway_of("gateway", address.ip(), &listeners)
}

/// A Gateway in namespace `default` with these listeners.
pub fn gateway_of(name: &str, ip: IpAddr, listeners: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: {name}
spec:
  gatewayClassName: isthmus
  addresses: [{{value: {ip}}}]
  listeners:
{listeners}"
    )
}

/// A Service of a namespace on port 8080, with an endpoint for each address.
pub fn service(namespace: &str, name: &str, extra: &str, endpoints: &[SocketAddr]) -> String {
    let mut text = format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports:
  - {{protocol: TCP, port: 8080, targetPort: 3000{extra}}}
"
    );
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (ip, port) = (endpoint.ip(), endpoint.port());
        let _ = write!(
            text,
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{index}
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{{name: \"\", protocol: TCP, port: {port}}}]
endpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]
"
        );
    }
    text
}

/// An HTTPRoute in namespace `default`, attached to `gateway`.
pub fn route(name: &str, hostname: &str, rules: &str) -> String {
    route_of("default", name, "[{name: gateway}]", &format!("[\"{hostname}\"]"), rules)
}

/// An HTTPRoute.
pub fn route_of(namespace: &str, name: &str, parents: &str, hostnames: &str, rules: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: {parents}
  hostnames: {hostnames}
  rules:
{rules}"
    )
}
