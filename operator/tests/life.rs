//! The life of an install against an API server that does what it is told: plans end at rest, changes
//! come in order, failures go back, and the end leaves nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod common;
#[path = "common/mesh.rs"]
mod mesh;

use common::{perform, put};
use isthmus_operator::{
    object::{self, ObjectKey},
    observed::Observed,
    plan::{Plan, Step, plan},
};
use mesh::{
    THERE, change, condition, edit, healthy, images, pods, run, run_by, running, settle,
    with_gateway_api,
};
use serde_json::json;

#[test]
fn f9_at_rest_nothing_is_planned() {
    let mut observed = running();
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.1.0 runs");
    assert_eq!(condition(&observed, "ProxiesReady"), "True Running: the proxies of all 1 Gateways run");
    assert_eq!(
        condition(&observed, "GatewayAPISupported"),
        "True Supported: Gateway API v1.7.0 (standard)"
    );
    let install = observed.install().unwrap();
    assert_eq!(plan(&install, &observed), Plan::default());
    // Not even when time passes.
    observed.now = "2027-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(plan(&install, &observed), Plan::default());
}

#[test]
fn f6_a_plan_that_is_cut_anywhere_ends_at_the_same_state() {
    let whole = running();
    for kept in 0..20 {
        let mut observed = with_gateway_api(THERE);
        let install = observed.install().unwrap();
        let mut first = plan(&install, &observed);
        first.steps.truncate(kept);
        perform(&mut observed, &first);
        run(&mut observed);
        assert_eq!(observed.objects, whole.objects, "cut after {kept} steps");
    }
}

#[test]
fn f18_what_a_kind_that_is_not_known_decides_stays() {
    for kind in [object::GATEWAY, object::GATEWAY_CLASS, object::REFERENCE_GRANT, object::DEFINITION] {
        let mut observed = running();
        observed.objects.retain(|key, _| key.kind != kind);
        observed.unknown.insert(kind);
        observed.forbidden.insert(kind, "somebody took it away".to_owned());
        settle(&mut observed);
        let told = condition(&observed, "Ready");
        assert!(told.starts_with(&format!("False Forbidden: objects of kind {}", kind.kind)), "{told}");
        let before = running();
        let gone = before.objects.keys().find(|key| key.kind != kind && observed.object(key).is_none());
        assert_eq!(gone, None, "{}", kind.kind);
    }
}

#[test]
fn f14_drift_is_told_or_repaired() {
    let mut observed = running();
    let key = ObjectKey::new(object::DEPLOYMENT, "isthmus-system", "isthmus-control-plane");
    let mut deployment = serde_json::to_value(observed.object(&key).unwrap()).unwrap();
    deployment["spec"]["replicas"] = 7.into();
    put(&mut observed, deployment);
    // This MeshInstall says `drift: Report`.
    settle(&mut observed);
    assert_eq!(
        condition(&observed, "Drifted"),
        "True ChangedByOthers: Deployment isthmus-system/isthmus-control-plane: spec.replicas: 1, not 7"
    );
    edit(&mut observed, |install| install["spec"]["drift"] = "Repair".into());
    settle(&mut observed);
    assert_eq!(observed.object(&key).unwrap().data["spec"]["replicas"], 1);
}

#[test]
fn the_control_plane_is_changed_before_proxies() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    settle(&mut observed);
    let new = ["isthmus.dev/isthmus:0.2.0", "isthmus.dev/proxy:0.2.0"];
    assert_eq!(images(&observed), [new[0], "isthmus.dev/proxy:0.1.0"]);
    run(&mut observed);
    assert_eq!(images(&observed), new);
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.2.0 runs");
    assert_eq!(healthy(&observed), "0.2.0");
}

#[test]
fn f15_a_revision_that_does_not_run_is_undone() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["controlPlane"] = json!({"image": "bad"}));
    settle(&mut observed);
    pods(&mut observed, |image| image != "bad");
    run(&mut observed);
    let good = ["isthmus.dev/isthmus:0.1.0", "isthmus.dev/proxy:0.1.0"];
    assert_eq!(images(&observed), good);
    let told = condition(&observed, "Ready");
    assert!(
        told.starts_with("False RolledBack: what is asked for (version 0.1.0) did not run"),
        "{told}"
    );
    assert!(told.contains("with image bad"), "{told}");
    // Reverting the object restores all, with nothing done by hand.
    edit(&mut observed, |install| install["spec"]["controlPlane"] = json!({}));
    run(&mut observed);
    assert_eq!(images(&observed), good);
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.1.0 runs");
}

#[test]
fn f15_what_was_undone_is_tried_again_when_the_install_is_changed() {
    let mut observed = running();
    let runs = |image: &str| !image.contains("0.2.0");
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    for _ in 0..3 {
        settle(&mut observed);
        pods(&mut observed, runs);
    }
    assert!(condition(&observed, "Ready").starts_with("False RolledBack"));
    settle(&mut observed);
    assert_eq!(images(&observed)[0], "isthmus.dev/isthmus:0.1.0");
    edit(&mut observed, |install| install["spec"]["upgrade"] = json!({ "timeoutSeconds": 900 }));
    settle(&mut observed);
    assert_eq!(images(&observed)[0], "isthmus.dev/isthmus:0.2.0");
    run(&mut observed);
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.2.0 runs");
}

const OWN: [&str; 2] = ["isthmus.dev/proxy:0.1.0", "isthmus-control-plane.isthmus-system.svc:15012"];
const NEXT: [&str; 2] =
    ["isthmus.dev/proxy:0.2.0", "isthmus-control-plane-next.isthmus-system.svc:15012"];

/// A mesh that runs, with a revision that runs its Gateway.
fn beside() -> (Observed, ObjectKey, ObjectKey) {
    let mut observed = running();
    let meta = json!({ "name": "next" });
    let spec = json!({ "meshInstall": "mesh", "version": "0.2.0" });
    put(&mut observed, json!({ "kind": "MeshRevision", "metadata": meta, "spec": spec }));
    let next = ObjectKey::new(object::MESH_REVISION, "", "next");
    let web = ObjectKey::new(object::GATEWAY, "shop", "web");
    change(&mut observed, &web, |web| {
        web["metadata"]["labels"] = json!({ "isthmus.dev/revision": "next" });
    });
    (observed, next, web)
}

fn revision_says(observed: &Observed, kind: &str) -> String {
    let key = ObjectKey::new(object::MESH_REVISION, "", "next");
    let status = &observed.object(&key).unwrap().data["status"];
    let found = status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == kind).unwrap();
    format!("{} {}: {}", found["status"], found["reason"], found["message"].as_str().unwrap())
}

#[test]
fn f20_a_gateway_moves_to_another_revision_once_that_runs() {
    let (mut observed, ..) = beside();
    settle(&mut observed);
    assert_eq!(run_by(&observed), OWN, "its control plane does not run yet");
    run(&mut observed);
    assert_eq!(run_by(&observed), NEXT);
    assert_eq!(revision_says(&observed, "Ready"), r#""True" "InForce": version 0.2.0 runs"#);
    let used = revision_says(&observed, "InUse");
    assert!(
        used.starts_with(r#""True" "RunsGateways": 1 Gateways are run by it (shop/web), 0"#),
        "{used}"
    );
    // The mesh itself is what it was.
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.1.0 runs");
    let install = observed.install().unwrap();
    assert_eq!(plan(&install, &observed), Plan::default());
}

#[test]
fn f10_f20_a_revision_in_use_is_not_removed() {
    let (mut observed, next, web) = beside();
    run(&mut observed);
    change(&mut observed, &next, |next| {
        next["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    run(&mut observed);
    assert_eq!(run_by(&observed), NEXT);
    let used = revision_says(&observed, "InUse");
    assert!(used.contains("shop/web") && used.contains("change or remove their label"), "{used}");
    change(&mut observed, &web, |web| web["metadata"]["labels"] = json!({}));
    run(&mut observed);
    assert_eq!(run_by(&observed), OWN);
    let left = observed.objects.keys().find(|key| key.name.contains("next"));
    assert_eq!(left, None, "it is gone with all that it had");
}

#[test]
fn f20_f21_the_end_of_the_mesh_waits_for_no_revision() {
    let (mut observed, next, _) = beside();
    run(&mut observed);
    edit(&mut observed, |install| {
        install["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    settle(&mut observed);
    assert!(observed.install().is_none());
    let kept = observed.object(&next).unwrap();
    assert_eq!(kept.metadata.finalizers.clone().unwrap_or_default(), [""; 0], "it is the user's");
    let left: Vec<_> = observed.ours().map(|(key, _)| key.to_string()).collect();
    assert!(left.iter().all(|name| name.starts_with("CustomResourceDefinition")), "{left:?}");
}

#[test]
fn f21_the_end_leaves_nothing_of_ours() {
    let mut observed = running();
    edit(&mut observed, |install| {
        install["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    settle(&mut observed);
    let left: Vec<String> = observed.objects.keys().map(ToString::to_string).collect();
    let ours = |name: &&String| !name.starts_with("CustomResourceDefinition");
    assert_eq!(
        left.iter().filter(ours).collect::<Vec<_>>(),
        [
            "Gateway shop/theirs",
            "Gateway shop/web",
            "GatewayClass isthmus",
            "GatewayClass other",
            "ReferenceGrant certificates/shop"
        ]
    );
}

#[test]
fn a_class_that_somebody_made_stays_theirs() {
    let class = ObjectKey::new(object::GATEWAY_CLASS, "", "isthmus");
    let mut observed = running();
    assert_eq!(observed.object(&class).unwrap().metadata.labels, None);
    // One that another controller serves is in the way: to make it is refused.
    change(&mut observed, &class, |class| class["spec"]["controllerName"] = "example.com/other".into());
    let steps = plan(&observed.install().unwrap(), &observed).steps;
    let of_class = steps.iter().find(|step| *step.action.key() == class).unwrap();
    assert_eq!(of_class.action.verb(), "create");
    // One that we made goes at the end.
    let mut observed = with_gateway_api(THERE);
    observed.objects.remove(&class);
    run(&mut observed);
    assert!(observed.object(&class).unwrap().metadata.labels.is_some());
    edit(&mut observed, |install| {
        install["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    settle(&mut observed);
    assert!(observed.object(&class).is_none());
}

#[test]
fn f10_the_end_comes_though_pods_do_not_go() {
    let mut observed = running();
    edit(&mut observed, |install| {
        install["metadata"]["deletionTimestamp"] = "2025-12-31T23:50:00Z".into();
    });
    let install = observed.install().unwrap();
    let first = plan(&install, &observed);
    let told = first.steps.last().unwrap().action.clone();
    perform(&mut observed, &Plan { steps: vec![Step { unit: None, action: told }], ..Plan::default() });
    observed.now = "2026-01-01T00:03:00Z".parse().unwrap();
    let late = plan(&observed.install().unwrap(), &observed);
    perform(&mut observed, &late);
    let last = plan(&observed.install().unwrap(), &observed);
    assert_eq!(last.steps.last().unwrap().action.key().kind, object::MESH_INSTALL);
}
