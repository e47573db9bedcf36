//! `isthmus run`.

use std::io::Write as _;

use isthmus_control_plane::{
    core::Readiness,
    files::{diagnostic::Diagnostic, source::Given},
    instance::{self, InstanceError, Observer, Options},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{Exit, arguments::Run};

/// Tells people what happens.
struct Console;

impl Observer for Console {
    fn diagnostic(&mut self, diagnostic: &Diagnostic) {
        eprintln!("{diagnostic}\n");
    }

    fn ready(&mut self, readiness: &Readiness) {
        let mut out = std::io::stdout();
        // Whoever waited for it may be gone.
        let _ = writeln!(out, "{readiness}").and_then(|()| out.flush());
    }
}

pub(crate) async fn run(arguments: Run) -> Result<(), Exit> {
    let given = arguments.filename.iter().map(|path| Given::open(path));
    let given = given.collect::<Result<_, _>>().map_err(|error| Exit::Input(error.into()))?;
    let proxy = std::env::var_os("ISTHMUS_PROXY").map(Into::into);
    let options = Options { given, state_dir: arguments.state.state_dir, proxy };
    let (first, second) = signals().map_err(|error| Exit::Internal(error.into()))?;
    instance::run(options, Console, first, second).await.map_err(exit)
}

fn exit(error: InstanceError) -> Exit {
    match error {
        InstanceError::Install(_) | InstanceError::AnotherCluster { .. } => Exit::Input(error.into()),
        _ => Exit::Internal(error.into()),
    }
}

/// Ready at the first SIGTERM or SIGINT, and at the second one.
fn signals() -> std::io::Result<(impl Future<Output = ()>, impl Future<Output = ()>)> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (counted, count) = tokio::sync::watch::channel(0_u32);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            counted.send_modify(|count| *count += 1);
        }
    });
    let after = |least: u32, mut count: tokio::sync::watch::Receiver<u32>| async move {
        let _ = count.wait_for(|count| *count >= least).await;
    };
    Ok((after(1, count.clone()), after(2, count)))
}
