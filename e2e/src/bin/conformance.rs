//! `conformance`: runs the official Gateway API suite against Isthmus on a test cluster and judges it. Names
//! of tests as arguments narrow the run, and then nothing is judged; `--prepare` builds only, `--accept`
//! writes the list of passed tests anew.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::path::Path;

use anyhow::{Context as _, Result};
use isthmus_e2e::{
    cluster::{self, built},
    conformance::{self, Outcome, Outcomes},
    install, programs,
};

fn main() -> Result<()> {
    let (flags, only): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let given = |flag: &str| flags.iter().any(|one| one == flag);
    built::programs()?;
    conformance::suite()?;
    if given("--prepare") {
        // Tests read these of the same modules.
        conformance::crds("standard")?;
        conformance::manifests()?;
        return Ok(());
    }
    let clusters = cluster::up(1, 1)?;
    let cluster = clusters.all().first().context("no cluster")?;
    let directory = programs().join("../conformance");
    conformance::prepare(cluster)?;
    install::install(cluster)?;
    let outcomes = conformance::run(cluster, &directory, &only)?;
    let summary = conformance::summary(&outcomes);
    std::fs::write(directory.join("summary.md"), &summary)?;
    println!("{summary}");
    if given("--accept") {
        accept(&outcomes, &conformance::passed_once())?;
    }
    if only.is_empty() {
        let passed_once = std::fs::read_to_string(conformance::passed_once())?;
        conformance::judge(&outcomes, &passed_once)?;
    }
    Ok(())
}

/// Writes the list of passed tests.
fn accept(outcomes: &Outcomes, list: &Path) -> Result<()> {
    let mut lines = vec!["# Tests of the suite that passed once; `conformance --accept` writes this."];
    lines.extend(conformance::with(outcomes, Outcome::Passed));
    Ok(std::fs::write(list, lines.join("\n") + "\n")?)
}
