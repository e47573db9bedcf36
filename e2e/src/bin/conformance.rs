//! `conformance`: runs the official Gateway API suite against Isthmus on a test cluster and judges it. Names
//! of tests as arguments narrow the run, and then nothing is judged; `--prepare` builds only, `--accept` adds
//! tests that pass for the first time to the list of passed tests.

#![allow(clippy::print_stdout, reason = "it talks to a person")]

use std::fs;

use anyhow::{Context as _, Result, bail};
use isthmus_e2e::{
    cluster::{self, built},
    conformance::{self, Outcomes},
    install, programs,
};

fn main() -> Result<()> {
    let (flags, only): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let given = |flag: &str| flags.iter().any(|one| one == flag);
    if given("--accept") && !only.is_empty() {
        bail!("only a run of the whole suite can be accepted");
    }
    built::programs()?;
    conformance::suite()?;
    if given("--prepare") {
        // Tests read these of the same modules.
        conformance::crds("standard")?;
        conformance::manifests()?;
        return Ok(());
    }
    let outcomes = run(&only)?;
    if !only.is_empty() {
        return Ok(());
    }
    let list = conformance::passed_once();
    let passed_once = fs::read_to_string(&list)?;
    if given("--accept") {
        return Ok(fs::write(list, conformance::accepted(&outcomes, &passed_once)?)?);
    }
    conformance::judge(&outcomes, &passed_once)
}

/// Runs the suite, or some of its tests, on a cluster of its own, and says what came of it.
fn run(only: &[String]) -> Result<Outcomes> {
    let clusters = cluster::up(1, 1)?;
    let cluster = clusters.all().first().context("no cluster")?;
    let directory = programs().join("../conformance");
    conformance::prepare(cluster)?;
    install::install(cluster)?;
    let outcomes = conformance::run(cluster, &directory, only)?;
    let summary = conformance::summary(&outcomes);
    fs::write(directory.join("summary.md"), &summary)?;
    println!("{summary}");
    Ok(outcomes)
}
