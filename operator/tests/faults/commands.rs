//! The commands that people run: what they print, what they write and as whom, and what they exit with.

use std::{fs, path::Path, process::Command};

use expect_test::{Expect, expect};
use isthmus_e2e::programs;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::bench::{Bench, gateway_api, until};

/// The operator's Deployment, as its chart makes it.
const OPERATOR: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: isthmus-operator
  namespace: NAMESPACE
  labels: {app.kubernetes.io/part-of: isthmus, app.kubernetes.io/component: operator}
spec:
  replicas: 2
  selector: {matchLabels: {app: operator}}
  template:
    metadata: {labels: {app: operator}}
    spec:
      containers:
      - name: operator
        image: isthmus.dev/isthmus:0.1.0
        env: [{name: ISTHMUS_TAG, value: TAG}]
";

fn operator(namespace: &str, tag: &str) -> String {
    OPERATOR.replace("NAMESPACE", namespace).replace("TAG", tag)
}

/// What a run of the program led to.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// It ended with this code, and printed this, digests aside.
    fn is(self, code: i32, out: &Expect) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        let lines = self.out.split_inclusive('\n').filter(|line| !line.contains("isthmus.dev/digest"));
        out.assert_eq(&lines.collect::<String>());
    }

    /// It ended with this code, and said so on standard error.
    fn fails(self, code: i32, with: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(self.err.starts_with("error: ") && self.err.contains(with), "{}", self.err);
    }

    fn ends(self, with: &str) {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        assert!(self.out.ends_with(with), "{}", self.out);
    }
}

fn isthmus(kubeconfig: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(programs().join("isthmus"));
    command.args(arguments).arg("--kubeconfig").arg(kubeconfig).env_remove("ISTHMUS_LOG");
    let output = block_in_place(|| command.output().unwrap());
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn install(bench: &Bench) -> Value {
    let all = bench.kubectl(&["get", "meshinstalls", "-o", "json", "--show-managed-fields"]);
    let all: Value = serde_json::from_str(&all).unwrap();
    let [install] = all["items"].as_array().unwrap().as_slice() else { panic!("{all}") };
    install.clone()
}

/// The fields of `spec` that an author has.
fn fields_of(install: &Value, author: &str) -> Value {
    let entries = install["metadata"]["managedFields"].as_array().unwrap();
    let own = entries.iter().find(|entry| entry["manager"] == author && entry["subresource"].is_null());
    own.map(|entry| entry["fieldsV1"]["f:spec"].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_told_before_an_install() {
    let bench = Bench::new().await;
    let run = |arguments: &[&str]| isthmus(&bench.administrator(), arguments);
    run(&["check", "--pre"]).is(
        0,
        &expect![[r#"
        nothing is wrong
    "#]],
    );
    run(&["check"]).is(6, &expect![[r#"
            no-operator: there is no operator: `helm install isthmus charts/isthmus -n isthmus-system --create-namespace`
            no-install: there is no MeshInstall: `isthmus install`
        "#]]);
    bench.kubectl(&["delete", "crd", "httproutes.gateway.networking.k8s.io"]);
    run(&["check", "--pre"]).is(6, &expect![[r#"
            gateway-api: the definition httproutes.gateway.networking.k8s.io is missing: `kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml`
        "#]]);
    bench.define_gateway_api(&gateway_api());

    run(&["install", "--dry-run"]).is(
        0,
        &expect![[r#"
            change MeshInstall mesh
            create CustomResourceDefinition gatewayparameters.isthmus.dev
            create CustomResourceDefinition meshinstalls.isthmus.dev
            create CustomResourceDefinition meshpeers.isthmus.dev
            create CustomResourceDefinition meshrevisions.isthmus.dev
            create CustomResourceDefinition serviceexports.multicluster.x-k8s.io
            create CustomResourceDefinition serviceimports.multicluster.x-k8s.io
            create ServiceAccount isthmus-system/isthmus-control-plane
            create ClusterRole isthmus-control-plane
            create ClusterRoleBinding isthmus-control-plane
            create Role isthmus-system/isthmus-control-plane
            create RoleBinding isthmus-system/isthmus-control-plane
            create NetworkPolicy isthmus-system/isthmus-control-plane
            create Service isthmus-system/isthmus-control-plane
            create Deployment isthmus-system/isthmus-control-plane
            create GatewayClass isthmus
            status MeshInstall mesh
        "#]],
    );
    let defined = bench.kubectl(&["get", "crd", "-o", "name"]);
    assert!(!defined.contains("isthmus.dev"), "a dry run writes nothing: {defined}");
    run(&["uninstall", "--dry-run"]).is(
        0,
        &expect![[r#"
            there is no MeshInstall
        "#]],
    );
    // The operator may be elsewhere.
    bench.apply(&operator("shop", "0.1.0"));
    let ran = run(&["install", "--dry-run"]);
    assert!(ran.out.contains("create Deployment shop/isthmus-control-plane\n"), "{}", ran.out);
    run(&["install", "--wait=0"]).fails(6, "not-observed: the operator has not seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_is_installed_changed_and_ended_by_commands() {
    let bench = Bench::new().await;
    let run = |arguments: &[&str]| isthmus(&bench.administrator(), arguments);
    bench.apply(&operator("isthmus-system", "0.1.0"));
    bench.define(|_| {});
    let process = bench.operator();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, spec: &str| {
        let path = directory.path().join(name);
        let text = format!(
            "apiVersion: isthmus.dev/v1alpha1\nkind: MeshInstall\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mesh = file("mesh", "{controlPlane: {replicas: 2}}");
    run(&["install", "-f", &mesh]).ends("the mesh is as it should be\n");
    run(&["install"]).ends("nothing to do\nthe mesh is as it should be\n");
    run(&["check"]).is(
        0,
        &expect![[r#"
        nothing is wrong
    "#]],
    );
    let own = json!({ "f:controlPlane": { "f:replicas": {} } });
    assert_eq!(fields_of(&install(&bench), "isthmus"), own, "what the file says, and no default");

    run(&["upgrade", "--version=0.2.0", "--dry-run"]).is(0, &expect![[r#"
            change Deployment isthmus-system/isthmus-control-plane
              spec.template.spec.containers[control-plane].image: "isthmus.dev/isthmus:0.2.0", not "isthmus.dev/isthmus:0.1.0"
            status MeshInstall mesh
        "#]]);
    run(&["upgrade", "--version=0.2.0"]).ends("the mesh is as it should be\n");
    let upgraded = install(&bench);
    assert_eq!(fields_of(&upgraded, "isthmus"), own, "others' fields stay theirs");
    assert_eq!(fields_of(&upgraded, "isthmus-version"), json!({ "f:version": {} }));
    run(&["install", "-f", &mesh]).ends("the mesh is as it should be\n");
    assert_eq!(install(&bench)["spec"]["version"], Value::Null, "the file says none");

    let refused = "MeshInstall mesh is there, and a cluster has one mesh";
    run(&["install", "-f", &file("other", "{}")]).fails(1, refused);
    // What others wrote stays, and a file that leaves it out is not in force.
    let patch = r#"{"spec":{"proxy":{"replicas":2}}}"#;
    bench.kubectl(&["patch", "meshinstall/mesh", "--type=merge", "-p", patch]);
    let kept = "MeshInstall mesh: spec.proxy.replicas stays as others wrote it";
    run(&["install", "-f", &mesh]).fails(1, kept);
    bench.kubectl(&["patch", "meshinstall/mesh", "--type=merge", "-p", &patch.replace('2', "null")]);
    run(&["install", "-f", &mesh]).ends("the mesh is as it should be\n");
    let parameters = file("parameters", "{proxy: {replicas: 2}}");
    let text = fs::read_to_string(&parameters).unwrap();
    fs::write(&parameters, text.replace("MeshInstall", "GatewayParameters")).unwrap();
    run(&["install", "-f", &parameters]).fails(1, "its kind is not MeshInstall");
    // What a later version has brought, this one leaves alone.
    bench.define(|definition| {
        if definition["spec"]["names"]["kind"] == "MeshInstall" {
            let fields =
                &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
            fields["spec"]["properties"]["future"] = json!({ "type": "string" });
        }
    });
    let future = |value: &str| {
        let patch = format!(r#"{{"spec":{{"future":{value}}}}}"#);
        bench.kubectl(&["patch", "meshinstall/mesh", "--type=merge", "-p", &patch, "-o", "yaml"])
    };
    // A field counts some time after its definition was written.
    until("the field is there", async || {
        let written = future(r#""brought""#);
        if written.contains("future: brought") { Ok(()) } else { Err(written) }
    })
    .await;
    for command in ["install", "uninstall"] {
        run(&[command]).fails(1, "install-unreadable: version 0.1.0 cannot read MeshInstall mesh");
    }
    install(&bench);
    future("null");
    until("it is read again", async || match run(&["check"]) {
        Ran { code: Some(0), .. } => Ok(()),
        ran => Err(ran.out),
    })
    .await;

    let ran = run(&["uninstall", "--dry-run"]);
    assert!(ran.out.starts_with("delete Deployment shop/web-isthmus\n"), "{}", ran.out);
    install(&bench);
    run(&["uninstall"]).ends("the mesh is gone\n");
    drop(process);
    run(&["uninstall"]).ends("there is no MeshInstall\n");
}

/// A kubeconfig for a user who may do these things everywhere.
fn user(bench: &Bench, directory: &Path, rules: &Value) -> std::path::PathBuf {
    let role = "rbac.authorization.k8s.io/v1";
    let meta = json!({ "name": "somebody" });
    bench.apply(
        &json!({
            "apiVersion": "v1", "kind": "List", "items": [
                { "apiVersion": role, "kind": "ClusterRole", "metadata": meta, "rules": rules },
                {
                    "apiVersion": role, "kind": "ClusterRoleBinding", "metadata": meta,
                    "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "somebody" },
                    "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "somebody" }],
                },
            ],
        })
        .to_string(),
    );
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(bench.administrator()).unwrap()).unwrap();
    config["users"][0]["user"]["as"] = "somebody".into();
    let path = directory.join("kubeconfig");
    fs::write(&path, config.to_string()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_what_a_user_may_not_do_is_named() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.apply(&operator("isthmus-system", "0.1.0"));
    let process = bench.operator();
    isthmus(&bench.administrator(), &["install"]).ends("the mesh is as it should be\n");
    drop(process);

    let directory = tempfile::tempdir().unwrap();
    let groups = [
        "",
        "apps",
        "apiextensions.k8s.io",
        "gateway.networking.k8s.io",
        "isthmus.dev",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
    ];
    let rules = |verbs: &[&str]| json!([{ "apiGroups": groups, "resources": ["*"], "verbs": verbs }]);
    let reader = user(&bench, directory.path(), &rules(&["get", "list"]));
    isthmus(&reader, &["check"]).is(6, &expect![[r#"
            forbidden: you may not list objects of kind HorizontalPodAutoscaler: horizontalpodautoscalers.autoscaling is forbidden: User "somebody" cannot list resource "horizontalpodautoscalers" in API group "autoscaling" at the cluster scope
        "#]]);
    isthmus(&reader, &["install"])
        .fails(5, "forbidden: you may not list objects of kind HorizontalPodAutoscaler");

    let rights = json!([
        { "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "patch"] },
        { "apiGroups": ["isthmus.dev"], "resources": ["*"], "verbs": ["delete"] },
    ]);
    let writer = user(&bench, directory.path(), &rights);
    let ran = isthmus(&writer, &["uninstall", "--wait=2"]);
    assert!(ran.out.contains("delete Deployment shop/web-isthmus\n"), "{}", ran.out);
    ran.fails(6, "the mesh is not gone yet\nDeployment shop/web-isthmus: ");
    isthmus(&bench.administrator(), &["uninstall"]).ends("the mesh is gone\n");
}
