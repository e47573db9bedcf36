//! Revisions side by side: for each `MeshRevision` a control plane of its own, which runs the Gateways that
//! ask for it by a label, on themselves or on their namespace.
//!
//! Each Gateway has one owner (case F20): the revision that it asks for where there is one of that name, and
//! the MeshInstall itself otherwise. The control planes come to the same answer, by the same label. All of
//! them have one service account and one CA, so that a Gateway that moves keeps its identity.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_crds::{MeshInstall, MeshRevision, MeshRevisionStatus, Revision, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::{
    component::{control_plane, network},
    mesh::{Mesh, Side},
    object::{self, Manifest, ObjectKey},
    observed::{Observed, Place, SeenGateway, owner},
    plan::{Action, Step, knows_references, with_finalizers},
    revision::wanted,
    rollout::Rollout,
    status::{self, Verdict, condition, list},
};

/// Keeps a MeshRevision for as long as it runs a Gateway.
pub const FINALIZER: &str = "isthmus.dev/in-use";

/// A revision beside that of the MeshInstall.
pub(crate) struct Beside {
    object: MeshRevision,
    key: ObjectKey,
    /// The install as this revision runs it.
    pub(crate) mesh: Mesh,
    /// Its control plane's objects; none when it ends.
    manifests: Vec<Manifest>,
    /// How far its control plane is.
    pub(crate) control_plane: Rollout,
    /// How far the proxies of each of its Gateways are, of those that can be read.
    pub(crate) proxies: BTreeMap<ObjectKey, Rollout>,
    /// The Gateways that ask for it.
    gateways: BTreeSet<ObjectKey>,
}

/// Who runs a Gateway.
pub(crate) enum RunBy {
    /// The MeshInstall itself.
    Install,
    /// The revision of this name.
    Revision(String),
    /// Nobody knows: what says so may not be read, or is of a later version.
    Unknown,
}

/// Who is to run `gateway`, given the revisions that can be read.
pub(crate) fn run_by(
    gateway: &DynamicObject,
    beside: &BTreeMap<String, Beside>,
    observed: &Observed,
) -> RunBy {
    if !observed.knows_label(gateway) {
        return RunBy::Unknown;
    }
    let Some(asked) = observed.asks_for(gateway) else { return RunBy::Install };
    if beside.contains_key(asked) {
        return RunBy::Revision(asked.to_owned());
    }
    let unreadable = || unreadable_names(observed).any(|name| name == asked);
    if !observed.knows(object::MESH_REVISION) || unreadable() { RunBy::Unknown } else { RunBy::Install }
}

/// The names of the revisions whose control planes may agree on who leads, and say where that one is. While
/// it is not known which there are, those that may so far.
pub(crate) fn leading(beside: &BTreeMap<String, Beside>, observed: &Observed) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = beside.keys().map(String::clone).collect();
    all.extend(unreadable_names(observed));
    if !observed.knows(object::MESH_REVISION) {
        let role = ObjectKey::new(object::ROLE, &observed.place.namespace, names::CONTROL_PLANE);
        let rules = observed.object(&role).and_then(|role| role.data.get("rules")?.as_array());
        let named = rules.into_iter().flatten().filter_map(|rule| rule.get("resourceNames")?.as_array());
        let named = named.flatten().filter_map(Value::as_str);
        let of =
            |name: &str| name.strip_prefix(names::CONTROL_PLANE)?.strip_prefix('-').map(str::to_owned);
        all.extend(named.filter_map(of));
    }
    all
}

fn unreadable_names(observed: &Observed) -> impl Iterator<Item = String> {
    let all = observed.unreadable_revisions();
    all.map(|(object, _)| object.metadata.name.clone().unwrap_or_default())
}

/// Statuses of MeshRevisions that cannot be read: that nothing is done for them, and why (case F11).
pub(crate) fn unreadable(observed: &Observed) -> impl Iterator<Item = Step> {
    observed.unreadable_revisions().filter_map(|(object, why)| {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let mut revision = MeshRevision::new(name, <_>::default());
        revision.metadata = object.metadata.clone();
        let old = object.data.get("status").cloned().map(serde_json::from_value);
        revision.status = old.and_then(Result::ok);
        let version = revision.status.as_ref().and_then(|status| status.version.clone());
        let ready = Verdict::no("Ready", "Unreadable", status::cannot_read(&why, observed));
        let told = status(&revision, [ready], version, observed).map(Action::Status);
        told.map(|action| Step { unit: Some(key(&revision)), action })
    })
}

/// The revisions of `install`, by name.
pub(crate) fn all(
    install: &MeshInstall,
    observed: &Observed,
    gateways: &[SeenGateway<'_>],
) -> BTreeMap<String, Beside> {
    let own =
        |revision: &MeshRevision| Some(&revision.spec.mesh_install) == install.metadata.name.as_ref();
    let revisions = observed.revisions().into_iter().filter(own);
    let beside = |revision: MeshRevision| {
        let name = revision.metadata.name.clone().unwrap_or_default();
        let asks = |seen: &&SeenGateway<'_>| observed.asks_for(seen.object) == Some(&name);
        let gateways = gateways.iter().filter(asks).map(|seen| seen.key.clone()).collect();
        (name, Beside::of(revision, install, observed, gateways))
    };
    revisions.map(beside).collect()
}

impl Beside {
    fn of(
        object: MeshRevision,
        install: &MeshInstall,
        observed: &Observed,
        gateways: BTreeSet<ObjectKey>,
    ) -> Self {
        let side = Side {
            name: object.metadata.name.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
        };
        let mut mesh = Mesh::new(install, &observed.place, spec(&object, install, &observed.place));
        mesh.side = Some(side);
        let deployment = control_plane::deployment(&mesh);
        let control_plane = Rollout::of(&deployment, observed, install.spec.drift);
        let mut manifests = Vec::new();
        let used = !gateways.is_empty() || !knows_use(observed);
        if used || object.metadata.deletion_timestamp.is_none() {
            let first = [network::of_control_plane(&mesh), control_plane::service(&mesh), deployment];
            manifests.extend(first.into_iter().chain(control_plane::disruption_budget(&mesh)));
        }
        let key = key(&object);
        Self { object, key, mesh, manifests, control_plane, proxies: BTreeMap::new(), gateways }
    }

    /// The objects of its control plane, each with the key of the revision.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&ObjectKey, &Manifest)> {
        self.manifests.iter().map(|manifest| (&self.key, manifest))
    }

    fn leaves(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// What is written of the MeshRevision itself.
    pub(crate) fn steps(&self, observed: &Observed) -> Vec<Step> {
        let held = is_held(&self.object.metadata);
        let ends = self.leaves() && self.manifests.is_empty();
        let actions = if ends {
            let left = observed.ours().any(|(_, found)| is_of(&self.object, found));
            vec![(held && !left).then(|| finalizers(&self.object.metadata, &[]))]
        } else {
            let keep =
                (!held && !self.leaves()).then(|| finalizers(&self.object.metadata, &[FINALIZER]));
            vec![keep, self.status(observed).map(Action::Status)]
        };
        let unit = Some(self.key.clone());
        actions.into_iter().flatten().map(|action| Step { unit: unit.clone(), action }).collect()
    }

    fn status(&self, observed: &Observed) -> Option<Manifest> {
        let verdicts = [self.ready(observed), self.in_use(observed)];
        status(&self.object, verdicts, Some(self.mesh.revision.version.clone()), observed)
    }

    fn ready(&self, observed: &Observed) -> Verdict {
        const KIND: &str = "Ready";
        if self.leaves() {
            return Verdict::no(KIND, "Leaving", "it ends when no Gateway is run by it");
        }
        if let Some(message) = status::failures(observed, |_, unit| unit == Some(&self.key)).next() {
            return Verdict::no(KIND, "ApplyFailed", message);
        }
        if let Some(message) = self.control_plane.missing() {
            return Verdict::no(KIND, status::reason([&self.control_plane]), message);
        }
        let missing: Vec<String> =
            self.proxies.values().filter_map(Rollout::missing).map(str::to_owned).collect();
        if !missing.is_empty() {
            return Verdict::no(KIND, status::reason(self.proxies.values()), list(&missing));
        }
        Verdict::yes(KIND, "InForce", format!("version {} runs", self.mesh.revision.version))
    }

    fn in_use(&self, observed: &Observed) -> Verdict {
        const KIND: &str = "InUse";
        let name = self.object.metadata.name.as_deref();
        let asks = |object: &&DynamicObject| {
            names::revision_asked(object.metadata.labels.as_ref(), None) == name
        };
        let namespaces = observed.of(object::NAMESPACE).filter(|(_, object)| asks(object)).count();
        let gateways: Vec<String> =
            self.gateways.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
        let label = names::REVISION_LABEL;
        if gateways.is_empty() && !knows_use(observed) {
            let message = "what says which Gateways are run by it may not be read";
            return Verdict::yes(KIND, "Unknown", message);
        }
        if gateways.is_empty() {
            let message = format!("no Gateway is run by it, {namespaces} namespaces have its label");
            return Verdict::no(KIND, "NotUsed", message);
        }
        let what = format!(
            "{} Gateways are run by it ({}), {namespaces} namespaces have its label",
            gateways.len(),
            list(&gateways)
        );
        let what_to_do = if self.leaves() {
            format!(
                "; it ends when they are not: change or remove their label {label}, or their namespace's"
            )
        } else {
            String::new()
        };
        Verdict::yes(KIND, "RunsGateways", what + &what_to_do)
    }
}

/// Whether it is known which Gateways ask for what.
fn knows_use(observed: &Observed) -> bool {
    knows_references(observed) && observed.knows(object::NAMESPACE)
}

/// What its pods run with: what it says, and what the MeshInstall says where it does not.
fn spec(object: &MeshRevision, install: &MeshInstall, place: &Place) -> Revision {
    let mut spec = install.spec.clone();
    if let Some(version) = &object.spec.version {
        spec.version = Some(version.clone());
        // Those of another version.
        (spec.control_plane.image, spec.proxy.image) = (None, None);
    }
    let defaults = wanted(&spec, place);
    let given = object.spec.control_plane.clone().unwrap_or_default();
    let control_plane = given.or(&defaults.control_plane);
    let proxy = match object.spec.proxy.clone() {
        Some(given) => given.or(&defaults.proxy),
        None => defaults.proxy,
    };
    Revision { version: defaults.version, control_plane, proxy }
}

/// What is done for MeshRevisions that are of no MeshInstall in force: they say so, and end when they are
/// to.
pub(crate) fn of_nobody(install: Option<&MeshInstall>, observed: &Observed) -> Vec<Step> {
    if install.is_none() {
        let held: Vec<Step> = release(observed).collect();
        if !held.is_empty() {
            return held;
        }
    }
    let name = install.and_then(|install| install.metadata.name.as_ref());
    let others =
        observed.revisions().into_iter().filter(|revision| Some(&revision.spec.mesh_install) != name);
    let step = |object: MeshRevision| {
        let message = format!("MeshInstall {} is not in force", object.spec.mesh_install);
        let ready = Verdict::no("Ready", "NoSuchMeshInstall", message);
        let told = || status(&object, [ready], None, observed).map(Action::Status);
        let action =
            if is_held(&object.metadata) { Some(finalizers(&object.metadata, &[])) } else { told() };
        action.map(|action| Step { unit: Some(key(&object)), action })
    };
    others.filter_map(step).collect()
}

/// Lets go of every MeshRevision, since the mesh ends.
pub(crate) fn release(observed: &Observed) -> impl Iterator<Item = Step> {
    let all = observed.of(object::MESH_REVISION).map(|(_, object)| &object.metadata);
    all.filter(|meta| is_held(meta)).map(|meta| Step { unit: None, action: finalizers(meta, &[]) })
}

/// The MeshRevisions that have this uid.
pub(crate) fn uids(beside: &BTreeMap<String, Beside>) -> BTreeSet<&str> {
    beside.values().filter_map(|beside| beside.object.metadata.uid.as_deref()).collect()
}

fn key(object: &MeshRevision) -> ObjectKey {
    ObjectKey::new(object::MESH_REVISION, "", object.metadata.name.as_deref().unwrap_or_default())
}

fn is_held(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

fn finalizers(meta: &ObjectMeta, finalizers: &[&str]) -> Action {
    Action::Change(with_finalizers(object::MESH_REVISION, meta, finalizers), Vec::new())
}

fn is_of(object: &MeshRevision, found: &DynamicObject) -> bool {
    owner(found).is_some_and(|owner| Some(&owner.uid) == object.metadata.uid.as_ref())
}

/// The status of a MeshRevision when it is not as it is to be.
fn status<const N: usize>(
    object: &MeshRevision,
    verdicts: [Verdict; N],
    version: Option<String>,
    observed: &Observed,
) -> Option<Manifest> {
    let old = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let conditions = verdicts.map(|verdict| condition(verdict, &old.conditions, generation, observed));
    let new =
        MeshRevisionStatus { observed_generation: generation, version, conditions: conditions.into() };
    let meta = json!({ "name": object.metadata.name, "uid": object.metadata.uid });
    let manifest = json!({ "metadata": meta, "status": new });
    (new != old).then(|| Manifest::bare(object::MESH_REVISION, &manifest))
}
