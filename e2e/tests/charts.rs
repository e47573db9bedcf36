//! What the charts render to, by the real Helm: golden for what templates decide, and the same as the Rust
//! types for what is generated from them. `ISTHMUS_UPDATE=1` writes the golden files. And what Helm does with
//! them on an API server where something is already.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use isthmus_e2e::{
    api_server::ApiServer,
    cluster::{
        built,
        command::{eventually, fed, output},
    },
    programs,
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

/// The files of `charts/isthmus-crds` that have a definition.
fn templates() -> impl Iterator<Item = PathBuf> {
    let directory = root().join("charts/isthmus-crds/templates");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().unwrap() == "yaml")
}

#[test]
fn definitions_are_rendered_as_they_are() {
    let rendered = render("isthmus-crds", "{}", &[]).unwrap();
    let mut count = 0;
    for file in templates() {
        let file = fs::read_to_string(file).unwrap();
        let (_, definition) = file.split_once("}}\n").unwrap();
        let definition = definition.strip_suffix("{{- end }}\n").unwrap().trim_end();
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
        ("image: {tag: 'a b'}", "tag"),
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

const NAMESPACE: [&str; 3] = ["--namespace", "mesh-system", "--create-namespace"];

fn helm(server: &ApiServer, arguments: &[&str]) -> Result<String> {
    let mut helm = Command::new(built::programs()?.join("bin/helm"));
    output(helm.arg("--kubeconfig").arg(server.kubeconfig()).args(arguments))
}

/// Installs or upgrades a chart by Helm.
fn release(server: &ApiServer, verb: &str, chart: &str, more: &[&str]) -> Result<String> {
    let from = root().join("charts").join(chart).display().to_string();
    let namespace = if verb == "install" { &NAMESPACE[..] } else { &NAMESPACE[..2] };
    helm(server, &[&[verb, chart, &from], namespace, more].concat())
}

/// The definitions that are there, each with the release that has it.
fn definitions(server: &ApiServer) -> Vec<(String, String)> {
    let path = r#"jsonpath={range .items[*]}{.metadata.name}={.metadata.annotations.meta\.helm\.sh/release-name}{"\n"}{end}"#;
    let all = server.kubectl(&["get", "crd", "-o", path]).unwrap();
    let pairs = all.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, release)| (name.to_owned(), release.to_owned())).collect()
}

/// Those among them that the chart has.
fn taken(server: &ApiServer) -> Vec<String> {
    let taken = definitions(server).into_iter().filter(|(_, release)| release == "isthmus-crds");
    taken.map(|(name, _)| name).collect()
}

#[test]
fn definitions_of_another_product_stay_its_own() {
    const THEIRS: &str = "serviceimports.multicluster.x-k8s.io";
    let server = ApiServer::start().unwrap();
    let manifest = root().join("crds/manifests/multicluster.x-k8s.io_serviceimports.yaml");
    server.define(&fs::read_to_string(manifest).unwrap()).unwrap();
    let all = templates().count();
    for verb in ["install", "upgrade"] {
        release(&server, verb, "isthmus-crds", &[]).unwrap();
        let taken = taken(&server);
        assert_eq!((taken.len(), taken.contains(&THEIRS.to_owned())), (all - 1, false), "{taken:?}");
    }
    // They outlive the release, and the next one of that name has them again.
    helm(&server, &["uninstall", "isthmus-crds", "--namespace", "mesh-system"]).unwrap();
    assert_eq!(definitions(&server).len(), all);
    release(&server, "install", "isthmus-crds", &["--set", "mcs.install=false"]).unwrap();
    assert_eq!(definitions(&server).len(), all);
}

#[test]
fn definitions_of_the_multi_cluster_services_api_are_left_out_where_asked() {
    let rendered = render("isthmus-crds", "mcs: {install: false}", &[]).unwrap();
    assert!(rendered.contains("meshinstalls.isthmus.dev"));
    assert!(!rendered.contains("multicluster.x-k8s.io"));
}

/// The operator until this is dropped.
struct Operator(Child);

impl Operator {
    fn start(server: &ApiServer) -> Self {
        let mut operator = Command::new(programs().join("isthmus"));
        operator.args(["operator", "--namespace", "default", "--kubeconfig"]).arg(server.kubeconfig());
        Self(operator.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn definitions_of_the_operator_stay_the_operators() {
    let server = ApiServer::start().unwrap();
    let operator = Operator::start(&server);
    let all = templates().count();
    eventually(Duration::from_mins(1), || {
        let found = definitions(&server).len();
        ensure!(found == all, "{found} of {all} definitions");
        Ok(())
    })
    .unwrap();
    drop(operator);
    for verb in ["install", "upgrade"] {
        release(&server, verb, "isthmus-crds", &[]).unwrap();
        assert_eq!(taken(&server), [""; 0]);
    }
    assert_eq!(definitions(&server).len(), all);
}

#[test]
fn notes_say_what_comes_next() {
    let server = ApiServer::start().unwrap();
    release(&server, "install", "isthmus", &[]).unwrap();
    check(
        "notes.txt",
        &helm(&server, &["get", "notes", "isthmus", "--namespace", "mesh-system"]).unwrap(),
    );
}
