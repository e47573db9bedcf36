//! A mesh in a cluster that does what it is told: objects, what controllers say of them, and what people do.

#![allow(dead_code, reason = "not every test uses all of it")]

use isthmus_operator::{
    object::{self, ObjectKey},
    observed::Observed,
    plan::next,
};
use serde_json::{Value, json};

use crate::common::{observed, perform, put};

pub const THERE: &str = include_str!("../../testdata/gateways/there.yaml");

/// Plans until there is nothing to do.
pub fn settle(observed: &mut Observed) {
    for _ in 0..20 {
        let next = next(observed);
        if next.steps.is_empty() && !next.waits {
            return;
        }
        perform(observed, &next);
        end_what_is_released(observed);
    }
    panic!("no rest after 20 plans");
}

/// An object that is to go and that nobody holds is gone.
fn end_what_is_released(observed: &mut Observed) {
    observed.objects.retain(|_, object| {
        let meta = &object.metadata;
        meta.deletion_timestamp.is_none() || meta.finalizers.as_ref().is_some_and(|all| !all.is_empty())
    });
}

/// What the API server's controllers say of each Deployment: its pods run, or they do not.
pub fn pods(observed: &mut Observed, run: impl Fn(&str) -> bool) {
    let all: Vec<Value> = observed
        .of(object::DEPLOYMENT)
        .map(|(_, object)| serde_json::to_value(object).unwrap())
        .collect();
    for mut deployment in all {
        let ok =
            run(deployment.pointer("/spec/template/spec/containers/0/image").unwrap().as_str().unwrap());
        let replicas = deployment.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": if ok { replicas } else { replicas + 1 },
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
            "conditions": [{
                "type": "Progressing",
                "reason": if ok { "NewReplicaSetAvailable" } else { "ProgressDeadlineExceeded" },
            }],
        });
        put(observed, deployment);
    }
}

/// Somebody edits the MeshInstall.
pub fn edit(observed: &mut Observed, change: impl FnOnce(&mut Value)) {
    let install = observed.of(object::MESH_INSTALL).next().unwrap().1;
    let mut install = serde_json::to_value(install).unwrap();
    let generation = install["metadata"]["generation"].as_i64().unwrap();
    install["metadata"]["generation"] = (generation + 1).into();
    change(&mut install);
    put(observed, install);
}

pub fn condition(observed: &Observed, kind: &str) -> String {
    let install = observed.install().unwrap();
    let all = install.status.unwrap().conditions;
    let found = all.iter().find(|condition| condition.type_ == kind).unwrap();
    format!("{} {}: {}", found.status, found.reason, found.message)
}

pub fn healthy(observed: &Observed) -> String {
    observed.install().unwrap().status.unwrap().healthy.unwrap().version
}

/// The images of the control plane and of the Gateway's proxies.
pub fn images(observed: &Observed) -> [String; 2] {
    [("isthmus-system", "isthmus-control-plane"), ("shop", "web-isthmus")].map(|(namespace, name)| {
        let key = ObjectKey::new(object::DEPLOYMENT, namespace, name);
        let image =
            observed.object(&key).unwrap().data.pointer("/spec/template/spec/containers/0/image");
        image.unwrap().as_str().unwrap().to_owned()
    })
}

pub fn with_gateway_api(yaml: &str) -> Observed {
    let mut observed = observed(yaml);
    for plural in ["gatewayclasses", "gateways", "httproutes", "referencegrants"] {
        let annotations = json!({
            "gateway.networking.k8s.io/bundle-version": "v1.7.0",
            "gateway.networking.k8s.io/channel": "standard",
        });
        let name = format!("{plural}.gateway.networking.k8s.io");
        let meta = json!({ "name": name, "annotations": annotations });
        put(&mut observed, json!({ "kind": "CustomResourceDefinition", "metadata": meta }));
    }
    observed
}

/// Until the mesh runs.
pub fn run(observed: &mut Observed) {
    for _ in 0..3 {
        settle(observed);
        pods(observed, |_| true);
    }
    settle(observed);
}

/// A cluster with a mesh that runs.
pub fn running() -> Observed {
    let mut observed = with_gateway_api(THERE);
    run(&mut observed);
    observed
}

/// The image and the control plane of the Gateway's proxies.
pub fn run_by(observed: &Observed) -> [String; 2] {
    let key = ObjectKey::new(object::DEPLOYMENT, "shop", "web-isthmus");
    let deployment = &observed.object(&key).unwrap().data;
    ["image", "args/1"].map(|field| {
        let field = deployment.pointer(&format!("/spec/template/spec/containers/0/{field}"));
        field.unwrap().as_str().unwrap().to_owned()
    })
}

/// Changes a MeshRevision or a Gateway.
pub fn change(observed: &mut Observed, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::to_value(observed.object(key).unwrap()).unwrap();
    change(&mut value);
    put(observed, value);
}
