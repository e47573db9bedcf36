//! A test of the official suite that passed once never gets lost: no name leaves the list of passes
//! (`e2e/conformance/passed.txt`), neither in the working tree nor in any commit that git knows of.
//!
//! That a run still passes what is listed is judged by `conformance` itself. A shallow clone knows less of
//! the past: what it knows is compared, and what it cannot know is said. Without git nothing is known, which
//! is said too, and fails where `CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say what they could not look at"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use isthmus_e2e::conformance::names;

/// The list, from the root of the repository.
const LIST: &str = "e2e/conformance/passed.txt";

/// Tests that left the list on purpose, and why; for instance that the suite has them no more.
const GONE: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What git says in `repository`; none when it fails.
fn git(repository: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(repository).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The list as it was in each commit that changed it; none where there is no repository with commits.
fn versions(repository: &Path) -> Option<Vec<String>> {
    git(repository, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    let commits = git(repository, &["log", "--full-history", "-m", "--format=%H", "--", LIST])?;
    let version = |commit: &str| git(repository, &["show", &format!("{commit}:{LIST}")]);
    // A commit that took the whole file away has no version of it; the ones before have.
    Some(commits.lines().filter_map(version).collect())
}

/// Names of earlier versions that the list has no more.
fn lost(versions: &[String], now: &str) -> Vec<String> {
    let now = names(now);
    let is_kept = |name: &&str| now.contains(name) || GONE.iter().any(|(gone, _)| gone == name);
    let mut lost: Vec<_> = versions.iter().flat_map(|version| names(version)).collect();
    lost.retain(|name| !is_kept(name));
    lost.sort_unstable();
    lost.dedup();
    lost.into_iter().map(str::to_owned).collect()
}

#[test]
fn no_name_ever_leaves_the_list_of_passes() {
    let now = fs::read_to_string(root().join(LIST)).unwrap();
    let Some(versions) = versions(&root()) else {
        eprintln!(
            "skipped: git knows nothing of {}, so nothing of what passed before",
            root().display()
        );
        assert!(std::env::var_os("CI").is_none(), "git and a repository are needed here");
        return;
    };
    if git(&root(), &["rev-parse", "--is-shallow-repository"]).is_none_or(|said| said.trim() != "false")
    {
        eprintln!("this clone is shallow: passes that were lost before its first commit are not seen");
    }
    assert!(!versions.is_empty(), "{LIST} is in no commit");
    let lost = lost(&versions, &now);
    assert!(lost.is_empty(), "{LIST} had these names, and lost them: {}", lost.join(", "));
}

#[test]
fn a_name_that_is_lost_in_a_commit_or_in_the_working_tree_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path();
    assert!(versions(repository).is_none(), "there is no repository yet");
    let commit = |list: &str| {
        let file = repository.join(LIST);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, list).unwrap();
        git(repository, &["add", "."]).unwrap();
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        git(repository, &[&who[..], &["commit", "--quiet", "-m", "a"]].concat()).unwrap();
    };
    git(repository, &["init", "--quiet"]).unwrap();
    assert!(versions(repository).is_none(), "there is no commit yet");
    commit("# those\nA\nB\n");
    commit("# those\nA\nB\nC\n");
    let of_two = versions(repository).unwrap();
    assert_eq!(of_two.len(), 2);
    assert!(lost(&of_two, "A\nB\nC\nD\n").is_empty());
    assert_eq!(lost(&of_two, "A\nC\n"), ["B"], "in the working tree");
    commit("A\nC\n");
    commit("A\nC\nD\n");
    assert_eq!(lost(&versions(repository).unwrap(), "A\nC\nD\n"), ["B"], "two commits ago");
}
