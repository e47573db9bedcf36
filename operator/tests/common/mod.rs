//! Objects from YAML, and plans as text.

use std::{fmt::Write as _, sync::Arc};

use isthmus_operator::{
    object::{self, Kind, ObjectKey},
    observed::{Observed, Place},
    plan::{Action, Plan},
};
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

const KINDS: &[&Kind] = &[
    object::MESH_INSTALL,
    object::MESH_REVISION,
    object::GATEWAY_PARAMETERS,
    object::DEFINITION,
    object::GATEWAY_CLASS,
    object::GATEWAY,
    object::REFERENCE_GRANT,
    object::NAMESPACE,
    object::SERVICE_ACCOUNT,
    object::SERVICE,
    object::DEPLOYMENT,
    object::DISRUPTION_BUDGET,
    object::AUTOSCALER,
    object::NETWORK_POLICY,
    object::CLUSTER_ROLE,
    object::CLUSTER_ROLE_BINDING,
    object::ROLE,
    object::ROLE_BINDING,
];

/// A cluster in which nothing is but these objects.
pub fn observed(yaml: &str) -> Observed {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let place = Place { version: "0.1.0".to_owned(), tag: "0.1.0".to_owned(), ..Place::default() };
    let mut observed = Observed::nothing(place, now);
    for text in yaml.split("\n---\n") {
        let value: Value = serde_saphyr::from_str(text).unwrap();
        put(&mut observed, value);
    }
    observed
}

/// Puts an object in its place; one without a uid gets its kind and name as one.
pub fn put(observed: &mut Observed, value: Value) {
    let name = value["kind"].as_str().unwrap();
    let kind = KINDS.iter().find(|kind| kind.kind == name).unwrap();
    let mut object: DynamicObject = serde_json::from_value(value).unwrap();
    let key = ObjectKey::of(kind, &object);
    let uid = format!("uid-of-{}-{}", kind.plural, key.name);
    object.metadata.uid.get_or_insert(uid);
    object.metadata.generation.get_or_insert(1);
    observed.objects.insert(key, Arc::new(object));
}

/// Does a plan to what is there, as an API server would: a status is kept apart from the rest, and what
/// is deleted is gone at once.
#[allow(dead_code, reason = "not every test uses it")]
pub fn perform(observed: &mut Observed, plan: &Plan) {
    for step in &plan.steps {
        match &step.action {
            Action::Create(manifest) => put(observed, manifest.value.clone()),
            Action::Status(manifest) => {
                let found = observed.object(&manifest.key).unwrap();
                let mut value = serde_json::to_value(found).unwrap();
                value["status"] = manifest.value["status"].clone();
                put(observed, value);
            }
            Action::Change(manifest, _) => {
                let found = observed.object(&manifest.key).unwrap();
                let mut value = serde_json::to_value(found).unwrap();
                let spec = value.get("spec").cloned();
                merge(&mut value, &manifest.value);
                if value.get("spec") != spec.as_ref() {
                    value["metadata"]["generation"] = (found.metadata.generation.unwrap() + 1).into();
                }
                put(observed, value);
            }
            Action::Delete { key, .. } => drop(observed.objects.remove(key)),
        }
    }
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// The steps of a plan, each with what it writes where that is shown.
#[allow(dead_code, reason = "not every test uses it")]
pub fn print(plan: &Plan, shows: impl Fn(&ObjectKey) -> bool) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let of = step.unit.as_ref().map(|unit| format!(" (of {unit})")).unwrap_or_default();
        writeln!(text, "# {} {}{of}", step.action.verb(), step.action.key()).unwrap();
        if !step.action.why().is_empty() {
            writeln!(text, "# {}", step.action.why().replace("; ", "\n# ")).unwrap();
            continue;
        }
        let (Action::Create(manifest) | Action::Change(manifest, _) | Action::Status(manifest)) =
            &step.action
        else {
            continue;
        };
        if shows(&manifest.key) {
            let mut value = manifest.value.clone();
            blank_digest(&mut value);
            text += &serde_saphyr::to_string(&value).unwrap();
        }
    }
    for transition in &plan.transitions {
        writeln!(text, "# event {}: {}", transition.reason, transition.message).unwrap();
    }
    if plan.waits {
        text += "# waits\n";
    }
    text
}

/// A digest of what is printed anyway would make each change of it two.
fn blank_digest(value: &mut Value) {
    if let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(object::DIGEST);
    }
}
