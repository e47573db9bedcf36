//! From a MeshInstall and what was seen to the steps that make the one true of the other.
//!
//! Level-triggered: a plan is made from what is there, never from what happened. So a step that was lost,
//! or a crash between any two of them, is made good by the next plan (case F6). Where all is as wanted a
//! plan has no step.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_crds::{Drift, MeshInstall, Revision, names};
use isthmus_gateway::CLASS;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{
    apply::{fence, is_made_by_us},
    beside::{self, Beside, RunBy},
    component::{
        access, control_plane, definitions, gateway_class, network,
        proxy::{self, Edge},
        secrets,
    },
    difference::{Difference, differences},
    mesh::Mesh,
    object::{self, Kind, Manifest, ObjectKey, digest_of},
    observed::{InForce, Observed, SeenGateway, owner},
    parameters::Parameters,
    revision::Choice,
    rollout::{self, Rollout},
    status::{self, Findings, Proxies, Transition},
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

/// What is to be done now, whatever MeshInstalls there are. Of one in force that cannot be read nobody knows
/// what it asks for: it is told so, and everything stays as it is.
pub fn next(observed: &Observed) -> Plan {
    let mut next = match observed.in_force() {
        InForce::Install(install) => plan(&install, observed),
        InForce::Nobody => without_install(observed),
        InForce::Unreadable(_) => Plan::default(),
    };
    next.steps.extend(status::of_others(observed));
    if !matches!(observed.in_force(), InForce::Unreadable(_)) {
        next.steps.extend(beside::of_nobody(observed.install().as_ref(), observed));
    }
    next.fenced(observed)
}

impl Plan {
    /// The same, with what was seen of each object that it changes, so that one which is another by now is
    /// left to the next plan (cases F5 and F7). What it writes twice is another the second time.
    fn fenced(mut self, observed: &Observed) -> Self {
        let mut written = BTreeSet::new();
        for step in &mut self.steps {
            let (Action::Change(manifest, _) | Action::Status(manifest)) = &mut step.action else {
                continue;
            };
            let Some(found) = observed.object(&manifest.key) else { continue };
            let meta = &found.metadata;
            let version = meta.resource_version.as_deref().filter(|_| !written.contains(&manifest.key));
            fence(&mut manifest.value, meta.uid.as_deref(), version);
            written.insert(manifest.key.clone());
        }
        self
    }
}

/// The steps for `install`, which is the one in force.
pub fn plan(install: &MeshInstall, observed: &Observed) -> Plan {
    if install.metadata.deletion_timestamp.is_some() {
        return uninstall::plan(install, observed).fenced(observed);
    }
    let choice = Choice::of(install, &observed.place);
    let gateways = observed.gateways();
    let first = Wanted::of(install, observed, &choice, &gateways);
    let choice = first.judge(install, choice);
    let wanted = Wanted::of(install, observed, &choice, &gateways);
    let mut drifted = Vec::new();
    let mut steps: Vec<Step> =
        finalizer(install).into_iter().map(|action| Step { unit: None, action }).collect();
    // What is of a kind that may not be read cannot be compared.
    for (unit, manifest) in wanted.all().filter(|(_, manifest)| observed.knows(manifest.key.kind)) {
        match action(manifest, observed) {
            Some(Action::Change(manifest, fields))
                if observed.leaves(&manifest, &fields, install.spec.drift) =>
            {
                drifted.extend(fields.iter().map(|field| format!("{}: {field}", manifest.key)));
            }
            Some(action) => steps.push(Step { unit: unit.cloned(), action }),
            None => {}
        }
    }
    steps.extend(prune(install, observed, &wanted));
    let inventory = wanted.install.iter().map(|manifest| status::entry(&manifest.key)).collect();
    let waits = wanted.rollouts().any(Rollout::is_timed);
    let Wanted { control_plane, proxies, beside, .. } = wanted;
    let findings = Findings { choice, control_plane, proxies, drifted };
    let (status, transitions) = status::of(install, observed, findings, inventory);
    steps.extend(status.map(|manifest| Step { unit: None, action: Action::Status(manifest) }));
    steps.extend(beside.values().flat_map(|beside| beside.steps(observed)));
    steps.extend(beside::unreadable(observed));
    Plan { steps, transitions, waits }.fenced(observed)
}

/// The steps where there is no MeshInstall: what a MeshInstall can be written with.
pub fn without_install(observed: &Observed) -> Plan {
    let actions = definitions::wanted(observed).filter_map(|manifest| action(manifest, observed));
    let steps = actions.map(|action| Step { unit: None, action }).collect();
    Plan { steps, ..Plan::default() }.fenced(observed)
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
    proxies: BTreeMap<ObjectKey, Proxies>,
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
        let control_plane = Rollout::of(&deployment, observed, install.spec.drift);
        let beside = beside::all(install, observed, gateways);
        let mut wanted = Self {
            install: Vec::new(),
            gateways: Vec::new(),
            beside,
            kept: BTreeSet::new(),
            control_plane,
            proxies: BTreeMap::new(),
        };
        for seen in gateways.iter().filter(|seen| observed.is_usable(&seen.key.namespace)) {
            wanted.add(seen, &mesh, choice, observed, install.spec.drift);
        }
        let revisions = beside::leading(&wanted.beside, observed);
        let revisions = revisions.iter().map(String::as_str);
        wanted.install = of_install(&mesh, observed, gateways, deployment, revisions);
        wanted
    }

    /// What a Gateway is run by. One that cannot be read, or of which it is not known who runs it, stays as
    /// it is.
    fn add(
        &mut self,
        seen: &SeenGateway<'_>,
        mesh: &Mesh,
        choice: &Choice,
        observed: &Observed,
        drift: Drift,
    ) {
        let Some(gateway) = &seen.fact else { return };
        let Some(parameters) = Parameters::of(seen, observed) else { return };
        let run_by = beside::run_by(seen.object, &self.beside, observed);
        let name = names::of_gateway(&seen.key.name);
        let found = observed.object(&ObjectKey::new(object::DEPLOYMENT, &seen.key.namespace, &name));
        let edge = Edge {
            mesh,
            revision: &choice.target,
            gateway,
            parameters: &parameters,
            service: service_of(seen.key, observed),
            object: seen.object,
            found: found.and_then(|found| found.data.pointer("/spec/replicas")?.as_i64()),
        };
        match run_by {
            RunBy::Unknown => {}
            RunBy::Install => {
                let (revision, fails_as_before) = self.revision(edge, found, choice, observed, drift);
                let edge = Edge { revision: &revision, ..edge };
                let rollout = Rollout::of(&proxy::deployment(edge), observed, drift);
                let ran = found.is_some_and(rollout::ran);
                let counts = ran && !fails_as_before && !parameters.prove_nothing();
                self.proxies.insert(seen.key.clone(), Proxies { rollout, counts });
                self.gateways.push((seen.key.clone(), proxy::objects(edge)));
            }
            RunBy::Revision(name) => {
                let Some(beside) = self.beside.get_mut(&name) else { return };
                let revision = parameters.revision(&beside.mesh.revision);
                let edge = Edge { mesh: &beside.mesh, revision: &revision, ..edge };
                let deployment = proxy::deployment(edge);
                let mut objects = proxy::objects(edge);
                if beside.control_plane != Rollout::Complete && found.is_some() {
                    // It goes on as it is until there is who tells it more.
                    objects.retain(|manifest| manifest.key != deployment.key);
                    self.kept.insert(deployment.key.clone());
                }
                let rollout = Rollout::of(&deployment, observed, drift);
                beside.proxies.insert(seen.key.clone(), rollout);
                self.gateways.push((seen.key.clone(), objects));
            }
        }
    }

    /// What the proxies of a Gateway are to run with, and whether that is what ran before as they fail with
    /// it: they say nothing of what is new, and get it once it is proven.
    fn revision(
        &self,
        edge: Edge<'_>,
        found: Option<&DynamicObject>,
        choice: &Choice,
        observed: &Observed,
        drift: Drift,
    ) -> (Revision, bool) {
        let with = |revision: &Revision| edge.parameters.revision(revision);
        let made = |revision: &Revision| proxy::deployment(Edge { revision, ..edge });
        let target = with(&choice.target);
        // It is told by the control plane of before, and not restarted for that once more.
        let carried = found.is_some_and(|found| carries(found, &made(&target)));
        let healthy = choice.healthy.as_ref().filter(|_| choice.is_unproven()).map(with);
        let fails = |before: &Revision| Rollout::of(&made(before), observed, drift).is_failed();
        let same = |before: &Revision| !carried || before.proxy == target.proxy;
        match healthy.filter(|before| same(before) && fails(before)) {
            Some(before) => (before, true),
            None if carried => (target, false),
            None => (with(choice.for_proxies(self.control_plane == Rollout::Complete)), false),
        }
    }

    /// What the state of the pods says of the revision that they are to run with. Proxies that never ran,
    /// or that failed before, have no part in that: what keeps those of one Gateway from running is nobody
    /// else's business.
    fn judge(&self, install: &MeshInstall, choice: Choice) -> Choice {
        if !choice.is_unproven() {
            return choice;
        }
        let counted = self.proxies.values().filter(|proxies| proxies.counts);
        let counted: Vec<&Rollout> = std::iter::once(&self.control_plane)
            .chain(counted.map(|proxies| &proxies.rollout))
            .collect();
        let failed = counted.iter().filter(|rollout| rollout.is_failed());
        match failed.filter_map(|rollout| rollout.missing()).min() {
            Some(message) => choice.after_failure(message.to_owned(), install),
            None if counted.iter().all(|rollout| **rollout == Rollout::Complete) => {
                Choice { healthy: Some(choice.target.clone()), ..choice }
            }
            None => choice,
        }
    }

    /// How far everything is that runs pods.
    fn rollouts(&self) -> impl Iterator<Item = &Rollout> {
        let beside = self.beside.values();
        let beside = beside
            .flat_map(|beside| std::iter::once(&beside.control_plane).chain(beside.proxies.values()));
        let proxies = self.proxies.values().map(|proxies| &proxies.rollout);
        std::iter::once(&self.control_plane).chain(proxies).chain(beside)
    }

    fn all(&self) -> impl Iterator<Item = (Option<&ObjectKey>, &Manifest)> {
        let install = self.install.iter().map(|manifest| (None, manifest));
        let gateways = self.gateways.iter();
        let beside = self.beside.values().flat_map(Beside::wanted);
        install
            .chain(beside.map(|(key, manifest)| (Some(key), manifest)))
            .chain(gateways.flat_map(|(key, all)| all.iter().map(move |manifest| (Some(key), manifest))))
    }
}

/// Whether the pods of a Deployment run with what `wanted` has them run with, or are about to.
fn carries(found: &DynamicObject, wanted: &Manifest) -> bool {
    let template = |value: &Value| value.pointer("/spec/template/spec").cloned().unwrap_or_default();
    let found_template = found.data.pointer("/spec/template/spec").cloned().unwrap_or_default();
    digest_of(found) == wanted.digest()
        || differences(&template(&wanted.value), &found_template).is_empty()
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
        let class = gateway_class::gateway_class(mesh);
        // One that somebody else made for our Gateways does as well, and stays theirs.
        let found = observed.object(&class.key).filter(|_| observed.classes().contains(CLASS));
        let theirs = found.is_some_and(|found| !is_made_by_us(found, &class));
        all.extend((!theirs).then_some(class));
    }
    if knows_references(observed) {
        let classless = observed.classless();
        let refer = gateways.iter().chain(&classless);
        let mut readable = secrets::readable(refer, &observed.grants());
        readable.retain(|namespace, _| observed.is_usable(namespace));
        all.extend(secrets::roles(mesh, &readable));
    }
    all
}

/// Whether it is known what Gateways refer to. Where it is not, what may be read stays as it is.
pub(crate) fn knows_references(observed: &Observed) -> bool {
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
        return (digest_of(found) != manifest.digest())
            .then(|| Action::Change(manifest.clone(), Vec::new()));
    }
    if manifest.key.kind == object::GATEWAY_CLASS && !is_made_by_us(found, manifest) {
        // To make it is refused, and says whose it is.
        return Some(Action::Create(manifest.clone()));
    }
    let found = serde_json::to_value(found).unwrap_or_default();
    let fields = differences(&manifest.value, &found);
    (!fields.is_empty()).then(|| Action::Change(manifest.clone(), fields))
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
