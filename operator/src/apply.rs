//! A plan onto an API server. Nothing is decided here: each step is done as it is written, and what came
//! of it is told.
//!
//! Objects are written by server-side apply under one field manager, with force: the fields of a step are
//! the operator's. An object is deleted only while it is as the plan saw it (case F7).

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{DynamicObject, Status},
};
use serde_json::Value;

use crate::{
    FIELD_MANAGER,
    object::{Manifest, ObjectKey},
    plan::{Action, Plan, Step},
};

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects as the API server has them now.
    pub written: Vec<(ObjectKey, DynamicObject)>,
    /// Objects that could not be written, and why.
    pub failures: BTreeMap<ObjectKey, String>,
}

/// How many Gateways are written at a time.
const AT_ONCE: usize = 8;

/// Does the steps of `plan`: those of the install one after the other, then those of Gateways, several
/// Gateways at once. A step that fails ends its unit and no other. `may_write` is asked before each write.
pub async fn apply(client: &Client, plan: &Plan, may_write: &(dyn Fn() -> bool + Sync)) -> Applied {
    let mut units: BTreeMap<Option<&ObjectKey>, Vec<&Step>> = BTreeMap::new();
    let (status, steps): (Vec<_>, Vec<_>) =
        plan.steps.iter().partition(|step| matches!(step.action, Action::Status(_)));
    for step in steps {
        units.entry(step.unit.as_ref()).or_default().push(step);
    }
    let own = units.remove(&None).unwrap_or_default();
    let mut applied = unit(client, own, may_write).await;
    let gateways = stream::iter(units.into_values()).map(|steps| unit(client, steps, may_write));
    let gateways: Vec<Applied> = gateways.buffer_unordered(AT_ONCE).collect().await;
    let told = unit(client, status, may_write).await;
    for more in gateways.into_iter().chain([told]) {
        applied.written.extend(more.written);
        applied.failures.extend(more.failures);
    }
    applied
}

async fn unit(client: &Client, steps: Vec<&Step>, may_write: &(dyn Fn() -> bool + Sync)) -> Applied {
    let mut applied = Applied::default();
    for step in steps {
        if !may_write() {
            break;
        }
        match act(client, &step.action).await {
            Ok(Some(object)) => applied.written.push((step.action.key().clone(), object)),
            Ok(None) => {}
            Err(error) => {
                applied.failures.insert(step.action.key().clone(), error.to_string());
                break;
            }
        }
    }
    applied
}

async fn act(client: &Client, action: &Action) -> kube::Result<Option<DynamicObject>> {
    let key = action.key();
    let objects = api(client, key);
    match action {
        Action::Create(manifest) | Action::Change(manifest, _) => {
            let written = objects.patch(&key.name, &params(), &Patch::Apply(&manifest.value)).await;
            skip_lost_causes(written, manifest)
        }
        Action::Status(manifest) => {
            let written =
                objects.patch_status(&key.name, &params(), &Patch::Apply(&manifest.value)).await;
            let known = written.as_ref().err().and_then(|error| known_fields(&manifest.value, error));
            let written = match known {
                Some(known) => objects.patch_status(&key.name, &params(), &Patch::Apply(&known)).await,
                None => written,
            };
            skip_lost_causes(written, manifest)
        }
        Action::Delete { key, uid, version, foreground } => {
            let policy =
                if *foreground { PropagationPolicy::Foreground } else { PropagationPolicy::Background };
            let params = DeleteParams {
                propagation_policy: Some(policy),
                preconditions: Some(Preconditions {
                    uid: Some(uid.clone()),
                    resource_version: version.clone(),
                }),
                ..DeleteParams::default()
            };
            match objects.delete(&key.name, &params).await {
                // It is gone, or it is another one or another thing by now: the next plan sees.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
                other => other.map(|_| None),
            }
        }
    }
}

/// What cannot be written because its place goes away is no failure (case F16), nor is an object that
/// was to be changed and that is gone or another one.
fn skip_lost_causes(
    written: kube::Result<DynamicObject>,
    manifest: &Manifest,
) -> kube::Result<Option<DynamicObject>> {
    match written {
        Ok(object) => Ok(Some(object)),
        Err(kube::Error::Api(status)) if status.code == 403 && ends_namespace(&status) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 && !manifest.key.namespace.is_empty() => {
            Ok(None)
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) && has_uid(manifest) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A status without the fields that the API server's definition of the kind does not have, as it is older
/// than ours (case F11): the rest is worth knowing. None when that is not what is wrong.
fn known_fields(object: &Value, error: &kube::Error) -> Option<Value> {
    let kube::Error::Api(status) = error else { return None };
    if !status.message.contains("field not declared in schema") {
        return None;
    }
    let mut object = object.clone();
    let fields = object.get_mut("status")?.as_object_mut()?;
    let paths = status.message.split_whitespace().filter_map(|word| word.strip_prefix(".status."));
    let names = paths.map(|path| path.split(['.', '[', ':']).next().unwrap_or_default());
    let removed = names.filter(|name| fields.remove(*name).is_some()).count();
    (removed > 0).then_some(object)
}

fn ends_namespace(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn has_uid(manifest: &Manifest) -> bool {
    manifest.value.pointer("/metadata/uid").is_some_and(Value::is_string)
}

/// Writes an object that people wrote, in the name of the program that they use.
///
/// # Errors
/// When the API server refuses it, or does not answer.
pub async fn write(client: &Client, manifest: &Manifest) -> kube::Result<DynamicObject> {
    write_as(client, "isthmus", manifest).await
}

/// The same, as another author: of an object that is there he has these fields and no others.
///
/// # Errors
/// When the API server refuses it, or does not answer.
pub async fn write_as(
    client: &Client,
    author: &str,
    manifest: &Manifest,
) -> kube::Result<DynamicObject> {
    let params = PatchParams::apply(author).force();
    api(client, &manifest.key).patch(&manifest.key.name, &params, &Patch::Apply(&manifest.value)).await
}

/// Has an object deleted; one that is gone is fine.
///
/// # Errors
/// When the API server refuses, or does not answer.
pub async fn delete(client: &Client, key: &ObjectKey) -> kube::Result<()> {
    match api(client, key).delete(&key.name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

fn params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn api(client: &Client, key: &ObjectKey) -> Api<DynamicObject> {
    let resource = key.kind.resource();
    match key.namespace.as_str() {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}
