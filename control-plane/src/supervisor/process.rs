//! One proxy process: started by us, or left by a control plane before us.

use std::{
    fs, io,
    os::fd::{AsFd as _, OwnedFd},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
};

use isthmus_xds::server::{Proxy, Role};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::{
    io::unix::AsyncFd,
    process::{Child, Command},
};

use super::{Config, Tuning};
use crate::tokens::Bearer;

/// The file that a process is found by after a restart.
const RECORD: &str = "process.json";

/// What a proxy is to be, and the proof of it.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) bearer: Bearer,
    pub(super) token: String,
    /// Process id and time of start, when it is one that ran before.
    ran: Option<(u32, u64)>,
}

/// What is written down of a process.
#[derive(Serialize, Deserialize)]
struct Record {
    pid: u32,
    /// In the kernel's ticks since boot: with the process id, it names one process only.
    started: u64,
    id: String,
    scope: String,
    east_west: bool,
    identity: isthmus_ir::SpiffeId,
    token: String,
}

impl Spec {
    pub(super) fn new(bearer: Bearer) -> Self {
        Self { bearer, token: String::new(), ran: None }
    }

    /// What was written down in `directory`.
    pub(super) fn recorded(directory: &Path) -> Option<Self> {
        let record: Record = serde_json::from_slice(&fs::read(directory.join(RECORD)).ok()?).ok()?;
        let role = if record.east_west { Role::EastWest } else { Role::Ingress };
        let proxy = Proxy { id: record.id.into(), scope: record.scope.into(), role };
        let bearer = Bearer { proxy, identity: record.identity };
        Some(Self { bearer, token: record.token, ran: Some((record.pid, record.started)) })
    }

    fn record(&self, pid: u32) -> Option<Record> {
        let Bearer { proxy, identity } = &self.bearer;
        Some(Record {
            pid,
            started: started(pid)?,
            id: proxy.id.to_string(),
            scope: proxy.scope.to_string(),
            east_west: proxy.role == Role::EastWest,
            identity: identity.clone(),
            token: self.token.clone(),
        })
    }
}

/// When process `pid` started, if there is one: field 22 of `/proc/<pid>/stat`, counted behind the name,
/// which may hold anything.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// A process that runs.
#[derive(Debug)]
pub(super) enum Running {
    /// One of ours.
    Child(Child, u32),
    /// One that a control plane before us started.
    Adopted(AsyncFd<OwnedFd>, u32),
}

impl Running {
    /// Starts a proxy.
    pub(super) fn start(
        config: &Config,
        spec: &Spec,
        tuning: &Tuning,
        directory: &Path,
    ) -> io::Result<Self> {
        let mut command = Command::new(&config.program);
        command.arg("--control").arg(&config.control).arg("--state-dir").arg(directory);
        command.arg("--admin").arg(directory.join("admin.sock"));
        if let Some(threads) = tuning.threads {
            command.arg("--threads").arg(threads.to_string());
        }
        if tuning.access_log {
            command.arg("--access-log").arg("-");
        }
        command
            .env("ISTHMUS_PROXY_TOKEN", &spec.token)
            .env("ISTHMUS_PROXY_ID", spec.bearer.proxy.id.as_str());
        // Its own process group: Ctrl-C is for the control plane, which then drains its proxies. Our
        // standard output is for answers, so that what it has to say goes to our standard error; not by
        // way of a pipe, which would break when this control plane dies.
        let stdout = io::stderr().as_fd().try_clone_to_owned()?;
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::from(stdout));
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        if let Some(record) = spec.record(pid) {
            let text = serde_json::to_vec(&record)?;
            crate::state_dir::replace(&directory.join(RECORD), &text)?;
        }
        Ok(Self::Child(child, pid))
    }

    /// The process that `spec` was written down for, if it still runs.
    pub(super) fn adopt(directory: &Path, spec: &Spec) -> Option<Self> {
        let (pid, start) = spec.ran?;
        let handle = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let handle = pidfd_open(handle, PidfdFlags::NONBLOCK).ok()?;
        // Looked at after it was opened: the handle cannot become another process any more.
        if started(pid) != Some(start) {
            let _ = fs::remove_file(directory.join(RECORD));
            return None;
        }
        #[expect(
            deprecated,
            reason = "what took its place is unsafe, for types that may close their descriptor early; an \
                      OwnedFd does not"
        )]
        Some(Self::Adopted(AsyncFd::new(handle).ok()?, pid))
    }

    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Child(_, pid) | Self::Adopted(_, pid) => *pid,
        }
    }

    /// Waits until it ends; how it did.
    pub(super) async fn ended(&mut self) -> String {
        match self {
            Self::Child(child, _) => match child.wait().await {
                Ok(status) => describe(status),
                Err(error) => format!("it cannot be waited for: {error}"),
            },
            Self::Adopted(handle, _) => {
                let _ = handle.readable().await;
                "it ended".to_owned()
            }
        }
    }

    /// Asks it to drain and end.
    pub(super) fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let sent = match self {
            // Not reaped yet, so that its id is still its own; none once it was.
            Self::Child(child, _) => {
                let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
                pid.map_or(Ok(()), |pid| rustix::process::kill_process(pid, signal))
            }
            Self::Adopted(handle, _) => pidfd_send_signal(handle.get_ref(), signal),
        };
        if let Err(error) = sent {
            tracing::debug!(pid = self.pid(), ?signal, %error, "signal not sent");
        }
    }
}

/// Takes back what was written down of a process that has ended.
pub(super) fn forget(directory: &Path) {
    let _ = fs::remove_file(directory.join(RECORD));
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}
