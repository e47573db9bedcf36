//! Child processes of the demo: clusters and echo backends, ended by their ids and never orphaned.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, UnixStream},
    process::{Child, Command},
};

const START: Duration = Duration::from_secs(30);
const DRAIN: Duration = Duration::from_secs(15);

/// The program that people type, which the demo runs as they would.
pub fn isthmus() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find the isthmus program itself")
}

/// An echo backend.
pub struct Echo {
    child: Child,
}

impl Echo {
    /// Starts a backend called `name` and waits until it accepts connections.
    ///
    /// # Errors
    /// When it does not within 30 s.
    pub async fn start(name: &str, address: SocketAddr) -> anyhow::Result<Self> {
        ensure!(
            TcpStream::connect(address).await.is_err(),
            "something else listens on {address}; stop it, the demo's manifests name this address"
        );
        let child = Command::new(isthmus()?)
            .args(["demo", "echo", "--name", name, "--address", &address.to_string()])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start an echo backend")?;
        let deadline = tokio::time::Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            ensure!(tokio::time::Instant::now() < deadline, "echo backend {name} does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { child })
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("cannot kill an echo backend")
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

/// One cluster: `isthmus run` with its proxies.
pub struct Cluster {
    /// `east` or `west`.
    pub name: &'static str,
    /// Where its manifests are.
    pub manifests: PathBuf,
    state_dir: PathBuf,
    child: Child,
}

impl Cluster {
    /// Starts the cluster on the manifests in `directory/name` and waits for its `ready` line.
    ///
    /// # Errors
    /// When it ends or is not ready within 30 s.
    pub async fn start(name: &'static str, directory: &Path) -> anyhow::Result<Self> {
        let manifests = directory.join(name);
        let state_dir = directory.join(format!("{name}.state"));
        let log = std::fs::File::create(directory.join(format!("{name}.log")))?;
        let mut child = Command::new(isthmus()?)
            .arg("run")
            .arg("-f")
            .arg(&manifests)
            .arg("--state-dir")
            .arg(&state_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start cluster {name}"))?;
        let stdout = child.stdout.take().context("the cluster's output is not piped")?;
        let cluster = Self { name, manifests, state_dir, child };
        tokio::time::timeout(START, ready(BufReader::new(stdout)))
            .await
            .with_context(|| format!("cluster {name} is not ready after {} s", START.as_secs()))
            .and_then(|ready| ready)
            .with_context(|| format!("see {}", directory.join(format!("{name}.log")).display()))?;
        Ok(cluster)
    }

    /// Runs `isthmus ARGS --state-dir ...` as a person would; its standard output.
    ///
    /// # Errors
    /// When the command fails: its standard error is the message.
    pub async fn command(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(isthmus()?)
            .args(args)
            .arg("--state-dir")
            .arg(&self.state_dir)
            .stdin(Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("`isthmus {}` failed ({}): {}", args.join(" "), output.status, error.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The process id of its proxy in `role`, when it runs.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn proxy(&self, role: &str) -> anyhow::Result<Option<u32>> {
        let proxy = self.proxy_of(role).await?;
        let pid = proxy.as_ref().and_then(|p| p.get("pid")).and_then(serde_json::Value::as_u64);
        Ok(pid.and_then(|pid| u32::try_from(pid).ok()))
    }

    /// Attempts that its edge gateway has made again since it started.
    ///
    /// # Errors
    /// When the gateway's admin socket does not answer.
    pub async fn retries(&self) -> anyhow::Result<u64> {
        let proxy = self.proxy_of("ingress").await?.context("there is no edge gateway")?;
        let admin =
            proxy.get("admin").and_then(|a| a.as_str()).context("its admin address is unknown")?;
        let mut socket = UnixStream::connect(admin).await?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        socket.read_to_string(&mut text).await?;
        let value = |line: &str| line.rsplit(' ').next().and_then(|v| v.parse::<u64>().ok());
        Ok(text.lines().filter(|l| l.starts_with("isthmus_retries_total")).filter_map(value).sum())
    }

    async fn proxy_of(&self, role: &str) -> anyhow::Result<Option<serde_json::Value>> {
        let listed = self.command(&["get", "proxies", "-o", "json"]).await?;
        let proxies: serde_json::Value = serde_json::from_str(&listed)?;
        let items = proxies.get("items").and_then(|i| i.as_array()).cloned().unwrap_or_default();
        Ok(items.into_iter().find(|p| p.get("role").and_then(|r| r.as_str()) == Some(role)))
    }

    /// The state directory, for commands to try.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Lets it drain and end.
    ///
    /// # Errors
    /// When it does not end with code 0 in time.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id() {
            signal(pid, Signal::Terminate)?;
        }
        let status = tokio::time::timeout(DRAIN, self.child.wait()).await.with_context(|| {
            format!("cluster {} did not end within {} s", self.name, DRAIN.as_secs())
        })??;
        ensure!(status.success(), "cluster {} ended with {status}", self.name);
        Ok(())
    }
}

async fn ready(stdout: BufReader<tokio::process::ChildStdout>) -> anyhow::Result<()> {
    let mut lines = stdout.lines();
    while let Some(line) = lines.next_line().await? {
        if line.starts_with("ready") {
            // Keeps the pipe open and drained for as long as the cluster lives.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(());
        }
    }
    bail!("it ended before it was ready")
}

/// What the tour does to a process.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// `SIGKILL`: a crash.
    Kill,
    /// `SIGSTOP`: frozen; the kernel still completes TCP handshakes for it.
    Stop,
    /// `SIGCONT`.
    Continue,
    /// `SIGTERM`.
    Terminate,
}

/// Sends `signal` to process `pid`.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let name = match signal {
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
        Signal::Terminate => "TERM",
    };
    let status = std::process::Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .context("cannot run kill")?;
    ensure!(status.success(), "cannot send SIG{name} to process {pid}: it is gone");
    Ok(())
}
