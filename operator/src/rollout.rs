//! How far the API server is with a Deployment.

use kube::core::DynamicObject;
use serde_json::Value;

use crate::{difference::differences, object::Manifest, observed::Observed};

/// How far a Deployment is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rollout {
    /// Every pod is of the wanted kind and available.
    Complete,
    /// Not yet, with a sentence that says what is missing.
    Progressing(String),
    /// No progress for too long, with a sentence that says what is missing.
    Failed(String),
}

impl Rollout {
    /// How far the Deployment that `wanted` describes is.
    pub fn of(wanted: &Manifest, observed: &Observed) -> Self {
        let Some(found) = observed.object(&wanted.key) else {
            return Self::Progressing(format!("{} is not there yet", wanted.key));
        };
        if !differences(&wanted.value, &as_value(found)).is_empty() {
            return Self::Progressing(format!("{} is not as wanted yet", wanted.key));
        }
        let missing = missing(found);
        let text = |pods: &str| {
            let image =
                found.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
            let (image, namespace) = (image.unwrap_or("?"), &wanted.key.namespace);
            format!(
                "{}: {pods} with image {image}; `kubectl -n {namespace} get pods` shows why",
                wanted.key
            )
        };
        match missing {
            None => Self::Complete,
            Some(pods) if is_late(found) => Self::Failed(text(&pods)),
            Some(pods) => Self::Progressing(text(&pods)),
        }
    }
}

fn as_value(object: &DynamicObject) -> Value {
    // What was read as JSON can be written as JSON.
    serde_json::to_value(object).unwrap_or_default()
}

/// What a Deployment lacks.
pub(crate) fn missing(deployment: &DynamicObject) -> Option<String> {
    let number = |path: &str| deployment.data.pointer(path).and_then(Value::as_i64);
    let seen = number("/status/observedGeneration").unwrap_or_default();
    if seen < deployment.metadata.generation.unwrap_or_default() {
        return Some("no pod is of this generation yet".to_owned());
    }
    let replicas = number("/spec/replicas").unwrap_or(1);
    let count = |name: &str| number(&format!("/status/{name}")).unwrap_or_default();
    let (updated, available, all) =
        (count("updatedReplicas"), count("availableReplicas"), count("replicas"));
    // Available ones may be of the revision before; all of them are new when there are no others.
    let new = available.min(updated).saturating_sub(all.saturating_sub(updated));
    (updated < replicas || available < replicas || all > updated)
        .then(|| format!("{} of {replicas} pods are available", new.max(0)))
}

fn is_late(deployment: &DynamicObject) -> bool {
    let conditions = deployment.data.pointer("/status/conditions").and_then(Value::as_array);
    let late = |condition: &Value| {
        condition.get("type").and_then(Value::as_str) == Some("Progressing")
            && condition.get("reason").and_then(Value::as_str) == Some("ProgressDeadlineExceeded")
    };
    conditions.into_iter().flatten().any(late)
}
