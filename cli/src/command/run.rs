//! `isthmus run`: an instance on this machine, until it is told to end.

use std::{future::Future, io, io::Write as _, path::PathBuf};

use clap::Args;
use isthmus_control_plane::{
    files::{diagnostic::Diagnostic, source::Given},
    instance::Readiness,
    instance::{self, InstanceError, Observer, Options},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{Files, Instance, complain};
use crate::failure::Failure;

/// Run the control plane and its proxies on this machine, from manifests.
///
/// Prints one line that begins with `ready` when every accepted Gateway is programmed, or says in its
/// status why it cannot be. SIGTERM and SIGINT drain; a second one ends at once.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    instance: Instance,
    /// The proxy's program; by default the one beside this one.
    #[arg(long, value_name = "FILE", env = "ISTHMUS_PROXY", hide = true)]
    proxy: Option<PathBuf>,
}

impl Run {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let given = self.files.paths().map(Given::open).collect::<Result<_, _>>();
        let given = given.map_err(|error| Failure::Invalid(error.to_string()))?;
        let options = Options { given, state_dir: self.instance.state_dir, proxy: self.proxy };
        let (first, second) = signals()?;
        Ok(instance::run(options, Console, first, second).await?)
    }
}

impl From<InstanceError> for Failure {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Install(_)
            | InstanceError::AnotherCluster { .. }
            | InstanceError::EastWest(_) => Self::invalid(&error),
            error => Self::internal(&error),
        }
    }
}

/// Tells people what happens.
struct Console;

impl Observer for Console {
    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        complain(std::slice::from_ref(diagnostic));
    }

    fn ready(&mut self, readiness: &Readiness) {
        let mut out = io::stdout();
        // Whoever waited for it may be gone.
        let _ = writeln!(out, "{readiness}").and_then(|()| out.flush());
    }
}

/// Ready at the first SIGTERM or SIGINT, and at the second one.
pub(super) fn signals() -> io::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (counted, count) = watch::channel(0_u32);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            counted.send_modify(|count| *count += 1);
        }
    });
    let after = |least: u32, mut count: watch::Receiver<u32>| async move {
        // The sender lives for as long as the process.
        let _ = count.wait_for(|count| *count >= least).await;
    };
    Ok((after(1, count.clone()), after(2, count)))
}
