//! How long it takes to install Isthmus on a fresh cluster that has its images, in seconds: from the first
//! chart to `Ready` of the `MeshInstall`. A part of `make bench-operator`.

#![allow(clippy::print_stdout, reason = "the figure is the answer")]

use std::time::Instant;

use anyhow::{Context as _, Result};
use isthmus_e2e::{cluster, conformance, install, product::VERSION};

fn main() -> Result<()> {
    let clusters = cluster::up(1, 1)?;
    let cluster = clusters.all().first().context("no cluster")?;
    conformance::define(cluster, "standard")?;
    install::load_images(cluster, VERSION)?;
    let began = Instant::now();
    install::install_loaded(cluster)?;
    println!("{:.1}", began.elapsed().as_secs_f64());
    Ok(())
}
