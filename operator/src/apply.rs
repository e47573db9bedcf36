//! A plan onto an API server. Nothing is decided here: each step is done as it is written, and what came
//! of it is told.
//!
//! Objects are written by server-side apply under one field manager: the fields of a step are the operator's.
//! An object is changed or deleted only while it is as the plan saw it (cases F5 and F7), and what is to be
//! made is never made of an object that somebody else made.

use std::{collections::BTreeMap, fmt};

use futures_util::{StreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{DynamicObject, Status},
};
use serde_json::{Value, json};

use crate::{
    FIELD_MANAGER,
    object::{self, Manifest, ObjectKey, digest_of},
    observed::is_ours,
    plan::{Action, Plan, Step},
};

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects as the API server has them now.
    pub written: Vec<(ObjectKey, DynamicObject)>,
    /// Objects that could not be written, and why.
    pub failures: BTreeMap<ObjectKey, Failure>,
    /// Whether something was not as the plan saw it, so that another plan is needed.
    pub stale: bool,
}

/// Why something could not be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Whose step it was: that of [`Step::unit`].
    pub unit: Option<ObjectKey>,
    /// The HTTP status of the API server's answer; 0 where there was none.
    pub code: u16,
    /// A sentence.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// How many Gateways are written at a time.
const AT_ONCE: usize = 8;

/// Does the steps of `plan`: those of the install one after the other, then those of Gateways, several
/// Gateways at once. A step that fails ends its unit and no other; those of the install itself depend on
/// nothing but its own object. `may_write` is asked before each write.
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
    let mut told = Vec::new();
    for step in status {
        told.push(unit(client, vec![step], may_write).await);
    }
    for more in gateways.into_iter().chain(told) {
        applied.written.extend(more.written);
        applied.failures.extend(more.failures);
        applied.stale |= more.stale;
    }
    applied
}

async fn unit(client: &Client, steps: Vec<&Step>, may_write: &(dyn Fn() -> bool + Sync)) -> Applied {
    let mut applied = Applied::default();
    for step in steps {
        if !may_write() {
            break;
        }
        let key = step.action.key();
        match act(client, &step.action).await {
            Ok(Done::Written(object)) => applied.written.push((key.clone(), *object)),
            Ok(Done::Over) => {}
            Ok(Done::Stale) => applied.stale = true,
            Err(refused) => {
                applied.failures.insert(key.clone(), refused.of(step));
                if step.unit.is_some() || key.kind == object::MESH_INSTALL {
                    break;
                }
            }
        }
    }
    applied
}

/// What came of a step that did not fail.
enum Done {
    /// The object is so now.
    Written(Box<DynamicObject>),
    /// Nothing is left to do, or to be done.
    Over,
    /// The object is not as the plan saw it.
    Stale,
}

/// What a step fails for.
enum Refused {
    /// There is an object of that name which others made.
    Foreign,
    /// The API server's answer, or that there was none.
    By(kube::Error),
}

impl Refused {
    fn of(self, step: &Step) -> Failure {
        let (code, message) = match self {
            Self::Foreign => (
                409,
                format!("{} exists and was not made by Isthmus: rename or delete it", step.action.key()),
            ),
            Self::By(error) => (code(&error), error.to_string()),
        };
        Failure { unit: step.unit.clone(), code, message }
    }
}

impl From<kube::Error> for Refused {
    fn from(error: kube::Error) -> Self {
        Self::By(error)
    }
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

async fn act(client: &Client, action: &Action) -> Result<Done, Refused> {
    let objects = api(client, action.key());
    match action {
        Action::Create(manifest) => create(&objects, manifest).await,
        Action::Change(manifest, _) => {
            let written = put(&objects, &manifest.value, params().force()).await;
            done(written, manifest)
        }
        Action::Status(manifest) => {
            let name = &manifest.key.name;
            let write = async |value: &Value| {
                objects.patch_status(name, &params().force(), &Patch::Apply(value)).await
            };
            let written = write(&manifest.value).await;
            let known = written.as_ref().err().and_then(|error| known_fields(&manifest.value, error));
            let written = match known {
                Some(known) => write(&known).await,
                None => written,
            };
            done(written, manifest)
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
                Ok(_) => Ok(Done::Over),
                Err(error) if code(&error) == 404 => Ok(Done::Over),
                // It is another one or another thing by now: the next plan sees.
                Err(error) if code(&error) == 409 => Ok(Done::Stale),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Makes an object, unless there is one. It is not asked for by force: what comes between the look and the
/// write has an author of its own. One of ours that was not seen, as it lost its label, gets that alone: what
/// else it is to be depends on what it is, such as its number of pods, and is for the next plan to say.
async fn create(objects: &Api<DynamicObject>, manifest: &Manifest) -> Result<Done, Refused> {
    let Some(found) = objects.get_opt(&manifest.key.name).await? else {
        return done(put(objects, &manifest.value, params()).await, manifest);
    };
    if manifest.key.kind == object::DEFINITION {
        return Ok(Done::Stale);
    }
    if !is_made_by_us(&found, manifest) {
        return Err(Refused::Foreign);
    }
    let (label, ours) = object::OURS;
    let mut value = json!({ "metadata": { "labels": { label: ours } } });
    fence(&mut value, found.uid().as_deref(), found.resource_version().as_deref());
    let labelled = objects.patch(&manifest.key.name, &params(), &Patch::Merge(&value)).await;
    done(labelled, manifest).map(|_| Done::Stale)
}

/// Whether an object was made for what `manifest` is of, whoever took its label away.
pub(crate) fn is_made_by_us(found: &DynamicObject, manifest: &Manifest) -> bool {
    let uid = manifest.value.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str);
    let same = found.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == uid);
    is_ours(found) || digest_of(found).is_some() || same
}

/// Makes a write be refused when its object is not the one with this uid, or is of another version.
pub(crate) fn fence(value: &mut Value, uid: Option<&str>, version: Option<&str>) {
    let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for (field, seen) in [("uid", uid), ("resourceVersion", version)] {
        if let Some(seen) = seen {
            meta.insert(field.to_owned(), seen.into());
        }
    }
}

async fn put(
    objects: &Api<DynamicObject>,
    value: &Value,
    params: PatchParams,
) -> kube::Result<DynamicObject> {
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    objects.patch(name, &params, &Patch::Apply(value)).await
}

/// What cannot be written because its place goes away is no failure (case F16), nor is an object that
/// was to be changed and that is gone or another one.
fn done(written: kube::Result<DynamicObject>, manifest: &Manifest) -> Result<Done, Refused> {
    match written {
        Ok(object) => Ok(Done::Written(Box::new(object))),
        Err(kube::Error::Api(status)) if status.code == 403 && ends_namespace(&status) => Ok(Done::Over),
        Err(error) if code(&error) == 404 && is_in_place(manifest) => Ok(Done::Over),
        Err(error) if code(&error) == 409 => Ok(Done::Stale),
        Err(error) => Err(error.into()),
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

/// Whether the object is somewhere, or was seen: then that it is not found says that this is gone.
fn is_in_place(manifest: &Manifest) -> bool {
    let uid = manifest.value.pointer("/metadata/uid");
    !manifest.key.namespace.is_empty() || uid.is_some_and(Value::is_string)
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

/// The object with this key, where there is one.
///
/// # Errors
/// When the API server refuses, or does not answer.
pub async fn found(client: &Client, key: &ObjectKey) -> kube::Result<Option<DynamicObject>> {
    api(client, key).get_opt(&key.name).await
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
    PatchParams::apply(FIELD_MANAGER)
}

fn api(client: &Client, key: &ObjectKey) -> Api<DynamicObject> {
    let resource = key.kind.resource();
    match key.namespace.as_str() {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    }
}
