//! How far the API server is with a Deployment.

use isthmus_crds::Drift;
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::{difference::differences, object::Manifest, observed::Observed};

/// How far a Deployment is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rollout {
    /// Every pod is of the wanted kind and available.
    Complete,
    /// Not yet.
    Progressing {
        /// A sentence that says what is missing.
        message: String,
        /// Whether it counts as failed when nothing but time goes by.
        timed: bool,
    },
    /// No progress for too long, with a sentence that says what is missing.
    Failed(String),
}

impl Rollout {
    /// How far the Deployment that `wanted` describes is, in a mesh where others' changes meet with `drift`.
    pub fn of(wanted: &Manifest, observed: &Observed, drift: Drift) -> Self {
        let progressing = |message| Self::Progressing { message, timed: false };
        let Some(found) = observed.object(&wanted.key) else {
            return progressing(format!("{} is not there yet", wanted.key));
        };
        let fields = differences(&wanted.value, &as_value(found));
        if !fields.is_empty() && !observed.leaves(wanted, &fields, drift) {
            return progressing(format!("{} is not as wanted yet", wanted.key));
        }
        let Some(pods) = missing(found) else { return Self::Complete };
        let image = found.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
        let (image, namespace) = (image.unwrap_or("?"), &wanted.key.namespace);
        let message = format!(
            "{}: {pods} with image {image}; `kubectl -n {namespace} get pods` shows why",
            wanted.key
        );
        match deadline(found) {
            Deadline::Over => Self::Failed(message),
            Deadline::At(at) if at <= observed.now => Self::Failed(message),
            Deadline::At(_) => Self::Progressing { message, timed: true },
            Deadline::None => progressing(message),
        }
    }

    /// What is missing.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::Complete => None,
            Self::Progressing { message, .. } | Self::Failed(message) => Some(message),
        }
    }

    /// Whether it is not to be expected that it still comes.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// Whether nothing but time makes it another one.
    pub fn is_timed(&self) -> bool {
        matches!(self, Self::Progressing { timed: true, .. })
    }
}

fn as_value(object: &DynamicObject) -> Value {
    // What was read as JSON can be written as JSON.
    serde_json::to_value(object).unwrap_or_default()
}

fn number(deployment: &DynamicObject, path: &str) -> Option<i64> {
    deployment.data.pointer(path).and_then(Value::as_i64)
}

/// Whether what is said of the Deployment is said of it as it is now.
fn is_current(deployment: &DynamicObject) -> bool {
    let seen = number(deployment, "/status/observedGeneration").unwrap_or_default();
    seen >= deployment.metadata.generation.unwrap_or_default()
}

/// What a Deployment lacks.
pub(crate) fn missing(deployment: &DynamicObject) -> Option<String> {
    if !is_current(deployment) {
        return Some("no pod is of this generation yet".to_owned());
    }
    let replicas = number(deployment, "/spec/replicas").unwrap_or(1);
    let count = |name: &str| number(deployment, &format!("/status/{name}")).unwrap_or_default();
    let (updated, available, all) =
        (count("updatedReplicas"), count("availableReplicas"), count("replicas"));
    // Available ones may be of the revision before; all of them are new when there are no others.
    let new = available.min(updated).saturating_sub(all.saturating_sub(updated));
    (updated < replicas || available < replicas || all > updated)
        .then(|| format!("{} of {replicas} pods are available", new.max(0)))
}

/// Within so many seconds the controllers say of a new Deployment that its pods are missing; later that says
/// that there were some.
const START: i64 = 60;

/// Whether pods of the Deployment were ever available. One that never had any says nothing of what it runs
/// with: it may be kept from starting by whatever its namespace has.
pub(crate) fn ran(deployment: &DynamicObject) -> bool {
    let now = number(deployment, "/status/availableReplicas").is_some_and(|available| available > 0);
    let created = deployment.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let later = |(created, lost): (Timestamp, Timestamp)| lost.as_second() - created.as_second() > START;
    now || created.zip(lost(deployment)).is_some_and(later)
}

/// When a Deployment that lacks pods has failed.
enum Deadline {
    /// It has.
    Over,
    /// Then.
    At(Timestamp),
    /// The API server's controllers tell of it.
    None,
}

/// The controllers keep to the deadline of a Deployment until its template is rolled out. When pods are
/// missing after that, as nothing but their number is another, it is kept here.
fn deadline(deployment: &DynamicObject) -> Deadline {
    if !is_current(deployment) {
        return Deadline::None;
    }
    let progress = condition(deployment, "Progressing");
    match progress.and_then(|progress| text(progress, "reason")) {
        Some("ProgressDeadlineExceeded") => return Deadline::Over,
        Some("NewReplicaSetAvailable") => {}
        _ => return Deadline::None,
    }
    let seconds = number(deployment, "/spec/progressDeadlineSeconds");
    let (Some(lost), Some(seconds)) = (lost(deployment), seconds) else { return Deadline::None };
    let done = progress.and_then(|progress| time(progress, "lastUpdateTime"));
    let since = done.map_or(lost, |done| done.max(lost));
    let at = Timestamp::from_second(since.as_second().saturating_add(seconds));
    Deadline::At(at.unwrap_or(Timestamp::MAX))
}

/// Since when pods are missing.
fn lost(deployment: &DynamicObject) -> Option<Timestamp> {
    let available = condition(deployment, "Available")?;
    (text(available, "status") == Some("False")).then(|| time(available, "lastTransitionTime"))?
}

/// The condition of this type.
fn condition<'a>(deployment: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = deployment.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| text(condition, "type") == Some(kind))
}

fn text<'a>(condition: &'a Value, field: &str) -> Option<&'a str> {
    condition.get(field).and_then(Value::as_str)
}

fn time(condition: &Value, field: &str) -> Option<Timestamp> {
    text(condition, field)?.parse().ok()
}
