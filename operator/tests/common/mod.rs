//! Objects from YAML, and plans as text.

use std::{fmt::Write as _, sync::Arc};

use isthmus_operator::{
    FIELD_MANAGER,
    object::{self, Kind, ObjectKey},
    observed::{Observed, Place},
    plan::{Action, Plan},
};
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

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
pub fn put(observed: &mut Observed, mut value: Value) {
    let name = value["kind"].as_str().unwrap();
    let kind = KINDS.iter().find(|kind| kind.kind == name).unwrap();
    value["apiVersion"] = kind.api_version().into();
    let mut object: DynamicObject = serde_json::from_value(value).unwrap();
    let key = ObjectKey::of(kind, &object);
    let uid = format!("uid-of-{}-{}", kind.plural, key.name);
    object.metadata.uid.get_or_insert(uid);
    object.metadata.generation.get_or_insert(1);
    observed.objects.insert(key, Arc::new(object));
}

/// Does a plan to what is there, as an API server would: a status is kept apart from the rest, a field that
/// is written no longer is gone, unless it is another one's by now, and what is deleted is gone at once.
#[allow(dead_code, reason = "not every test uses it")]
pub fn perform(observed: &mut Observed, plan: &Plan) {
    for step in &plan.steps {
        match &step.action {
            Action::Create(manifest) => put(observed, written(Value::Null, &manifest.value)),
            Action::Status(manifest) => {
                let found = observed.object(&manifest.key).unwrap();
                let mut value = serde_json::to_value(found).unwrap();
                value["status"] = manifest.value["status"].clone();
                put(observed, value);
            }
            Action::Change(manifest, _) => {
                let found = observed.object(&manifest.key).unwrap();
                let value = serde_json::to_value(found).unwrap();
                let spec = value.get("spec").cloned();
                let mut value = written(value, &manifest.value);
                if value.get("spec") != spec.as_ref() {
                    value["metadata"]["generation"] = (found.metadata.generation.unwrap() + 1).into();
                }
                put(observed, value);
            }
            Action::Delete { key, .. } => drop(observed.objects.remove(key)),
        }
    }
}

/// What becomes of `found` by a server-side apply: the fields that were applied the last time and are not now
/// are removed, and what is then missing gets its default.
fn written(mut found: Value, applied: &Value) -> Value {
    let mut applied = applied.clone();
    let fields = applied["metadata"].as_object_mut().unwrap();
    fields.remove("uid");
    fields.remove("resourceVersion");
    let last = found.pointer("/metadata/managedFields/0/fieldsV1").cloned();
    if let Some(last) = last {
        remove(&mut found, &last, &applied);
    }
    merge(&mut found, &applied);
    if found["kind"] == "Deployment" && found["spec"]["replicas"].is_null() {
        found["spec"]["replicas"] = 1.into();
    }
    found["metadata"]["managedFields"] = json!([{ "manager": FIELD_MANAGER, "fieldsV1": applied }]);
    found
}

/// Removes from `found` what is still as it was in `last`, and is not in `now`.
fn remove(found: &mut Value, last: &Value, now: &Value) {
    let (Some(found), Some(last)) = (found.as_object_mut(), last.as_object()) else { return };
    for (field, last) in last {
        let Some(value) = found.get_mut(field) else { continue };
        match now.get(field) {
            Some(now) => remove(value, last, now),
            None if value == last => drop(found.remove(field)),
            None => remove(value, last, &Value::Null),
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
