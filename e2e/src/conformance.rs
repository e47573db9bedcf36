//! Runs the official Gateway API conformance suite against an installed Isthmus, and judges what it says: a
//! test that the suite skips because a feature is missing has not passed, and a test that passed once
//! (`e2e/conformance/passed.txt`) must pass for ever. That no name leaves that list is a test of its own
//! (`e2e/tests/passes.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::{self, GoBuild, Recipe},
    cluster::{Cluster, built, command::output},
    image::{self, Image},
    install::CLASS,
    product::VERSION,
};

/// The oldest Go that builds the suite.
const GO: &str = "1.27";
const SUITE: &str = "sigs.k8s.io/gateway-api/conformance";
const API: &str = "sigs.k8s.io/gateway-api";
const PROJECT: &str = env!("CARGO_PKG_REPOSITORY");

/// What came of one test of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It ran and found nothing wrong.
    Passed,
    /// It found something wrong.
    Failed,
    /// It did not run, because a feature that it needs is not claimed.
    Skipped,
}

/// What came of a run: each test of the suite by name.
pub type Outcomes = BTreeMap<String, Outcome>;

/// What the suite needs, built: `suite` and `images.tar`.
///
/// # Errors
/// When a build fails.
pub fn suite() -> Result<PathBuf> {
    let sources = &modules();
    let how = include_str!("conformance.rs");
    cache::built(&Recipe { kind: "conformance", sources, how, go: GO }, build)
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/suite")
}

fn build(directory: &Path) -> Result<()> {
    let module = &modules();
    let arguments = ["test", "-c", "-ldflags", "-s -w"];
    GoBuild { module, version: GO, arguments: &arguments, package: ".", cgo: true }
        .run(&directory.join("suite"))?;
    let echo = directory.join("echo-basic");
    let arguments = ["build", "-ldflags", "-s -w"];
    GoBuild {
        module: &module.join("echo"),
        version: GO,
        arguments: &arguments,
        package: "tool",
        cgo: false,
    }
    .run(&echo)?;
    let manifests = cache::dependency(module, GO, SUITE)?.join("base/manifests.yaml");
    let images: Vec<Image> = images(&std::fs::read_to_string(manifests)?)
        .into_iter()
        .map(|name| Image {
            name,
            entrypoint: vec!["/echo-basic".to_owned()],
            files: [("echo-basic".to_owned(), echo.clone())].into(),
            ..Image::default()
        })
        .collect();
    image::write(&images, &directory.join("images.tar"))
}

/// The text of the CRDs of Gateway API, of a channel: `standard` or `experimental`. Nothing is built for it.
///
/// # Errors
/// When they cannot be had.
pub fn crds(channel: &str) -> Result<String> {
    let crds = cache::dependency(&modules(), GO, API)?.join("config/crd");
    let kubectl = built::programs()?.join("bin/kubectl");
    output(Command::new(kubectl).arg("kustomize").arg(crds.join(channel_path(channel))))
}

/// The files of the suite's manifests, in order.
///
/// # Errors
/// When the release cannot be had.
pub fn manifests() -> Result<Vec<PathBuf>> {
    let suite = cache::dependency(&modules(), GO, SUITE)?;
    let mut files = Vec::new();
    for directory in ["base", "mesh", "tests"] {
        for entry in std::fs::read_dir(suite.join(directory))? {
            files.push(entry?.path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    Ok(files)
}

/// Where a channel's kustomization is, below the directory of all CRDs, which itself is the standard one.
fn channel_path(channel: &str) -> &str {
    if channel == "standard" { "." } else { channel }
}

/// The names by which manifests ask for the echo server.
fn images(manifests: &str) -> BTreeSet<String> {
    let images =
        manifests.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image:"));
    let names = images.map(|name| name.trim().trim_matches('"').to_owned());
    names.filter(|name| name.contains("/echo-basic:")).collect()
}

/// Puts the CRDs of Gateway API, of a channel, onto `cluster`.
///
/// # Errors
/// When the cluster refuses something.
pub fn define(cluster: &Cluster, channel: &str) -> Result<()> {
    cluster.apply(&crds(channel)?)?;
    cluster.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
    Ok(())
}

/// Puts onto `cluster` what the suite takes for granted: its images, and the CRDs of Gateway API.
///
/// # Errors
/// When the cluster refuses something.
pub fn prepare(cluster: &Cluster) -> Result<()> {
    cluster.load(&suite()?.join("images.tar"))?;
    define(cluster, "experimental")
}

/// Runs the suite and writes `report.yaml`, `output.log` and what our pods logged into `directory`. `only`
/// narrows it to tests whose names are given, for debugging.
///
/// # Errors
/// When the suite does not get as far as running tests, or contradicts itself.
pub fn run(cluster: &Cluster, directory: &Path, only: &[String]) -> Result<Outcomes> {
    std::fs::create_dir_all(directory)?;
    let kubeconfig = directory.join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        cluster.kubectl(&["config", "view", "--raw", "--minify", "--flatten"])?,
    )?;
    let mut command = Command::new(suite()?.join("suite"));
    command.args(["-test.v", "-test.timeout=60m", "-conformance-profiles=GATEWAY-HTTP"]);
    command.args(["-organization=isthmus", "-project=isthmus", &format!("-version={VERSION}")]);
    command.args([format!("-url={PROJECT}"), format!("-contact={PROJECT}/issues")]);
    // The cluster is for this run only, and its Gateways' pods have logs to tell.
    command.args([&format!("-gateway-class={CLASS}"), "-cleanup-base-resources=false"]);
    command.arg(format!("-report-output={}", directory.join("report.yaml").display()));
    if let Some(usable) = cluster.spare_address() {
        command.args([format!("-usable-address={usable}"), "-unusable-address=192.0.2.1".to_owned()]);
    }
    if !only.is_empty() {
        command.arg(format!("-test.run=^TestConformance$/^({})$", only.join("|")));
    }
    // The suite's module finds its manifests in itself, and must not write beside us.
    command.current_dir(directory).env("KUBECONFIG", &kubeconfig);
    let (log, report) = (directory.join("output.log"), directory.join("report.yaml"));
    if report.exists() {
        std::fs::remove_file(&report)?;
    }
    let file = File::create(&log)?;
    let ended = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status();
    let ended = ended.context("the suite")?;
    std::fs::remove_file(kubeconfig)?;
    keep_logs(cluster, &directory.join("logs"))?;
    let report = std::fs::read_to_string(report)
        .with_context(|| format!("the suite wrote no report, see {}", log.display()))?;
    let outcomes = outcomes(&std::fs::read_to_string(&log)?, &report);
    consistent(&outcomes, &report, ended.success()).with_context(|| log.display().to_string())?;
    Ok(outcomes)
}

/// Writes what each of our pods logged into `directory`, from which older logs go.
fn keep_logs(cluster: &Cluster, directory: &Path) -> Result<()> {
    if directory.exists() {
        std::fs::remove_dir_all(directory)?;
    }
    std::fs::create_dir_all(directory)?;
    let each = "{.metadata.namespace} {.metadata.name} {.spec.containers[0].image}";
    let columns = format!("jsonpath={{range .items[*]}}{each}{{\"\\n\"}}{{end}}");
    let pods = cluster.kubectl(&["get", "pods", "-A", "-o", &columns])?;
    for pod in pods.lines() {
        let [namespace, name, image] = pod.split(' ').collect::<Vec<_>>()[..] else { continue };
        if !image.starts_with("isthmus.dev/") {
            continue;
        }
        // A pod may be gone by now, and its logs with it.
        if let Ok(said) = cluster.kubectl(&["logs", "-n", namespace, name]) {
            std::fs::write(directory.join(format!("{namespace}.{name}.log")), said)?;
        }
    }
    Ok(())
}

/// Reads what came of each test: the log says which ones began and which of those were skipped, the report
/// which ones failed. (`go test` itself does not say it for a suite that ends as this one does.)
fn outcomes(log: &str, report: &str) -> Outcomes {
    let began = log
        .lines()
        .filter_map(|line| line.strip_prefix("=== RUN")?.trim().strip_prefix("TestConformance/"));
    let whole = began.filter(|name| !name.contains('/'));
    let mut outcomes: Outcomes = whole.map(|name| (name.to_owned(), Outcome::Passed)).collect();
    let skipped = log.lines().filter_map(|line| line.split_once(": Skipping ")?.1.split_once(": "));
    outcomes.extend(skipped.map(|(name, _)| (name.to_owned(), Outcome::Skipped)));
    outcomes.extend(failed(report).map(|name| (name.to_owned(), Outcome::Failed)));
    outcomes
}

/// Whether the suite ended well exactly when no test is known to have failed, and no more tests failed by
/// the report's count than it names: a failure that nobody could read must not look like a pass.
fn consistent(outcomes: &Outcomes, report: &str, ended_well: bool) -> Result<()> {
    let known = with(outcomes, Outcome::Failed).len();
    let counted: usize = counts(report, "Failed").sum();
    if counted > known || (report.lines().any(|line| line.trim() == "result: failure") && known == 0) {
        bail!("the report tells of failures that it does not name: {counted} counted, {known} named");
    }
    match (ended_well, known) {
        (true, 1..) => bail!("the suite ended well, and {known} tests failed"),
        (false, 0) => bail!("the suite ended with an error, and no test is named that failed"),
        _ => {}
    }
    if with(outcomes, Outcome::Passed).is_empty() && known == 0 {
        bail!("no test ran");
    }
    Ok(())
}

/// The numbers that a report has for this key.
fn counts<'a>(report: &'a str, key: &'a str) -> impl Iterator<Item = usize> + 'a {
    let fields = report.lines().filter_map(|line| line.trim().split_once(": "));
    fields.filter(move |(name, _)| *name == key).filter_map(|(_, count)| count.parse().ok())
}

/// The names in those lists of a report that are called `failed...Tests`.
fn failed(report: &str) -> impl Iterator<Item = &str> {
    let mut listed = false;
    report.lines().filter_map(move |line| {
        let text = line.trim_start().trim_start_matches("- ");
        if let Some(key) = text.strip_suffix(':') {
            listed = key.starts_with("failed") && key.ends_with("Tests");
            return None;
        }
        // Another key ends the list.
        listed &= !text.contains(": ");
        listed.then_some(text)
    })
}

/// A table for people: how many, and which.
pub fn summary(outcomes: &Outcomes) -> String {
    let mut lines = vec![
        format!("# Gateway API conformance of Isthmus {VERSION}"),
        String::new(),
        "| outcome | tests |".to_owned(),
        "|---|---|".to_owned(),
    ];
    let lists =
        [Outcome::Failed, Outcome::Passed, Outcome::Skipped].map(|one| (one, with(outcomes, one)));
    lines.extend(lists.iter().map(|(outcome, names)| format!("| {outcome:?} | {} |", names.len())));
    for (outcome, names) in &lists {
        lines.extend([String::new(), format!("## {outcome:?}")]);
        lines.extend(names.iter().map(|name| format!("- {name}")));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The names of the tests with this outcome.
pub fn with(outcomes: &Outcomes, wanted: Outcome) -> Vec<&str> {
    outcomes.iter().filter(|(_, outcome)| **outcome == wanted).map(|(name, _)| name.as_str()).collect()
}

/// Where the tests are listed that passed once.
pub fn passed_once() -> PathBuf {
    modules().with_file_name("passed.txt")
}

/// The names in a list of tests.
pub fn names(list: &str) -> BTreeSet<&str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Compares a run of the whole suite with the list of tests that passed once.
///
/// # Errors
/// When a test passed no more or failed, or when one passed that is not listed.
pub fn judge(outcomes: &Outcomes, passed_once: &str) -> Result<()> {
    let new = new_passes(outcomes, passed_once)?;
    if !new.is_empty() {
        bail!(
            "{} tests of the suite pass and are not listed: {}; `make conformance ACCEPT=1` lists them",
            new.len(),
            new.join(", ")
        );
    }
    Ok(())
}

/// The list of tests that passed once, after a run of the whole suite: those of the old list, and new ones.
///
/// # Errors
/// When a test passed no more or failed: a list never gets shorter.
pub fn accepted(outcomes: &Outcomes, passed_once: &str) -> Result<String> {
    let mut all = names(passed_once);
    all.extend(new_passes(outcomes, passed_once)?);
    let head = "# Tests of the suite that passed once; `make conformance ACCEPT=1` adds to this.";
    Ok([head].into_iter().chain(all).flat_map(|line| [line, "\n"]).collect())
}

/// The tests that passed and are not listed.
fn new_passes<'a>(outcomes: &'a Outcomes, passed_once: &str) -> Result<Vec<&'a str>> {
    let listed = names(passed_once);
    let is_lost = |name: &&&str| outcomes.get(**name) != Some(&Outcome::Passed);
    let lost: Vec<&str> = listed.iter().filter(is_lost).copied().collect();
    if !lost.is_empty() {
        bail!("{} tests of the suite passed before and do not now: {}", lost.len(), lost.join(", "));
    }
    let failed = with(outcomes, Outcome::Failed);
    if !failed.is_empty() {
        bail!("{} tests of the suite failed: {}", failed.len(), failed.join(", "));
    }
    let passed = with(outcomes, Outcome::Passed).into_iter();
    Ok(passed.filter(|name| !listed.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_log_and_report() {
        let log =
            "=== RUN   TestConformance\n=== RUN   TestConformance/A\n=== RUN   TestConformance/A/part
=== RUN   TestConformance/B\n    conformance.go:56: Skipping B: suite does not support Mesh
=== RUN   TestConformance/C\n=== RUN   TestConformance/D\n";
        let report = "profiles:\n- core:\n    failedTests:\n    - C\n    result: failure
    statistics:\n      Failed: 1\nsucceededProvisionalTests:\n- D\n";
        let expected = [
            ("A", Outcome::Passed),
            ("B", Outcome::Skipped),
            ("C", Outcome::Failed),
            ("D", Outcome::Passed),
        ];
        assert_eq!(
            outcomes(log, report),
            expected.map(|(name, outcome)| (name.to_owned(), outcome)).into()
        );
    }

    fn run_of(outcomes: &[(&str, Outcome)]) -> Outcomes {
        outcomes.iter().map(|(name, outcome)| ((*name).to_owned(), *outcome)).collect()
    }

    #[test]
    fn a_skipped_test_has_not_passed() {
        let outcomes = run_of(&[("A", Outcome::Skipped), ("B", Outcome::Passed)]);
        assert!(judge(&outcomes, "# those\nB\n").is_ok());
        assert!(judge(&outcomes, "A\nB\n").is_err());
        assert!(judge(&outcomes, "B\nC\n").is_err());
    }

    #[test]
    fn a_new_pass_is_to_be_listed_and_a_loss_is_never_accepted() {
        let list = "# those\nA\n";
        let outcomes = run_of(&[("A", Outcome::Passed), ("B", Outcome::Passed)]);
        let said = judge(&outcomes, list).unwrap_err().to_string();
        assert!(said.contains("not listed: B;"), "{said}");
        let accepted_list = accepted(&outcomes, list).unwrap();
        assert_eq!(names(&accepted_list), ["A", "B"].into());
        assert!(judge(&outcomes, &accepted_list).is_ok());
        for outcomes in [
            run_of(&[("B", Outcome::Passed)]),
            run_of(&[("A", Outcome::Skipped), ("B", Outcome::Passed)]),
            run_of(&[("A", Outcome::Passed), ("B", Outcome::Failed)]),
        ] {
            assert!(accepted(&outcomes, list).is_err() && judge(&outcomes, list).is_err());
        }
    }

    #[test]
    fn a_suite_that_contradicts_itself_is_not_believed() {
        let well = "core:\n  result: success\n  statistics:\n    Failed: 0\n";
        let badly = "core:\n  result: failure\n  statistics:\n    Failed: 1\n";
        let passed = run_of(&[("A", Outcome::Passed)]);
        let failed = run_of(&[("A", Outcome::Failed)]);
        assert!(consistent(&passed, well, true).is_ok());
        assert!(consistent(&failed, badly, false).is_ok());
        assert!(consistent(&passed, well, false).is_err(), "it ended with an error");
        assert!(consistent(&failed, badly, true).is_err(), "it did not end with an error");
        assert!(consistent(&passed, badly, true).is_err(), "a failure has no name");
        let more = badly.replace('1', "2");
        assert!(consistent(&failed, &more, false).is_err(), "one of two failures has no name");
        assert!(consistent(&run_of(&[]), well, true).is_err(), "nothing ran");
    }

    #[test]
    fn echo_images_are_found_by_the_names_that_manifests_use() {
        let manifests =
            "  - image: r/echo-basic:v1\n    image: r/other:v1\n    image: \"r/echo-basic:v2\"\n";
        assert_eq!(images(manifests), ["r/echo-basic:v1", "r/echo-basic:v2"].map(str::to_owned).into());
    }
}
