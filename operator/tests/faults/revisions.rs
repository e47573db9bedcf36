//! Case F20: revisions side by side on a real API server, with the control planes that they run.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use isthmus_e2e::{free, programs};
use isthmus_operator::object::{self, ObjectKey};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::bench::{Bench, until};

const NEXT: &str = r"
apiVersion: isthmus.dev/v1alpha1
kind: MeshRevision
metadata: {name: next}
spec: {meshInstall: mesh, version: 0.1.999}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: moved, namespace: shop, labels: {isthmus.dev/revision: next}}
spec:
  gatewayClassName: isthmus
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both, namespace: shop}
spec:
  parentRefs: [{name: web}, {name: moved}]
  rules: [{backendRefs: [{name: nothing, port: 80}]}]
";

fn next() -> ObjectKey {
    ObjectKey::new(object::MESH_REVISION, "", "next")
}

fn moved() -> ObjectKey {
    ObjectKey::new(object::DEPLOYMENT, "shop", "moved-isthmus")
}

/// Waits until the proxies of the Gateway call this control plane.
async fn run_by(bench: &Bench, service: &str) {
    until("the proxies call", async || {
        let deployment = bench.object(&moved()).await.ok_or("there are none")?;
        let address = &deployment.data["spec"]["template"]["spec"]["containers"][0]["args"][1];
        let wanted = format!("{service}.isthmus-system.svc:15012");
        if *address == wanted { Ok(()) } else { Err(format!("{address}, not {wanted}")) }
    })
    .await;
}

/// Waits until a condition of the MeshRevision says so.
async fn says(bench: &Bench, kind: &str, wanted: &str) {
    until("the MeshRevision says so", async || {
        let object = bench.object(&next()).await.ok_or("there is none")?;
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|one| one["type"] == kind).ok_or("no condition")?;
        let said = format!("{} {}: {}", found["status"], found["reason"], found["message"]);
        if said.contains(wanted) { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_f20_a_gateway_moves_between_revisions_and_each_ends_when_it_may() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    let _operator = bench.operator();
    bench.install(&json!({})).await;
    bench.told("True InForce").await;
    bench.apply(NEXT);
    run_by(&bench, "isthmus-control-plane-next").await;
    says(&bench, "Ready", "version 0.1.999 runs").await;

    bench.kubectl(&["delete", "meshrevision", "next", "--wait=false"]);
    says(&bench, "InUse", "shop/moved").await;
    run_by(&bench, "isthmus-control-plane-next").await;
    bench.kubectl(&["--namespace=shop", "label", "gateway", "moved", "isthmus.dev/revision-"]);
    run_by(&bench, "isthmus-control-plane").await;
    let control_plane =
        ObjectKey::new(object::DEPLOYMENT, "isthmus-system", "isthmus-control-plane-next");
    for key in [next(), control_plane] {
        until("it is gone", async || bench.object(&key).await.map_or(Ok(()), |_| Err(key.to_string())))
            .await;
    }
    bench.told("True InForce").await;
}

/// A control plane as its pod runs it. To drop it is to kill it.
pub(crate) struct ControlPlane(Child);

impl ControlPlane {
    pub(crate) fn start(bench: &Bench, revision: &[&str]) -> Self {
        let mut command = Command::new(programs().join("isthmus"));
        let local = |address: SocketAddr| address.to_string();
        command.args(["control-plane", "--mesh-install=mesh", "--namespace=isthmus-system"]);
        command.args(["--listen", &local(free()), "--ready-address", &local(free())]);
        command.args(revision).arg(format!("--pod=pod{}", revision.concat()));
        command.env("KUBECONFIG", bench.administrator()).env("ISTHMUS_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Who wrote the status of an object.
fn writers(object: &DynamicObject) -> Vec<&str> {
    let fields = object.metadata.managed_fields.iter().flatten();
    let statuses = fields.filter(|entry| entry.subresource.as_deref() == Some("status"));
    statuses.filter_map(|entry| entry.manager.as_deref()).collect()
}

/// Waits until these wrote the status of the Gateway, and it speaks of its newest generation.
async fn written(bench: &Bench, gateway: &str, by: &[&str]) {
    let key = ObjectKey::new(object::GATEWAY, "shop", gateway);
    until("its status is written", async || {
        let object = bench.object(&key).await.ok_or("there is none")?;
        let accepted =
            object.data.pointer("/status/conditions/0/observedGeneration").and_then(Value::as_i64);
        let done = writers(&object) == by && accepted == object.metadata.generation;
        if done { Ok(()) } else { Err(format!("{gateway}: {:?} at {accepted:?}", writers(&object))) }
    })
    .await;
}

const OWN: &str = "isthmus.dev/gateway-controller";
const NEXTS: &str = "isthmus.dev/gateway-controller-next";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_f20_two_control_planes_never_write_over_each_other() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    let operator = bench.operator();
    bench.install(&json!({})).await;
    bench.told("True InForce").await;
    bench.apply(NEXT);
    says(&bench, "Ready", "version 0.1.999 runs").await;
    drop(operator);
    let _own = ControlPlane::start(&bench, &[]);
    let _next = ControlPlane::start(&bench, &["--revision=next"]);
    written(&bench, "web", &[OWN]).await;
    written(&bench, "moved", &[NEXTS]).await;
    let route = until("both speak of the route", async || {
        let route = bench.kubectl(&["--namespace=shop", "get", "httproute", "both", "-o", "json"]);
        let route: Value = serde_json::from_str(&route).unwrap();
        let parents = route["status"]["parents"].as_array().map_or(0, Vec::len);
        if parents == 2 { Ok(route) } else { Err(format!("{parents} parents")) }
    })
    .await;
    // A change of one is written once, by its owner, and nothing else is.
    bench.kubectl(&["--namespace=shop", "patch", "gateway", "moved", "--type=merge", "-p", MORE]);
    written(&bench, "moved", &[NEXTS]).await;
    bench.kubectl(&["--namespace=shop", "patch", "gateway", "web", "--type=merge", "-p", MORE]);
    written(&bench, "web", &[OWN]).await;
    let later = bench.kubectl(&["--namespace=shop", "get", "httproute", "both", "-o", "json"]);
    let later: Value = serde_json::from_str(&later).unwrap();
    assert_eq!(later["status"], route["status"]);
    // The other one takes over, and says so of a label that names nothing.
    bench.kubectl(&[
        "--namespace=shop",
        "label",
        "gateway",
        "moved",
        "--overwrite",
        "isthmus.dev/revision=nxet",
    ]);
    let key = ObjectKey::new(object::GATEWAY, "shop", "moved");
    until("the label is told", async || {
        let object = bench.object(&key).await.ok_or("there is none")?;
        let said = object.data["status"]["conditions"].to_string();
        if said.contains("there is no MeshRevision nxet") { Ok(()) } else { Err("not yet") }
    })
    .await;
}

const MORE: &str = r#"{"spec":{"listeners":[{"name":"http","port":80,"protocol":"HTTP"},{"name":"more","port":8080,"protocol":"HTTP"}]}}"#;
