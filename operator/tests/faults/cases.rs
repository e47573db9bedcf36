//! Views of the past, definitions of other versions, namespaces that end, and rights that are missing.

use isthmus_operator::{
    apply::apply,
    object::{self, ObjectKey},
    plan::{Action, Plan},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use isthmus_e2e::faults::Fault;

use crate::bench::{Bench, PLACES, gateway_api, planned, settle, until};

fn control_plane() -> ObjectKey {
    ObjectKey::new(object::DEPLOYMENT, "isthmus-system", "isthmus-control-plane")
}

fn proxies() -> ObjectKey {
    ObjectKey::new(object::DEPLOYMENT, "shop", "web-isthmus")
}

async fn label(bench: &Bench, key: &ObjectKey) {
    let resource = key.kind.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(bench.client.clone(), &key.namespace, &resource);
    let patch = json!({ "metadata": { "labels": { "example.com/of": "somebody" } } });
    api.patch(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_an_operator_waits_for_an_api_server_that_is_away() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.proxy.does(Fault::Refuse);
    let mut operator = bench.operator();
    bench.install(&json!({})).await;
    bench.refused(20).await;
    assert!(operator.runs(), "it is not away for good");
    bench.proxy.does(Fault::None);
    bench.told("True InForce").await;
    // Away again, while somebody changes something.
    bench.proxy.does(Fault::Refuse);
    bench.install(&json!({ "controlPlane": { "replicas": 2 } })).await;
    bench.refused(20).await;
    bench.proxy.does(Fault::None);
    let budget = ObjectKey::new(object::DISRUPTION_BUDGET, "isthmus-system", "isthmus-control-plane");
    until("the change is in force", async || bench.object(&budget).await.ok_or("it is not")).await;
    assert!(operator.runs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_an_operator_works_without_gateway_api_and_with_another_version_of_it() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    let kinds = ["gatewayclasses", "gateways", "httproutes", "referencegrants"];
    for kind in kinds.map(|kind| format!("{kind}.gateway.networking.k8s.io")) {
        bench.kubectl(&["delete", "crd", &kind]);
    }
    let _operator = bench.operator();
    bench.install(&json!({})).await;
    bench.told("False DefinitionsMissing: the definition gatewayclasses").await;
    assert!(bench.object(&control_plane()).await.is_some(), "what needs none of it is there");
    let definitions = gateway_api();
    bench.define_gateway_api(&definitions.replace("bundle-version: v1.7.0", "bundle-version: v1.99.0"));
    bench.told("False UnsupportedVersion").await;
    bench.define_gateway_api(&definitions);
    bench.apply(PLACES);
    bench.told("True InForce").await;
    until("the Gateway is run", async || bench.object(&proxies()).await.ok_or("it is not")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f7_what_is_not_as_it_was_seen_is_not_deleted() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.install(&json!({ "proxy": { "replicas": 2 } })).await;
    settle(&bench).await;
    let budget = ObjectKey::new(object::DISRUPTION_BUDGET, "shop", "web-isthmus");
    assert!(bench.object(&budget).await.is_some());

    bench.install(&json!({ "proxy": { "replicas": 1 } })).await;
    let stale = planned(&bench).await;
    let deletes = |plan: &Plan| {
        plan.steps
            .iter()
            .any(|step| matches!(&step.action, Action::Delete { key, .. } if *key == budget))
    };
    assert!(deletes(&stale));
    label(&bench, &budget).await;
    let applied = apply(&bench.client, &stale, &|| true).await;
    assert!(applied.failures.is_empty(), "{:?}", applied.failures);
    assert!(bench.object(&budget).await.is_some(), "it was deleted by a view of the past");
    settle(&bench).await;
    assert!(bench.object(&budget).await.is_none(), "a fresh view deletes it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_namespace_that_ends_under_a_plan_is_no_failure() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.install(&json!({})).await;
    settle(&bench).await;
    bench.install(&json!({ "proxy": { "replicas": 2 } })).await;
    bench.kubectl(&["--namespace=isthmus-system", "delete", "service/isthmus-control-plane"]);
    let stale = planned(&bench).await;
    let there = |plan: &Plan| plan.steps.iter().any(|step| step.action.key().namespace == "shop");
    assert!(there(&stale));
    // Nobody ends it here: it stays what it is when objects in it are still there.
    bench.kubectl(&["delete", "namespace", "shop", "--wait=false"]);
    let applied = apply(&bench.client, &stale, &|| true).await;
    assert!(applied.failures.is_empty(), "{:?}", applied.failures);
    let budget = ObjectKey::new(object::DISRUPTION_BUDGET, "shop", "web-isthmus");
    assert!(bench.object(&budget).await.is_none());
    let other = ObjectKey::new(object::SERVICE, "isthmus-system", "isthmus-control-plane");
    assert!(bench.object(&other).await.is_some(), "the others go on");
    settle(&bench).await;
    assert!(!there(&planned(&bench).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_an_operator_that_may_not_read_a_kind_starts_and_says_so() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    bench.permit(|resource| resource != "horizontalpodautoscalers");
    let _operator = bench.operator();
    bench.install(&json!({ "proxy": { "autoscale": { "maxReplicas": 3 } } })).await;
    bench.told("False Forbidden: objects of kind HorizontalPodAutoscaler may not be read").await;
    for key in [control_plane(), proxies()] {
        until("everything else is there", async || bench.object(&key).await.ok_or(key.to_string()))
            .await;
    }
    bench.permit(|_| true);
    bench.told("True InForce").await;
    let autoscaler = ObjectKey::new(object::AUTOSCALER, "shop", "web-isthmus");
    assert!(bench.object(&autoscaler).await.is_some());
}

/// Makes a definition be of this version, and changes the fields of MeshInstalls.
fn of_version(definition: &mut Value, version: &str, change: impl Fn(&mut Value)) {
    definition["metadata"]["annotations"]["isthmus.dev/version"] = version.into();
    if definition["spec"]["names"]["kind"] == "MeshInstall" {
        change(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_definitions_of_another_version_degrade_and_are_told() {
    let bench = Bench::new().await;
    let remove = |fields: &mut Value, name: &str| drop(fields.as_object_mut().unwrap().remove(name));
    bench.define(|definition| {
        of_version(definition, "0.0.1", |fields| {
            remove(&mut fields["status"]["properties"], "inventory");
            remove(&mut fields["spec"]["properties"], "drift");
        });
    });
    let _operator = bench.operator();
    bench.install(&json!({})).await;
    bench
        .told("False DefinitionsOutdated: CustomResourceDefinition gatewayparameters.isthmus.dev is")
        .await;
    let made =
        until("the mesh is there", async || bench.object(&control_plane()).await.ok_or("no")).await;
    bench.define(|_| {});
    bench.told("True InForce").await;

    bench.define(|definition| {
        of_version(definition, "9.0.0", |fields| {
            fields["spec"]["properties"]["future"] = json!({ "type": "string" });
        });
    });
    let patch = |future: &str| {
        let patch = format!(r#"{{"spec":{{"future":{future}}}}}"#);
        bench.kubectl(&["patch", "meshinstall", "mesh", "--type=merge", "-p", &patch, "-o", "yaml"])
    };
    // A field counts some time after its definition was written.
    until("the field is there", async || {
        let written = patch(r#""brought""#);
        if written.contains("future: brought") { Ok(()) } else { Err(written) }
    })
    .await;
    bench.told("False Unreadable: this operator, of version").await;
    let there = bench.object(&control_plane()).await.unwrap();
    assert_eq!(there.metadata.uid, made.metadata.uid, "everything stays as it is");
    patch("null");
    bench.told("True InForce").await;
}
