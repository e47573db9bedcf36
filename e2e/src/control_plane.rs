//! A control plane as its pod runs it: a process of this machine, on an API server without nodes.

use std::{
    fs::{self, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::{free, install::NAMESPACE, programs};

/// What is given as the address of a pod that listens on loopback: an API server takes no loopback
/// endpoints.
const NOWHERE: &str = "192.0.2.1";

/// A control plane of the MeshInstall `mesh`. It is killed with this value.
#[derive(Debug)]
pub struct ControlPlane {
    kubeconfig: PathBuf,
    pod: String,
    listen: SocketAddr,
    probes: SocketAddr,
    directory: TempDir,
    process: Child,
}

impl ControlPlane {
    /// Runs one for the API server of this kubeconfig, as the pod of this name, which serves proxies at
    /// `listen`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(kubeconfig: &Path, pod: &str, listen: SocketAddr) -> Result<Self> {
        let (probes, directory) = (free(), tempfile::tempdir()?);
        let process = run(kubeconfig, pod, listen, probes, directory.path())?;
        let (kubeconfig, pod) = (kubeconfig.to_owned(), pod.to_owned());
        Ok(Self { kubeconfig, pod, listen, probes, directory, process })
    }

    /// Ends it as a kubelet does, and runs another one in its place.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.signal("TERM")?;
        self.process.wait()?;
        let directory = self.directory.path();
        self.process = run(&self.kubeconfig, &self.pod, self.listen, self.probes, directory)?;
        Ok(())
    }

    /// Sends it a signal, such as `STOP`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status()?;
        if !status.success() {
            bail!("the control plane takes no signal");
        }
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves proxies.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where it answers the kubelet.
    pub fn probes(&self) -> SocketAddr {
        self.probes
    }

    /// What it said so far, and those before it in its place.
    pub fn log(&self) -> String {
        fs::read_to_string(log(self.directory.path())).unwrap_or_default()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // One that has ended is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(
    kubeconfig: &Path,
    pod: &str,
    listen: SocketAddr,
    probes: SocketAddr,
    directory: &Path,
) -> Result<Child> {
    let own = if listen.ip().is_loopback() { NOWHERE.to_owned() } else { listen.ip().to_string() };
    let log = OpenOptions::new().create(true).append(true).open(log(directory))?;
    Command::new(programs().join("isthmus"))
        .args(["control-plane", "--mesh-install", "mesh", "--listen", &listen.to_string()])
        .args(["--ready-address", &probes.to_string()])
        .env("KUBECONFIG", kubeconfig)
        .envs([("POD_NAME", pod), ("POD_NAMESPACE", NAMESPACE), ("POD_IP", &own)])
        .env("ISTHMUS_LOG", "info,isthmus_control_plane::kubernetes::roots=debug")
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .context("starting a control plane")
}

fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}
