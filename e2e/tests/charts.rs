//! What the charts render to, by the real Helm: golden for what templates decide, and the same as the Rust
//! types for what is generated from them. `ISTHMUS_UPDATE=1` writes the golden files.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use isthmus_e2e::cluster::{
    built,
    command::{fed, output},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Renders `chart` with these values.
fn render(chart: &str, values: &str, arguments: &[&str]) -> Result<String> {
    let mut helm = Command::new(built::programs()?.join("bin/helm"));
    helm.args(["template", "mesh"]).arg(root().join("charts").join(chart));
    helm.args(["--namespace", "mesh-system", "--values", "-"]).args(arguments);
    fed(&mut helm, values.as_bytes())
}

fn check(name: &str, rendered: &str) {
    let path = root().join("e2e/testdata/charts").join(name);
    if std::env::var_os("ISTHMUS_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, rendered).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, rendered, "{name}: run the test with ISTHMUS_UPDATE=1");
}

#[test]
fn the_operator_is_rendered_as_the_golden_files_say() {
    let operator = ["--show-only", "templates/operator.yaml"];
    check("default.yaml", &render("isthmus", "{}", &operator).unwrap());
    let values = fs::read_to_string(root().join("e2e/testdata/charts/values.yaml")).unwrap();
    check("every-value.yaml", &render("isthmus", &values, &operator).unwrap());
}

#[test]
fn rights_are_given_in_the_namespace_of_the_release() {
    let rendered = render("isthmus", "{}", &["--show-only", "templates/rbac.yaml"]).unwrap();
    let namespaces: Vec<&str> =
        rendered.lines().filter_map(|line| line.trim().strip_prefix("namespace: ")).collect();
    assert_eq!(namespaces, ["\"mesh-system\""; 4]);
    assert!(!rendered.contains("{{"));
}

#[test]
fn definitions_are_rendered_as_they_are() {
    let rendered = render("isthmus-crds", "{}", &[]).unwrap();
    let directory = root().join("charts/isthmus-crds/templates");
    let files =
        fs::read_dir(directory).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let mut count = 0;
    for file in files {
        let definition = file.split_once('\n').unwrap().1.trim_end();
        assert!(rendered.contains(definition), "not rendered as it is:\n{definition}");
        count += 1;
    }
    assert_eq!(rendered.matches("kind: CustomResourceDefinition\n").count(), count);
}

#[test]
fn values_that_make_no_sense_are_refused() {
    for (values, field) in [
        ("replicas: -1", "replicas"),
        ("replica: 1", "replica"),
        ("image: {pullPolicy: Sometimes}", "pullPolicy"),
        ("proxyImage: {repository: ''}", "repository"),
    ] {
        let refused = render("isthmus", values, &[]).unwrap_err().to_string();
        assert!(refused.contains(field), "{values}: {refused}");
    }
}

#[test]
fn helm_finds_nothing_to_say() {
    for chart in ["isthmus", "isthmus-crds"] {
        let mut helm = Command::new(built::programs().unwrap().join("bin/helm"));
        let said =
            output(helm.args(["lint", "--strict"]).arg(root().join("charts").join(chart))).unwrap();
        assert!(said.contains("0 chart(s) failed"), "{said}");
    }
}
