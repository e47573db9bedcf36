//! Rules of the repository that a compiler does not check: which crate may depend on which, and what may
//! not be in the tree.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::{collections::BTreeMap, collections::BTreeSet, path::PathBuf, process::Command};

use serde_json::Value;

/// Direct dependencies on our own crates that each crate may have.
const ALLOWED: &[(&str, &[&str])] = &[
    ("ir", &[]),
    ("identity", &["ir"]),
    ("api-server", &["identity"]),
    ("crds", &[]),
    ("world", &["ir", "crds"]),
    ("gateway", &["ir", "world"]),
    ("east-west", &["ir", "world"]),
    ("compiler", &["ir", "world", "gateway", "east-west"]),
    ("xds", &["ir", "identity"]),
    (
        "control-plane",
        &["ir", "identity", "api-server", "crds", "world", "gateway", "east-west", "compiler", "xds"],
    ),
    ("operator", &["ir", "api-server", "crds", "world", "gateway"]),
    ("proxy", &["ir", "identity", "xds"]),
    ("demo", &[]),
    (
        "cli",
        &[
            "ir",
            "api-server",
            "crds",
            "world",
            "gateway",
            "compiler",
            "control-plane",
            "operator",
            "demo",
        ],
    ),
    ("e2e", &[]),
];

/// What must not be anywhere below a crate: its decisions would depend on it.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("ir", &["kube", "k8s-openapi", "tokio", "prost"]),
    ("identity", &["kube", "k8s-openapi", "tokio", "prost"]),
    ("world", &["kube-client", "kube-runtime", "tokio", "prost"]),
    ("gateway", &["kube-client", "kube-runtime", "tokio", "prost"]),
    ("east-west", &["kube-client", "kube-runtime", "tokio", "prost"]),
    ("compiler", &["kube-client", "kube-runtime", "tokio", "prost"]),
    ("xds", &["kube", "k8s-openapi"]),
    ("proxy", &["kube", "k8s-openapi", "gateway-api"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Normal and build dependencies (not those of tests), by package id.
fn graph(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let production =
        |dep: &&Value| dep["dep_kinds"].as_array().unwrap().iter().any(|k| k["kind"] != "dev");
    nodes
        .iter()
        .map(|node| {
            let deps = node["deps"].as_array().unwrap().iter().filter(production);
            let ids = deps.map(|d| d["pkg"].as_str().unwrap().to_owned()).collect();
            (node["id"].as_str().unwrap().to_owned(), ids)
        })
        .collect()
}

fn names(metadata: &Value) -> BTreeMap<String, String> {
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|p| (p["id"].as_str().unwrap().to_owned(), p["name"].as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let metadata = metadata();
    let (graph, names) = (graph(&metadata), names(&metadata));
    let ours: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for id in metadata["workspace_members"].as_array().unwrap() {
        let id = id.as_str().unwrap();
        let name = names[id].strip_prefix("isthmus-").unwrap();
        let allowed =
            ours.get(name).unwrap_or_else(|| panic!("crate {name} is not in this test's table"));
        seen.insert(name);
        for dep in &graph[id] {
            if let Some(dep) = names[dep].strip_prefix("isthmus-") {
                assert!(allowed.contains(&dep), "{name} must not depend on {dep}");
            }
        }
    }
    assert_eq!(seen.len(), ours.len(), "the table names a crate that is gone");
}

/// All that is compiled for `package` when nobody else's features count.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", package, "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn pure_crates_reach_no_io() {
    for (name, forbidden) in FORBIDDEN {
        let reached = tree(&format!("isthmus-{name}"));
        for crate_name in *forbidden {
            assert!(!reached.contains(*crate_name), "{name} must not reach {crate_name}");
        }
    }
}

fn tracked(pattern: &str) -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", pattern]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git is needed to list the repository's files");
    String::from_utf8(output.stdout).unwrap().lines().map(|l| root().join(l)).collect()
}

#[test]
fn every_source_file_says_what_it_decides() {
    let files = tracked("*.rs");
    assert!(files.len() > 20);
    for file in files.iter().filter(|f| f.exists()) {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.starts_with("//!"), "{} must open with a `//!` line", file.display());
    }
}

#[test]
fn versions_are_named_in_one_place() {
    for file in tracked("*/Cargo.toml") {
        let text = std::fs::read_to_string(&file).unwrap();
        let dependencies = text.split_once("[dependencies]").map_or("", |(_, rest)| rest);
        for line in dependencies.lines() {
            assert!(
                !line.contains("version = \""),
                "{}: {line}: versions live in the workspace",
                file.display()
            );
        }
    }
}

/// The quoted strings of list `key` in deny.toml.
fn deny_list(key: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, rest) = text.split_once(&format!("{key} = [")).unwrap();
    let (list, _) = rest.split_once("\n]").unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_dependency_has_an_allowed_license() {
    let allowed = deny_list("allow");
    for package in metadata()["packages"].as_array().unwrap() {
        let license = package["license"].as_str().unwrap_or("");
        let choices = license.replace(['(', ')'], "").replace('/', " OR ");
        let allowed =
            choices.split(" OR ").any(|c| c.split(" AND ").all(|part| allowed.contains(part.trim())));
        assert!(allowed, "{}: license {license:?} is not in deny.toml", package["name"]);
    }
}

#[test]
fn banned_crates_are_not_compiled() {
    let banned = deny_list("deny");
    // Not from the metadata: its graph has crates that no enabled feature asks for.
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--target",
            "all",
            "--locked",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let compiled: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(compiled.contains("rustls"), "the tree is not what this test reads");
    for name in banned {
        assert!(!compiled.contains(name.as_str()), "deny.toml bans {name}");
    }
}
