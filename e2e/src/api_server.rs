//! A Kubernetes API server without nodes, on loopback ports of its own: for what is decided by objects
//! alone. It is up in two seconds and gone with this value.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    cluster::{
        built,
        command::{eventually, fed, output},
    },
    free,
};

/// The token of its administrator, who is the only user with one.
const TOKEN: &str = "administrator";
/// How long it may take to come up on a busy machine.
const UP: Duration = Duration::from_secs(90);

/// An API server and its etcd.
#[derive(Debug)]
pub struct ApiServer {
    programs: PathBuf,
    directory: TempDir,
    address: SocketAddr,
    processes: Vec<Child>,
}

impl ApiServer {
    /// Starts one, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start() -> Result<Self> {
        let programs = built::programs()?.join("bin");
        let directory = tempfile::tempdir()?;
        let mut server = Self { programs, directory, address: free(), processes: Vec::new() };
        server.write()?;
        let etcd = server.etcd()?;
        server.serve(&etcd)?;
        eventually(UP, || server.kubectl(&["get", "namespace", "default"]))?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// A kubeconfig for its administrator by way of `address`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_by(&self, address: SocketAddr) -> Result<PathBuf> {
        let path = self.path(&format!("kubeconfig-{}", address.port()));
        fs::write(&path, kubeconfig(address))?;
        Ok(path)
    }

    /// Applies definitions of kinds, and waits until they are in force.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn define(&self, definitions: &str) -> Result<()> {
        self.apply(definitions)?;
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).map(drop)
    }

    /// Defines our own kinds.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn define_own(&self) -> Result<()> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/manifests");
        let mut all = String::new();
        for file in fs::read_dir(own)? {
            all.push_str("---\n");
            all.push_str(&fs::read_to_string(file?.path())?);
        }
        self.define(&all)
    }

    /// What kubectl says.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments))
    }

    /// Applies manifests by server-side apply.
    ///
    /// # Errors
    /// When the API server refuses one, with its words.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        fed(self.command().args(arguments), manifests.as_bytes())
    }

    fn command(&self) -> Command {
        let mut command = self.program("kubectl");
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command
    }

    /// One of the programs. It collects its garbage seldom: they live short, and many do at a time.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("GOGC", "400");
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self) -> Result<()> {
        fs::write(self.kubeconfig(), kubeconfig(self.address))?;
        fs::write(self.path("tokens"), format!("{TOKEN},administrator,1,system:masters\n"))?;
        let key = rcgen::KeyPair::generate()?;
        fs::write(self.path("key"), key.serialize_pem())?;
        fs::write(self.path("public"), key.public_key_pem())?;
        Ok(())
    }

    /// Starts etcd; where its clients find it.
    fn etcd(&mut self) -> Result<String> {
        let (clients, peers) = (format!("http://{}", free()), format!("http://{}", free()));
        let mut etcd = self.program("etcd");
        etcd.arg("--data-dir").arg(self.path("etcd"));
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--unsafe-no-fsync"]);
        self.spawn(etcd, "etcd.log")?;
        Ok(clients)
    }

    fn serve(&mut self, etcd: &str) -> Result<()> {
        let mut server = self.program("kube-apiserver");
        let (ip, port) = (self.address.ip().to_string(), self.address.port().to_string());
        server.args(["--etcd-servers", etcd, "--bind-address", &ip, "--secure-port", &port]);
        server.arg("--cert-dir").arg(self.path("certificates"));
        server.arg("--token-auth-file").arg(self.path("tokens"));
        server.arg("--service-account-key-file").arg(self.path("public"));
        server.arg("--service-account-signing-key-file").arg(self.path("key"));
        server.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        server.args(["--service-cluster-ip-range", "10.99.0.0/16", "--authorization-mode", "RBAC"]);
        server.args(["--endpoint-reconciler-type", "none"]);
        self.spawn(server, "server.log")
    }

    fn spawn(&mut self, mut command: Command, log: &str) -> Result<()> {
        let log = fs::File::create(self.path(log))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let name = command.get_program().to_owned();
        let child =
            command.spawn().with_context(|| format!("starting {}", Path::new(&name).display()))?;
        self.processes.push(child);
        Ok(())
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The API server before its etcd.
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn kubeconfig(address: SocketAddr) -> String {
    let server = format!("https://{address}");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    })
    .to_string()
}
