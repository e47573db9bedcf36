//! The guided tour: two clusters from two directories of manifests, a steady load, and one fault after
//! another, with what the load saw of each.
//!
//! Everything here goes through what a user has: the `isthmus` command, manifests, signals to
//! processes, a socket in between. Nothing reaches into a control plane or a proxy.

mod echo;
mod load;
mod process;
mod relay;
mod report;
mod stats;
mod tour;

use std::{io::Write, net::SocketAddr, path::Path};

use anyhow::Context as _;

use crate::tour::Tour;

pub use echo::serve as serve_echo;

/// How the tour is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Print JSON at the end, and nothing else.
    pub json: bool,
    /// Leave both clusters running at the end, joined and without the load, until interrupted.
    pub keep: bool,
}

/// The manifests of both clusters, as files below the tour's directory.
const MANIFESTS: &[(&str, &str)] = &[
    ("east/mesh.yaml", include_str!("../east/mesh.yaml")),
    ("east/edge.yaml", include_str!("../east/edge.yaml")),
    ("east/echo.yaml", include_str!("../east/echo.yaml")),
    ("west/mesh.yaml", include_str!("../west/mesh.yaml")),
    ("west/echo.yaml", include_str!("../west/echo.yaml")),
    ("west/canary.yaml", include_str!("../west/canary.yaml")),
];

/// Runs the tour and prints to `out`; whether every step kept its bounds.
///
/// # Errors
/// When a part cannot be started or a fault cannot be made, or `out` cannot be written.
pub async fn run(options: Options, out: &mut impl Write) -> anyhow::Result<bool> {
    let directory = tempfile::Builder::new().prefix("isthmus-demo-").tempdir()?;
    write_manifests(directory.path())?;
    let outcome = guide(options, directory.path(), out).await;
    if !matches!(outcome, Ok(true)) {
        let kept = directory.keep();
        tracing::warn!(directory = %kept.display(), "logs, manifests and state are kept");
    }
    outcome
}

async fn guide(options: Options, directory: &Path, out: &mut impl Write) -> anyhow::Result<bool> {
    let mut screen = report::Screen::new(options.json);
    screen.begin(out)?;
    let mut tour = Tour::start(directory).await?;
    let steps = tour.run(|step| screen.step(out, step)).await?;
    screen.end(out, &steps)?;
    if options.keep {
        tour.rejoin().await?;
        let guide = tour.guide()?;
        // Standard output is the JSON's, which has ended.
        if options.json { write!(std::io::stderr(), "{guide}") } else { write!(out, "{guide}") }?;
        tokio::signal::ctrl_c().await?;
    }
    tour.stop().await?;
    Ok(steps.iter().all(|step| step.broken.is_empty()))
}

fn write_manifests(directory: &Path) -> anyhow::Result<()> {
    for (name, text) in MANIFESTS {
        let file = directory.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Serves the echo backend `name` on `address`, as `isthmus demo echo` does.
///
/// # Errors
/// As [`serve_echo`].
pub async fn run_echo(name: &str, address: SocketAddr) -> anyhow::Result<()> {
    serve_echo(address, name).await
}
