//! What must not happen to a mesh when something else is not as it should be: another's Gateway, an object
//! that cannot be read, a controller that is slow, somebody who changes what the operator made.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod common;
#[path = "common/mesh.rs"]
mod mesh;

use std::collections::BTreeSet;

use common::{perform, put};
use isthmus_operator::{
    apply::Failure,
    object::{self, Kind, ObjectKey},
    observed::Observed,
    plan::{Action, Plan, Step, next},
};
use mesh::{change, condition, edit, healthy, images, pods, run, run_by, running, settle};
use serde_json::{Value, json};

fn deployment(name: &str) -> ObjectKey {
    let namespace = if name == "isthmus-control-plane" { "isthmus-system" } else { "shop" };
    ObjectKey::new(object::DEPLOYMENT, namespace, name)
}

fn replicas(observed: &Observed) -> i64 {
    observed.object(&deployment("web-isthmus")).unwrap().data["spec"]["replicas"].as_i64().unwrap()
}

/// Sets fields of the status of a Deployment.
fn report(observed: &mut Observed, key: &ObjectKey, fields: &Value) {
    change(observed, key, |deployment| {
        let status = deployment["status"].as_object_mut().unwrap();
        status.extend(fields.as_object().unwrap().clone());
    });
}

fn repairs(observed: &mut Observed) {
    edit(observed, |install| install["spec"]["drift"] = "Repair".into());
    settle(observed);
}

#[test]
fn the_number_of_proxies_is_kept_when_it_becomes_another_ones() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["proxy"] = json!({ "replicas": 5 }));
    run(&mut observed);
    assert_eq!(replicas(&observed), 5);
    edit(&mut observed, |install| {
        install["spec"]["proxy"] = json!({ "autoscale": { "maxReplicas": 9 } });
    });
    run(&mut observed);
    assert_eq!(replicas(&observed), 5, "under load, before an autoscaler says anything");
    for kind in [object::AUTOSCALER, object::DISRUPTION_BUDGET] {
        let there = observed.object(&ObjectKey::new(kind, "shop", "web-isthmus"));
        assert!(there.is_some(), "{}", kind.kind);
    }
    change(&mut observed, &deployment("web-isthmus"), |found| found["spec"]["replicas"] = 7.into());
    pods(&mut observed, |_| true);
    assert_eq!(next(&observed), Plan::default(), "the autoscaler decides");
    // Only the bounds are the mesh's.
    edit(&mut observed, |install| {
        install["spec"]["proxy"] = json!({ "replicas": 2, "autoscale": { "maxReplicas": 6 } });
    });
    run(&mut observed);
    let autoscaler =
        observed.object(&ObjectKey::new(object::AUTOSCALER, "shop", "web-isthmus")).unwrap();
    assert_eq!(autoscaler.data["spec"]["maxReplicas"], 6);
    assert_eq!(replicas(&observed), 7, "it is the autoscaler's to change");
    edit(&mut observed, |install| install["spec"]["proxy"] = json!({ "replicas": 2 }));
    run(&mut observed);
    assert_eq!(replicas(&observed), 2);
}

#[test]
fn the_number_of_proxies_that_nobody_asks_for_is_left_alone() {
    let mut observed = running();
    repairs(&mut observed);
    change(&mut observed, &deployment("web-isthmus"), |found| found["spec"]["replicas"] = 4.into());
    pods(&mut observed, |_| true);
    assert_eq!(next(&observed), Plan::default());
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    run(&mut observed);
    assert_eq!(run_by(&observed)[0], "isthmus.dev/proxy:0.2.0");
    assert_eq!(replicas(&observed), 4, "a write of something else resets it");
}

#[test]
fn pods_count_once_they_were_ready_for_a_while() {
    let mut observed = running();
    for (timeout, wanted) in [(300, 5), (5, 4)] {
        edit(&mut observed, |install| {
            install["spec"]["upgrade"] = json!({ "timeoutSeconds": timeout });
        });
        run(&mut observed);
        for name in ["isthmus-control-plane", "web-isthmus"] {
            let spec = &observed.object(&deployment(name)).unwrap().data["spec"];
            assert_eq!(spec["minReadySeconds"], wanted, "{name}");
            assert_eq!(spec["progressDeadlineSeconds"], timeout, "{name}: it must be more");
        }
    }
}

/// Another Gateway, in the namespace `bank`.
fn with_another(observed: &mut Observed) -> ObjectKey {
    let spec = json!({
        "gatewayClassName": "isthmus",
        "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
    });
    let meta = json!({ "name": "broken", "namespace": "bank" });
    put(observed, json!({ "kind": "Gateway", "metadata": meta, "spec": spec }));
    settle(observed);
    ObjectKey::new(object::DEPLOYMENT, "bank", "broken-isthmus")
}

/// As [`run`], in a cluster where no pod of this Deployment starts.
fn run_without(observed: &mut Observed, stuck: &ObjectKey) {
    for _ in 0..4 {
        settle(observed);
        pods(observed, |_| true);
        let late = json!([{ "type": "Progressing", "reason": "ProgressDeadlineExceeded" }]);
        report(observed, stuck, &json!({ "availableReplicas": 0, "conditions": late }));
    }
    settle(observed);
}

#[test]
fn a_gateway_that_never_ran_keeps_nothing_from_being_upgraded() {
    let mut observed = running();
    let stuck = with_another(&mut observed);
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    run_without(&mut observed, &stuck);
    assert_eq!(images(&observed), ["isthmus.dev/isthmus:0.2.0", "isthmus.dev/proxy:0.2.0"]);
    assert_eq!(healthy(&observed), "0.2.0");
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.2.0 runs");
    let told = condition(&observed, "ProxiesReady");
    assert!(told.starts_with("False Failed: Deployment bank/broken-isthmus: 0 of 1 pods"), "{told}");
}

#[test]
fn f15_a_gateway_that_failed_before_takes_no_revision_back() {
    let mut observed = running();
    let broken = with_another(&mut observed);
    run(&mut observed);
    let late = json!([{ "type": "Progressing", "reason": "ProgressDeadlineExceeded" }]);
    let fail = |observed: &mut Observed| {
        pods(observed, |_| true);
        report(observed, &broken, &json!({ "replicas": 2, "conditions": late }));
        settle(observed);
    };
    fail(&mut observed);
    for spec in [json!({ "version": "0.2.0" }), json!({ "controlPlane": { "replicas": 2 } })] {
        let mut observed = observed.clone();
        edit(&mut observed, |install| install["spec"] = spec.clone());
        settle(&mut observed);
        for _ in 0..4 {
            fail(&mut observed);
        }
        let version = spec["version"].as_str().unwrap_or("0.1.0");
        assert_eq!(condition(&observed, "Ready"), format!("True InForce: version {version} runs"));
        let told = condition(&observed, "ProxiesReady");
        assert!(told.starts_with("False Failed: Deployment bank/broken-isthmus"), "{told}");
        let proven = observed.install().unwrap().status.unwrap().healthy.unwrap();
        assert_eq!(json!(proven.control_plane.replicas), spec["controlPlane"]["replicas"]);
        let image = &observed.object(&broken).unwrap().data["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(image["image"], format!("isthmus.dev/proxy:{version}"), "it follows");
    }
}

#[test]
fn f15_a_gateway_that_ran_and_does_not_any_more_takes_the_revision_back() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    settle(&mut observed);
    pods(&mut observed, |_| true);
    settle(&mut observed);
    pods(&mut observed, |image| image != "isthmus.dev/proxy:0.2.0");
    run(&mut observed);
    let told = condition(&observed, "Ready");
    assert!(told.starts_with("False RolledBack: what is asked for (version 0.2.0)"), "{told}");
    assert_eq!(healthy(&observed), "0.1.0");
}

#[test]
fn f15_a_failure_of_what_was_asked_for_before_is_none_of_what_is_asked_for_now() {
    let mut observed = running();
    let generation = observed.object(&deployment("isthmus-control-plane")).unwrap().metadata.generation;
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    settle(&mut observed);
    let late = json!([{ "type": "Progressing", "reason": "ProgressDeadlineExceeded" }]);
    let stale = json!({ "observedGeneration": generation, "conditions": late });
    report(&mut observed, &deployment("isthmus-control-plane"), &stale);
    settle(&mut observed);
    let told = condition(&observed, "Ready");
    assert!(told.starts_with("False Progressing: Deployment isthmus-system/isthmus"), "{told}");
    run(&mut observed);
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.2.0 runs");
}

#[test]
fn proxies_stay_at_what_is_asked_for_while_the_control_plane_restarts() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    settle(&mut observed);
    pods(&mut observed, |_| true);
    settle(&mut observed);
    let new = ["isthmus.dev/isthmus:0.2.0", "isthmus.dev/proxy:0.2.0"];
    assert_eq!(images(&observed), new);
    let told = condition(&observed, "Ready");
    let said =
        "False Progressing: the control plane runs version 0.2.0, and proxies do not: Deployment shop";
    assert!(told.starts_with(said), "{told}");
    report(&mut observed, &deployment("isthmus-control-plane"), &json!({ "availableReplicas": 0 }));
    settle(&mut observed);
    assert_eq!(images(&observed), new);
    run(&mut observed);
    assert_eq!(healthy(&observed), "0.2.0");
}

#[test]
fn f15_more_replicas_than_there_is_room_for_are_undone() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["controlPlane"] = json!({ "replicas": 100 }));
    settle(&mut observed);
    // The controllers keep no deadline for what is no other template.
    let conditions = json!([
        { "type": "Progressing", "reason": "NewReplicaSetAvailable", "lastUpdateTime": "2025-12-01T00:00:00Z" },
        { "type": "Available", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z" },
    ]);
    let key = deployment("isthmus-control-plane");
    let generation = observed.object(&key).unwrap().metadata.generation;
    let few = json!({
        "observedGeneration": generation,
        "replicas": 100,
        "updatedReplicas": 100,
        "availableReplicas": 3,
        "conditions": conditions,
    });
    report(&mut observed, &key, &few);
    observed.now = "2026-01-01T00:04:59Z".parse().unwrap();
    let waiting = next(&observed);
    perform(&mut observed, &waiting);
    assert!(next(&observed).waits, "no watch tells that time is up");
    let told = condition(&observed, "Ready");
    assert!(told.starts_with("False Progressing"), "{told}");
    observed.now = "2026-01-01T00:05:00Z".parse().unwrap();
    run(&mut observed);
    let told = condition(&observed, "Ready");
    assert!(told.starts_with("False RolledBack") && told.contains("3 of 100 pods"), "{told}");
    assert_eq!(observed.object(&key).unwrap().data["spec"]["replicas"], 1);
}

/// Plans anew after these could not be written.
fn failing(observed: &mut Observed, key: ObjectKey, unit: Option<ObjectKey>) {
    let failure = Failure { unit, code: 403, message: "no".to_owned() };
    observed.failures.insert(key, failure);
    settle(observed);
}

#[test]
fn what_cannot_be_written_is_told_where_it_belongs() {
    let mut observed = running();
    let of_web = ObjectKey::new(object::SERVICE, "shop", "web-isthmus");
    observed.objects.remove(&of_web);
    let gone = next(&observed);
    assert_eq!(gone.steps[0].action.verb(), "create");
    let failure = Failure { unit: gone.steps[0].unit.clone(), code: 403, message: "no".to_owned() };
    observed.failures.insert(of_web, failure);
    let told = next(&observed);
    perform(&mut observed, &Plan { steps: told.steps[1..].to_vec(), ..Plan::default() });
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.1.0 runs");
    assert_eq!(
        condition(&observed, "ProxiesReady"),
        "False Failed: Service shop/web-isthmus cannot be written: no"
    );

    let mut observed = running();
    failing(&mut observed, ObjectKey::new(object::CLUSTER_ROLE, "", "isthmus-control-plane"), None);
    assert_eq!(
        condition(&observed, "Ready"),
        "False ApplyFailed: ClusterRole isthmus-control-plane cannot be written: no"
    );

    // What somebody has in the namespace of his Gateways is nobody else's business.
    let mut observed = running();
    failing(&mut observed, ObjectKey::new(object::ROLE, "shop", "isthmus-gateways"), None);
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.1.0 runs");
    assert_eq!(
        condition(&observed, "ProxiesReady"),
        "False Failed: Role shop/isthmus-gateways cannot be written: no"
    );
}

/// A MeshRevision `next` that runs the Gateway by a label of its namespace.
fn beside() -> Observed {
    let mut observed = running();
    let labels = json!({ "isthmus.dev/revision": "next" });
    put(&mut observed, json!({ "kind": "Namespace", "metadata": { "name": "shop", "labels": labels } }));
    let spec = json!({ "meshInstall": "mesh", "version": "0.2.0" });
    let meta = json!({ "name": "next" });
    put(&mut observed, json!({ "kind": "MeshRevision", "metadata": meta, "spec": spec }));
    run(&mut observed);
    assert_eq!(run_by(&observed)[0], "isthmus.dev/proxy:0.2.0");
    observed
}

fn revision() -> ObjectKey {
    ObjectKey::new(object::MESH_REVISION, "", "next")
}

/// What the operator made, as text, statuses of its own aside.
fn made(observed: &Observed) -> Vec<String> {
    let all = observed.ours();
    all.map(|(key, object)| format!("{key}: {}", serde_json::to_string(&object.data).unwrap())).collect()
}

#[test]
fn f18_who_runs_a_gateway_stays_while_it_is_not_known() {
    for kind in [object::MESH_REVISION, object::NAMESPACE] {
        let mut observed = beside();
        let before = made(&observed);
        observed.objects.retain(|key, _| key.kind != kind);
        observed.unknown.insert(kind);
        observed.forbidden.insert(kind, "somebody took it away".to_owned());
        settle(&mut observed);
        run(&mut observed);
        assert_eq!(made(&observed), before, "{}", kind.kind);
    }
    // One that is to go does not, while it is not known whether it is used.
    let mut observed = beside();
    let before = made(&observed);
    observed.objects.retain(|key, _| key.kind != object::NAMESPACE);
    observed.unknown.insert(object::NAMESPACE);
    change(&mut observed, &revision(), |next| {
        next["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    run(&mut observed);
    assert_eq!(made(&observed), before);
    assert!(observed.object(&revision()).is_some());
}

#[test]
fn f18_without_revisions_nobody_has_to_know_namespaces() {
    let mut observed = running();
    observed.unknown.insert(object::NAMESPACE);
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    run(&mut observed);
    assert_eq!(run_by(&observed)[0], "isthmus.dev/proxy:0.2.0");
}

#[test]
fn f11_a_revision_that_cannot_be_read_keeps_what_it_has() {
    let mut observed = beside();
    let before = made(&observed);
    change(&mut observed, &revision(), |next| next["spec"]["future"] = true.into());
    run(&mut observed);
    assert_eq!(made(&observed), before);
    let status = &observed.object(&revision()).unwrap().data["status"];
    let ready = &status["conditions"][0];
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Unreadable")));
    assert!(ready["message"].as_str().unwrap().contains("unknown field `future`"), "{ready}");
    // The end of the mesh is not kept by it.
    edit(&mut observed, |install| {
        install["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    });
    settle(&mut observed);
    assert!(observed.install().is_none());
    let kept = observed.object(&revision()).unwrap();
    assert_eq!(kept.metadata.finalizers.clone().unwrap_or_default(), [""; 0]);
}

#[test]
fn f20_a_gateway_that_cannot_be_read_uses_its_revision() {
    let mut observed = beside();
    let web = ObjectKey::new(object::GATEWAY, "shop", "web");
    change(&mut observed, &web, |web| web["spec"]["listeners"] = "none".into());
    run(&mut observed);
    let conditions = &observed.object(&revision()).unwrap().data["status"]["conditions"];
    let used = conditions.as_array().unwrap().iter().find(|one| one["type"] == "InUse").unwrap();
    assert_eq!(used["status"], "True", "{used}");
    assert!(used["message"].as_str().unwrap().contains("shop/web"), "{used}");
}

#[test]
fn f11_an_install_that_cannot_be_read_leaves_everything_as_it_is() {
    let mut observed = beside();
    let install = ObjectKey::new(object::MESH_INSTALL, "", "mesh");
    let created = |at: &str| json!(format!("2025-01-0{at}T00:00:00Z"));
    change(&mut observed, &install, |install| {
        install["metadata"]["creationTimestamp"] = created("1");
        install["spec"]["future"] = true.into();
    });
    let meta = json!({ "name": "younger", "creationTimestamp": created("2") });
    put(&mut observed, json!({ "kind": "MeshInstall", "metadata": meta, "spec": {} }));
    // Neither is a definition written that an older operator has.
    let definition = ObjectKey::new(object::DEFINITION, "", "meshpeers.isthmus.dev");
    observed.objects.remove(&definition);
    let told = next(&observed);
    let steps: Vec<String> = told.steps.iter().map(|step| step.action.key().to_string()).collect();
    assert_eq!(steps, ["MeshInstall younger", "MeshInstall mesh"]);
    assert!(told.steps.iter().all(|step| matches!(step.action, Action::Status(_))));
    assert!(observed.install().is_none());
    perform(&mut observed, &told);
    assert_eq!(next(&observed), Plan::default());
    let told = |name: &str| {
        let key = ObjectKey::new(object::MESH_INSTALL, "", name);
        let ready = &observed.object(&key).unwrap().data["status"]["conditions"][0];
        ready["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!([told("mesh"), told("younger")], ["Unreadable", "AnotherInstall"]);
}

#[test]
fn f5_f7_what_is_changed_is_what_was_seen() {
    let mut observed = running();
    edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
    for (key, version) in [(deployment("isthmus-control-plane"), "17"), (install(), "18")] {
        change(&mut observed, &key, |object| object["metadata"]["resourceVersion"] = version.into());
    }
    let plan = next(&observed);
    let seen = |key: &ObjectKey, verb: &str| {
        let of = |step: &&Step| step.action.key() == key && step.action.verb() == verb;
        let step = plan.steps.iter().find(of).unwrap();
        let (Action::Change(manifest, _) | Action::Status(manifest)) = &step.action else {
            panic!("{verb}")
        };
        let meta = &manifest.value["metadata"];
        [meta["uid"].clone(), meta["resourceVersion"].clone()]
    };
    let key = deployment("isthmus-control-plane");
    let uid = "uid-of-deployments-isthmus-control-plane";
    assert_eq!(seen(&key, "change"), [json!(uid), json!("17")]);
    assert_eq!(seen(&install(), "status"), [json!("uid-of-meshinstalls-mesh"), json!("18")]);
}

fn install() -> ObjectKey {
    ObjectKey::new(object::MESH_INSTALL, "", "mesh")
}

#[test]
fn f14_drift_that_is_only_told_is_no_failure() {
    let mut observed = running();
    // This MeshInstall says `drift: Report`.
    change(&mut observed, &deployment("isthmus-control-plane"), |found| {
        found["spec"]["minReadySeconds"] = 60.into();
    });
    run(&mut observed);
    assert!(condition(&observed, "Drifted").contains("spec.minReadySeconds: 5, not 60"));
    assert_eq!(condition(&observed, "Ready"), "True InForce: version 0.1.0 runs");
}

#[test]
fn f14_what_is_changed_whenever_it_is_written_is_told_and_not_written_again() {
    let mut observed = running();
    repairs(&mut observed);
    let key = deployment("web-isthmus");
    let images = "spec.template.spec.containers[proxy].imagePullPolicy";
    let change_it = |observed: &mut Observed| {
        change(observed, &key, |found| {
            found["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
        });
    };
    change_it(&mut observed);
    let first = next(&observed);
    assert_eq!(first.steps[0].action.key(), &key, "it is tried");
    observed.overruled.insert(key.clone(), BTreeSet::from([images.to_owned()]));
    run(&mut observed);
    let told = condition(&observed, "Drifted");
    assert!(
        told.contains(&format!("Deployment shop/web-isthmus: {images}: \"IfNotPresent\"")),
        "{told}"
    );
    assert_eq!(next(&observed), Plan::default());
    // Another field is another matter.
    change(&mut observed, &key, |found| found["spec"]["minReadySeconds"] = 60.into());
    assert_eq!(next(&observed).steps[0].action.key(), &key);
    change(&mut observed, &key, |found| found["spec"]["minReadySeconds"] = 5.into());
    // And so is another wish.
    edit(&mut observed, |install| install["spec"]["proxy"] = json!({ "threads": 2 }));
    assert_eq!(next(&observed).steps[0].action.key(), &key);
}

#[test]
fn f14_what_is_added_to_what_a_write_replaces_is_drift() {
    let mut observed = running();
    repairs(&mut observed);
    let of = |kind, name| ObjectKey::new(kind, "shop", name);
    let role = "isthmus-control-plane";
    let other = json!({ "kind": "User", "name": "other", "apiGroup": "rbac.authorization.k8s.io" });
    let label = json!({ "example.com/of": "somebody" });
    for (key, field, more) in [
        (of(object::SERVICE, "web-isthmus"), "/spec/selector", &label),
        (of(object::DISRUPTION_BUDGET, "web-isthmus"), "/spec/selector/matchLabels", &label),
        (of(object::NETWORK_POLICY, "web-isthmus"), "/spec/podSelector/matchLabels", &label),
        (
            of(object::NETWORK_POLICY, "web-isthmus"),
            "/spec/ingress/0/ports",
            &json!({ "port": 9, "protocol": "TCP" }),
        ),
        (of(object::CLUSTER_ROLE_BINDING, role), "/subjects", &other),
        (of(object::CLUSTER_ROLE, role), "/rules/0", &json!({ "resourceNames": ["one"] })),
    ] {
        let mut observed = observed.clone();
        edit(&mut observed, |install| install["spec"]["proxy"] = json!({ "replicas": 2 }));
        run(&mut observed);
        assert_eq!(next(&observed), Plan::default());
        change(&mut observed, &key, |object| match object.pointer_mut(field).unwrap() {
            Value::Array(entries) => entries.push(more.clone()),
            fields => fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone()),
        });
        let steps = next(&observed).steps;
        let repaired =
            steps.iter().find(|step| *step.action.key() == key && step.action.verb() == "change");
        assert!(repaired.is_some_and(|step| step.action.why().contains("not ")), "{key} {field}");
    }
}

fn definition(observed: &mut Observed, version: &str) -> ObjectKey {
    let key = ObjectKey::new(object::DEFINITION, "", "meshpeers.isthmus.dev");
    change(observed, &key, |definition| {
        let annotations = &mut definition["metadata"]["annotations"];
        annotations["isthmus.dev/version"] = version.into();
        annotations["isthmus.dev/digest"] = "another".into();
    });
    key
}

#[test]
fn f11_definitions_of_a_newer_operator_are_left_and_older_ones_changed() {
    for (there, changed) in [
        ("0.0.9", true),
        ("0.1.0-rc.1", true),
        ("0.1.0", true),
        ("0.1.1-rc.1", false),
        ("0.10.0", false),
    ] {
        let mut observed = running();
        let key = definition(&mut observed, there);
        let planned = next(&observed);
        assert_eq!(planned.steps.iter().any(|step| *step.action.key() == key), changed, "{there}");
    }
}

#[test]
fn f12_the_command_that_helps_is_that_of_the_channel() {
    let mut observed = running();
    let http_routes = ObjectKey::new(object::DEFINITION, "", "httproutes.gateway.networking.k8s.io");
    for channel in ["standard", "experimental"] {
        let gateways = ObjectKey::new(object::DEFINITION, "", "gateways.gateway.networking.k8s.io");
        change(&mut observed, &gateways, |definition| {
            definition["metadata"]["annotations"]["gateway.networking.k8s.io/channel"] = channel.into();
        });
        observed.objects.remove(&http_routes);
        settle(&mut observed);
        let told = condition(&observed, "GatewayAPISupported");
        assert!(told.contains(&format!("/v1.7.0/{channel}-install.yaml")), "{told}");
    }
}

fn roles(observed: &Observed) -> usize {
    let of = |kind: &'static Kind| observed.of(kind).filter(|(key, _)| key.name == "isthmus-gateways");
    of(object::ROLE).count()
}

#[test]
fn f23_a_class_that_is_deleted_takes_no_right_from_what_runs() {
    let mut observed = running();
    assert_eq!(roles(&observed), 2);
    observed.objects.retain(|key, _| key.kind != object::GATEWAY_CLASS);
    let planned = next(&observed);
    perform(&mut observed, &planned);
    assert_eq!(roles(&observed), 2);
    // And gives none for a Gateway that nobody runs.
    let mut observed = running();
    let meta = json!({ "name": "stranger", "namespace": "bank" });
    let reference = json!([{ "name": "secret" }]);
    let listeners = json!([{
        "name": "https", "port": 443, "protocol": "HTTPS", "tls": { "certificateRefs": reference },
    }]);
    let spec = json!({ "gatewayClassName": "none", "listeners": listeners });
    put(&mut observed, json!({ "kind": "Gateway", "metadata": meta, "spec": spec }));
    run(&mut observed);
    assert_eq!(roles(&observed), 2);
}

/// A mesh that is to end, and of which a Deployment does not go.
fn ending() -> Observed {
    let mut observed = running();
    edit(&mut observed, |install| {
        install["metadata"]["deletionTimestamp"] = "2025-12-31T23:00:00Z".into();
    });
    change(&mut observed, &deployment("web-isthmus"), |web| {
        web["metadata"]["deletionTimestamp"] = "2025-12-31T23:00:00Z".into();
        web["metadata"]["finalizers"] = json!(["example.com/keep"]);
    });
    observed
}

fn releases(plan: &Plan) -> bool {
    let of =
        |step: &Step| matches!(&step.action, Action::Change(manifest, _) if manifest.key == install());
    plan.steps.iter().any(of)
}

#[test]
fn f21_an_end_that_takes_long_is_told_and_comes() {
    let mut observed = ending();
    let first = next(&observed);
    assert!(!releases(&first), "the operator may have been away since it was deleted");
    perform(&mut observed, &first);
    assert_eq!(
        condition(&observed, "Ready"),
        "False Uninstalling: still there: Deployment shop/web-isthmus, which is kept by its finalizers \
         example.com/keep"
    );
    observed.now = "2026-01-01T00:02:00Z".parse().unwrap();
    assert!(next(&observed).waits);
    assert!(!releases(&next(&observed)));
    observed.now = "2026-01-01T00:02:01Z".parse().unwrap();
    let late = next(&observed);
    assert!(!releases(&late) && late.waits, "what Gateways have was not deleted yet");
    // A delete that the API server did not do is tried again, if it refuses for two minutes more.
    let service = ObjectKey::new(object::SERVICE, "shop", "web-isthmus");
    assert!(next(&observed).steps.iter().any(|step| *step.action.key() == service));
    let mut refused = observed.clone();
    let failure = Failure { unit: None, code: 500, message: "no".to_owned() };
    let of_gateway = observed.ours().filter(|(key, _)| key.namespace == "shop");
    refused.failures = of_gateway.map(|(key, _)| (key.clone(), failure.clone())).collect();
    assert!(!releases(&next(&refused)));
    refused.now = "2026-01-01T00:04:01Z".parse().unwrap();
    assert!(releases(&next(&refused)));
    perform(&mut observed, &late);
    let last = next(&observed);
    assert!(releases(&last));
    let release = last.steps.last().unwrap();
    assert_eq!(release.unit, Some(install()), "nothing that fails keeps it");
}

#[test]
fn f21_an_end_that_cannot_be_told_comes_too() {
    let mut observed = ending();
    let failure = Failure { unit: None, code: 422, message: "no".to_owned() };
    observed.failures.insert(install(), failure);
    let late = next(&observed);
    perform(&mut observed, &late);
    assert!(releases(&next(&observed)));
}
