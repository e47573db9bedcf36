//! From a MeshInstall and what was seen to the steps that make the one true of the other.
//!
//! Level-triggered: a plan is made from what is there, never from what happened. So a step that was lost,
//! or a crash between any two of them, is made good by the next plan (case F6). Where all is as wanted a
//! plan has no step.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_crds::{Drift, MeshInstall, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{
    beside::{self, Beside},
    component::{
        access, control_plane, definitions, gateway_class, network,
        proxy::{self, Edge},
        secrets,
    },
    difference::{Difference, differences},
    mesh::Mesh,
    object::{self, DIGEST, Kind, Manifest, ObjectKey},
    observed::{Observed, SeenGateway, owner},
    parameters::Parameters,
    revision::Choice,
    rollout::Rollout,
    status::{self, Findings, Transition},
    uninstall,
};

/// Keeps a MeshInstall until what it consists of is gone, in order.
pub const FINALIZER: &str = "isthmus.dev/uninstall";

/// What is to be done.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The steps, in order. Those of one unit depend on each other; those of different ones do not.
    pub steps: Vec<Step>,
    /// What people are to be told of once.
    pub transitions: Vec<Transition>,
    /// Whether time alone can change the plan, so that it has to be made again soon.
    pub waits: bool,
}

/// One thing to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The Gateway or the MeshRevision that it is done for; none for the install itself.
    pub unit: Option<ObjectKey>,
    /// What.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Makes an object that is missing.
    Create(Manifest),
    /// Puts these fields of an object right.
    Change(Manifest, Vec<Difference>),
    /// Writes the status of an object.
    Status(Manifest),
    /// Removes an object, if it is still as it was seen.
    Delete {
        /// Which.
        key: ObjectKey,
        /// The uid that was seen.
        uid: String,
        /// The resourceVersion that was seen.
        version: Option<String>,
        /// Whether what belongs to it goes first.
        foreground: bool,
    },
}

impl Action {
    /// The object that it is about.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Create(manifest) | Self::Change(manifest, _) | Self::Status(manifest) => &manifest.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// What it does, in one word.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Change(..) => "change",
            Self::Status(_) => "status",
            Self::Delete { .. } => "delete",
        }
    }

    /// The fields that it puts right.
    pub fn why(&self) -> String {
        let Self::Change(_, fields) = self else { return String::new() };
        fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// The steps for `install`, which is the one in force.
pub fn plan(install: &MeshInstall, observed: &Observed) -> Plan {
    if install.metadata.deletion_timestamp.is_some() {
        return uninstall::plan(install, observed);
    }
    let choice = Choice::of(install, &observed.place);
    let gateways = observed.gateways();
    let first = Wanted::of(install, observed, &choice, &gateways);
    let choice = first.judge(install, choice);
    let wanted = Wanted::of(install, observed, &choice, &gateways);
    let mut drifted = Vec::new();
    let mut steps: Vec<Step> =
        finalizer(install).into_iter().map(|action| Step { unit: None, action }).collect();
    let reports = install.spec.drift == Drift::Report;
    // What is of a kind that may not be read cannot be compared.
    for (unit, manifest) in wanted.all().filter(|(_, manifest)| observed.knows(manifest.key.kind)) {
        match action(manifest, observed) {
            Some(Action::Change(manifest, fields)) if reports && was_applied(&manifest, observed) => {
                drifted.extend(fields.iter().map(|field| format!("{}: {field}", manifest.key)));
            }
            Some(action) => steps.push(Step { unit: unit.cloned(), action }),
            None => {}
        }
    }
    steps.extend(prune(install, observed, &wanted));
    let inventory = wanted.install.iter().map(|manifest| status::entry(&manifest.key)).collect();
    let Wanted { control_plane, proxies, beside, .. } = wanted;
    let findings = Findings { choice, control_plane, proxies, drifted };
    let (status, transitions) = status::of(install, observed, findings, inventory);
    steps.extend(status.map(|manifest| Step { unit: None, action: Action::Status(manifest) }));
    steps.extend(beside.values().flat_map(|beside| beside.steps(observed)));
    Plan { steps, transitions, waits: false }
}

/// The steps where there is no MeshInstall: what a MeshInstall can be written with.
pub fn without_install(observed: &Observed) -> Plan {
    let actions = definitions::wanted(observed).filter_map(|manifest| action(manifest, observed));
    Plan { steps: actions.map(|action| Step { unit: None, action }).collect(), ..Plan::default() }
}

/// All objects that are wanted, and how far those are that run pods.
struct Wanted {
    install: Vec<Manifest>,
    gateways: Vec<(ObjectKey, Vec<Manifest>)>,
    /// Revisions beside the install's own.
    beside: BTreeMap<String, Beside>,
    /// Deployments that stay as they are.
    kept: BTreeSet<ObjectKey>,
    control_plane: Rollout,
    proxies: BTreeMap<ObjectKey, Rollout>,
    /// Gateways whose proxies say nothing of the revision.
    own: BTreeSet<ObjectKey>,
}

impl Wanted {
    fn of(
        install: &MeshInstall,
        observed: &Observed,
        choice: &Choice,
        gateways: &[SeenGateway<'_>],
    ) -> Self {
        let mesh = Mesh::new(install, &observed.place, choice.target.clone());
        let deployment = control_plane::deployment(&mesh);
        let control_plane = Rollout::of(&deployment, observed);
        let revision = choice.for_proxies(control_plane == Rollout::Complete);
        let mut beside = beside::all(install, observed, gateways);
        let (mut all, mut proxies) = (Vec::new(), BTreeMap::new());
        let (mut kept, mut own) = (BTreeSet::new(), BTreeSet::new());
        for seen in gateways.iter().filter(|seen| observed.is_usable(&seen.key.namespace)) {
            let Some(gateway) = &seen.fact else { continue };
            let asked = observed.asks_for(seen.object);
            if asked.is_some() && !observed.knows(object::MESH_REVISION) {
                continue;
            }
            let Some(parameters) = Parameters::of(seen, observed) else { continue };
            let service = service_of(seen.key, observed);
            let Some(beside) = asked.and_then(|name| beside.get_mut(name)) else {
                let revision = &parameters.revision(revision);
                if parameters.prove_nothing() {
                    own.insert(seen.key.clone());
                }
                let parameters = &parameters;
                let object = seen.object;
                let edge = Edge { mesh: &mesh, revision, gateway, object, parameters, service };
                proxies.insert(seen.key.clone(), Rollout::of(&proxy::deployment(edge), observed));
                all.push((seen.key.clone(), proxy::objects(edge)));
                continue;
            };
            let revision = &parameters.revision(&beside.mesh.revision);
            let (parameters, object) = (&parameters, seen.object);
            let edge = Edge { mesh: &beside.mesh, revision, gateway, object, parameters, service };
            let deployment = proxy::deployment(edge);
            let mut objects = proxy::objects(edge);
            if beside.control_plane != Rollout::Complete && observed.object(&deployment.key).is_some() {
                // It goes on as it is until there is who tells it more.
                objects.retain(|manifest| manifest.key != deployment.key);
                kept.insert(deployment.key.clone());
            }
            all.push((seen.key.clone(), objects));
            beside.proxies.insert(seen.key.clone(), Rollout::of(&deployment, observed));
        }
        let revisions = beside.keys().map(String::as_str);
        let install = of_install(&mesh, observed, gateways, deployment, revisions);
        Self { install, gateways: all, beside, kept, control_plane, proxies, own }
    }

    /// What the state of the pods says of the revision that they are to run with.
    fn judge(&self, install: &MeshInstall, choice: Choice) -> Choice {
        if !choice.is_unproven() {
            return choice;
        }
        let proxies = || self.proxies.iter().filter(|(key, _)| !self.own.contains(key));
        let proxies = || proxies().map(|(_, rollout)| rollout);
        let failed = std::iter::once(&self.control_plane).chain(proxies());
        let failed = failed.filter_map(|rollout| match rollout {
            Rollout::Failed(message) => Some(message.clone()),
            Rollout::Complete | Rollout::Progressing(_) => None,
        });
        let complete = |rollout: &Rollout| *rollout == Rollout::Complete;
        match failed.min() {
            Some(message) => choice.after_failure(message, install.spec.upgrade.rollback),
            None if complete(&self.control_plane) && proxies().all(complete) => {
                Choice { healthy: Some(choice.target.clone()), ..choice }
            }
            None => choice,
        }
    }

    fn all(&self) -> impl Iterator<Item = (Option<&ObjectKey>, &Manifest)> {
        let install = self.install.iter().map(|manifest| (None, manifest));
        let gateways = self.gateways.iter();
        let beside = self.beside.values().flat_map(|beside| &beside.manifests);
        install
            .chain(beside.map(|manifest| (None, manifest)))
            .chain(gateways.flat_map(|(key, all)| all.iter().map(move |manifest| (Some(key), manifest))))
    }
}

/// The Service of a Gateway.
fn service_of<'a>(gateway: &ObjectKey, observed: &'a Observed) -> Option<&'a DynamicObject> {
    let name = names::of_gateway(&gateway.name);
    observed.object(&ObjectKey::new(object::SERVICE, &gateway.namespace, &name))
}

/// The objects of the install itself, in the order in which they are made.
fn of_install<'a>(
    mesh: &Mesh,
    observed: &Observed,
    gateways: &[SeenGateway<'_>],
    deployment: Manifest,
    revisions: impl Iterator<Item = &'a str>,
) -> Vec<Manifest> {
    let mut all: Vec<Manifest> = definitions::wanted(observed).cloned().collect();
    all.push(control_plane::service_account(mesh));
    all.extend(access::roles(mesh, revisions));
    all.extend([network::of_control_plane(mesh), control_plane::service(mesh), deployment]);
    all.extend(control_plane::disruption_budget(mesh));
    if !observed.absent.contains(object::GATEWAY_CLASS) {
        all.push(gateway_class::gateway_class(mesh));
    }
    if knows_references(observed) {
        let mut readable = secrets::readable(gateways, &observed.grants());
        readable.retain(|namespace, _| observed.is_usable(namespace));
        all.extend(secrets::roles(mesh, &readable));
    }
    all
}

/// Whether it is known what Gateways refer to. Where it is not, what may be read stays as it is.
fn knows_references(observed: &Observed) -> bool {
    [object::GATEWAY, object::GATEWAY_CLASS, object::REFERENCE_GRANT]
        .iter()
        .all(|kind| observed.knows(kind))
}

/// What makes an object as it is to be; nothing when it is.
fn action(manifest: &Manifest, observed: &Observed) -> Option<Action> {
    let Some(found) = observed.object(&manifest.key) else {
        return Some(Action::Create(manifest.clone()));
    };
    if manifest.key.kind == object::DEFINITION {
        // Their metadata is all that is watched, and their digest stands for the rest.
        return (digest_of(found) != digest(manifest))
            .then(|| Action::Change(manifest.clone(), Vec::new()));
    }
    let found = serde_json::to_value(found).unwrap_or_default();
    let fields = differences(&manifest.value, &found);
    (!fields.is_empty()).then(|| Action::Change(manifest.clone(), fields))
}

/// Whether the object was once exactly as it is to be: then somebody else changed it.
fn was_applied(manifest: &Manifest, observed: &Observed) -> bool {
    observed.object(&manifest.key).is_some_and(|found| digest_of(found) == digest(manifest))
}

fn digest(manifest: &Manifest) -> Option<&str> {
    manifest.value.get("metadata")?.get("annotations")?.get(DIGEST)?.as_str()
}

fn digest_of(found: &DynamicObject) -> Option<&str> {
    found.metadata.annotations.as_ref()?.get(DIGEST).map(String::as_str)
}

fn finalizer(install: &MeshInstall) -> Option<Action> {
    let there = install.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
    (!there).then(|| {
        let manifest = with_finalizers(object::MESH_INSTALL, &install.metadata, &[FINALIZER]);
        Action::Change(manifest, Vec::new())
    })
}

/// An object of a kind of ours with these finalizers of ours; its uid keeps it from being made anew.
pub(crate) fn with_finalizers(kind: &'static Kind, meta: &ObjectMeta, finalizers: &[&str]) -> Manifest {
    let meta = json!({ "name": meta.name, "uid": meta.uid, "finalizers": finalizers });
    Manifest::bare(kind, &json!({ "metadata": meta }))
}

/// Removes what was made and is no longer wanted.
fn prune(install: &MeshInstall, observed: &Observed, wanted: &Wanted) -> Vec<Step> {
    let keys = wanted.all().map(|(_, manifest)| &manifest.key);
    let keys: BTreeSet<&ObjectKey> = keys.chain(&wanted.kept).collect();
    let mut owners = beside::uids(&wanted.beside);
    owners.extend(install.metadata.uid.as_deref());
    let planned: BTreeSet<&ObjectKey> = wanted.gateways.iter().map(|(key, _)| key).collect();
    let mut steps = Vec::new();
    for (key, found) in observed.ours().filter(|(key, _)| !keys.contains(key)) {
        let Some(owner) = owner(found) else { continue };
        let gateway = ObjectKey::new(object::GATEWAY, &key.namespace, &owner.name);
        let unit = (owner.kind == object::GATEWAY.kind).then_some(gateway);
        let prune = match &unit {
            None => owners.contains(owner.uid.as_str()) && knows_references(observed),
            Some(gateway) => {
                is_of(gateway, &owner.uid, observed)
                    && (planned.contains(gateway) || is_of_others(gateway, observed))
            }
        };
        if prune {
            steps.extend(delete(key, found, false).map(|action| Step { unit, action }));
        }
    }
    steps
}

/// Whether the Gateway with this key is the one with this uid: that of one which is gone is collected
/// with what it owns.
fn is_of(gateway: &ObjectKey, uid: &str, observed: &Observed) -> bool {
    observed.object(gateway).is_some_and(|found| found.metadata.uid.as_deref() == Some(uid))
}

/// Whether the Gateway has a class that is there and that another controller serves. A class that is
/// missing takes nothing from a Gateway that runs.
fn is_of_others(gateway: &ObjectKey, observed: &Observed) -> bool {
    let class = observed.object(gateway).and_then(|found| found.data.pointer("/spec/gatewayClassName"));
    let class = class.and_then(Value::as_str).unwrap_or_default();
    let there = observed.object(&ObjectKey::new(object::GATEWAY_CLASS, "", class)).is_some();
    there && !observed.classes().contains(class)
}

/// Removes an object that is not going away already.
pub(crate) fn delete(key: &ObjectKey, found: &DynamicObject, foreground: bool) -> Option<Action> {
    let uid = found.metadata.uid.clone()?;
    let live = found.metadata.deletion_timestamp.is_none();
    let version = found.metadata.resource_version.clone();
    live.then(|| Action::Delete { key: key.clone(), uid, version, foreground })
}
