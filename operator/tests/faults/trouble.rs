//! Objects that others made or changed meanwhile, writes that are refused, and operators that are stopped.

use std::time::Duration;

use isthmus_e2e::faults::Fault;
use isthmus_operator::{
    apply::apply,
    object::{self, ObjectKey},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::bench::{Bench, planned, settle, until};

/// Without a write for so long nothing is under way.
const QUIET: Duration = Duration::from_secs(1);

fn control_plane() -> ObjectKey {
    ObjectKey::new(object::DEPLOYMENT, "isthmus-system", "isthmus-control-plane")
}

fn replicas(object: &DynamicObject) -> &Value {
    &object.data["spec"]["replicas"]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_what_is_another_thing_by_now_is_not_changed() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.install(&json!({})).await;
    settle(&bench).await;
    bench.install(&json!({ "controlPlane": { "replicas": 2 } })).await;
    let stale = planned(&bench).await;
    let api: Api<DynamicObject> =
        Api::namespaced_with(bench.client.clone(), "isthmus-system", &object::DEPLOYMENT.resource());
    let patch = json!({ "metadata": { "labels": { "example.com/of": "somebody" } } });
    api.patch("isthmus-control-plane", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let applied = apply(&bench.client, &stale, &|| true).await;
    assert!(applied.stale && applied.failures.is_empty(), "{applied:?}");
    let found = bench.object(&control_plane()).await.unwrap();
    assert_eq!(*replicas(&found), json!(1), "it was changed by a view of the past");
    // Neither is one made anew that is gone.
    bench.kubectl(&["--namespace=isthmus-system", "delete", "service/isthmus-control-plane"]);
    let service = ObjectKey::new(object::SERVICE, "isthmus-system", "isthmus-control-plane");
    settle(&bench).await;
    assert!(bench.object(&service).await.is_some(), "a fresh view makes it");
    let found = bench.object(&control_plane()).await.unwrap();
    assert_eq!(*replicas(&found), json!(2));
}

/// A Service that somebody made before there was a Gateway of that name.
const THEIRS: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web-isthmus, namespace: shop}
spec: {ports: [{port: 9}]}
";

/// Waits until a condition of the MeshInstall says so.
async fn says(bench: &Bench, kind: &str, wanted: &str) {
    let key = ObjectKey::new(object::MESH_INSTALL, "", "mesh");
    until("the MeshInstall says so", async || {
        let install = bench.object(&key).await.ok_or("there is none")?;
        let conditions = install.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|one| one["type"] == kind).ok_or("no condition")?;
        if found.to_string().contains(wanted) { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_made_is_not_taken_over() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.apply(THEIRS);
    let _operator = bench.operator();
    bench.install(&json!({})).await;
    says(&bench, "ProxiesReady", "Service shop/web-isthmus exists and was not made by Isthmus").await;
    bench.told("True InForce").await;
    let service = ObjectKey::new(object::SERVICE, "shop", "web-isthmus");
    let theirs = bench.object(&service).await.unwrap();
    assert_eq!(theirs.data["spec"]["ports"][0]["port"], 9);
    assert_eq!(theirs.metadata.labels, None);
    bench.kubectl(&["--namespace=shop", "delete", "service/web-isthmus"]);
    says(&bench, "ProxiesReady", "the proxies of all 1 Gateways run").await;
    // What is ours stays ours when its label is gone, by which it is watched, and as it is.
    let proxies = ObjectKey::new(object::DEPLOYMENT, "shop", "web-isthmus");
    bench.kubectl(&["--namespace=shop", "scale", "deployment/web-isthmus", "--replicas=10"]);
    for (key, label) in [(&service, "managed-by-"), (&proxies, "managed-by=another")] {
        let name = format!("{}/web-isthmus", key.kind.plural);
        let label = format!("app.kubernetes.io/{label}");
        bench.kubectl(&["--namespace=shop", "label", &name, &label, "--overwrite"]);
        until("it is labelled again", async || {
            let found = bench.object(key).await.ok_or("it is gone")?;
            let labels = found.metadata.labels.unwrap_or_default();
            let ours = labels.get("app.kubernetes.io/managed-by");
            if ours.is_some_and(|by| by == "isthmus") { Ok(()) } else { Err("it is not") }
        })
        .await;
    }
    settle(&bench).await;
    let found = bench.object(&proxies).await.unwrap();
    assert_eq!(*replicas(&found), json!(10), "as an autoscaler of others has it");
}

/// Refuses to have the role of the control plane written.
const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-role}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: [rbac.authorization.k8s.io]
      apiVersions: ['*']
      operations: [CREATE, UPDATE]
      resources: [clusterroles]
  validations:
  - {expression: "object.metadata.name != 'isthmus-control-plane'", message: not here}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-role}
spec: {policyName: no-role, validationActions: [Deny]}
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_write_that_is_refused_keeps_no_other_from_being_made() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.apply(POLICY);
    let roles: Api<DynamicObject> =
        Api::all_with(bench.client.clone(), &object::CLUSTER_ROLE.resource());
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "isthmus-control-plane" },
    });
    let role: DynamicObject = serde_json::from_value(role).unwrap();
    until("the policy is in force", async || {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        match roles.create(&params, &role).await {
            Err(error) if error.to_string().contains("not here") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let _operator = bench.operator();
    bench.install(&json!({})).await;
    bench.told("False ApplyFailed: ClusterRole isthmus-control-plane cannot be written: ").await;
    let proxies = ObjectKey::new(object::DEPLOYMENT, "shop", "web-isthmus");
    for key in [control_plane(), proxies] {
        until("everything else is there", async || bench.object(&key).await.ok_or(key.to_string()))
            .await;
    }
    bench.kubectl(&[
        "delete",
        "validatingadmissionpolicybindings,validatingadmissionpolicies",
        "no-role",
    ]);
    bench.told("True InForce").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_an_operator_that_was_stopped_writes_nothing_when_it_goes_on() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    let mut first = bench.operator();
    bench.install(&json!({})).await;
    bench.told("True InForce: version 0.1.0 runs").await;
    let other = bench.another_way().await;
    let _second = other.operator();
    // What it began to write before is no write of one that was stopped.
    until("the first one rests", async || {
        bench.proxy.does(Fault::None);
        // That nothing comes shows only in time.
        tokio::time::sleep(QUIET).await;
        if bench.proxy.writes() == 0 { Ok(()) } else { Err("it writes") }
    })
    .await;
    first.signal("STOP");
    bench.proxy.does(Fault::None);
    // What the first one has to do when it goes on, and what it would do to it.
    bench.install(&json!({ "version": "0.1.999" })).await;
    bench.told("True InForce: version 0.1.999 runs").await;
    assert!(other.proxy.writes() > 0, "the second one did it");
    first.signal("CONT");
    until("the first one knows that it leads no more", async || {
        if first.said().contains("lease lost") { Ok(()) } else { Err("it does not") }
    })
    .await;
    bench.install(&json!({ "version": "0.1.0" })).await;
    bench.told("True InForce: version 0.1.0 runs").await;
    assert_eq!(bench.proxy.written(), Vec::<String>::new());
    assert!(first.runs());
}
