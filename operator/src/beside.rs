//! Revisions side by side: for each `MeshRevision` a control plane of its own, which runs the Gateways that
//! ask for it by a label, on themselves or on their namespace.
//!
//! Each Gateway has one owner (case F20): the revision that it asks for where there is one of that name, and
//! the MeshInstall itself otherwise. The control planes come to the same answer, by the same label. All of
//! them have one service account and one CA, so that a Gateway that moves keeps its identity.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_crds::{MeshInstall, MeshRevision, MeshRevisionStatus, Revision, names};
use kube::core::DynamicObject;
use serde_json::json;

use crate::{
    component::{control_plane, network},
    mesh::{Mesh, Side},
    object::{self, Manifest, ObjectKey},
    observed::{Observed, Place, SeenGateway, owner},
    plan::{Action, Step, with_finalizers},
    revision::wanted,
    rollout::Rollout,
    status::{Verdict, condition, list},
};

/// Keeps a MeshRevision for as long as it runs a Gateway.
pub const FINALIZER: &str = "isthmus.dev/in-use";

/// A revision beside that of the MeshInstall.
pub(crate) struct Beside {
    object: MeshRevision,
    /// The install as this revision runs it.
    pub(crate) mesh: Mesh,
    /// Its control plane's objects; none when it ends.
    pub(crate) manifests: Vec<Manifest>,
    /// How far its control plane is.
    pub(crate) control_plane: Rollout,
    /// How far the proxies of each of its Gateways are.
    pub(crate) proxies: BTreeMap<ObjectKey, Rollout>,
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
        let used = gateways.iter().any(|seen| observed.asks_for(seen.object) == Some(&name));
        (name, Beside::of(revision, install, observed, used))
    };
    revisions.map(beside).collect()
}

impl Beside {
    fn of(object: MeshRevision, install: &MeshInstall, observed: &Observed, used: bool) -> Self {
        let side = Side {
            name: object.metadata.name.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
        };
        let mut mesh = Mesh::new(install, &observed.place, spec(&object, install, &observed.place));
        mesh.side = Some(side);
        let deployment = control_plane::deployment(&mesh);
        let control_plane = Rollout::of(&deployment, observed);
        let mut manifests = Vec::new();
        if used || object.metadata.deletion_timestamp.is_none() {
            let first =
                [network::of_control_plane(&mesh), control_plane::service(&mesh), deployment];
            manifests.extend(first.into_iter().chain(control_plane::disruption_budget(&mesh)));
        }
        Self { object, mesh, manifests, control_plane, proxies: BTreeMap::new() }
    }

    /// Its key.
    pub(crate) fn key(&self) -> ObjectKey {
        key(&self.object)
    }

    fn leaves(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// What is written of the MeshRevision itself.
    pub(crate) fn steps(&self, observed: &Observed) -> Vec<Step> {
        let held = held(&self.object);
        let ends = self.leaves() && self.manifests.is_empty();
        let actions = if ends {
            let left = observed.ours().any(|(_, found)| is_of(&self.object, found));
            vec![(held && !left).then(|| finalizers(&self.object, &[]))]
        } else {
            let keep = (!held && !self.leaves()).then(|| finalizers(&self.object, &[FINALIZER]));
            vec![keep, self.status(observed).map(Action::Status)]
        };
        let unit = Some(self.key());
        actions.into_iter().flatten().map(|action| Step { unit: unit.clone(), action }).collect()
    }

    fn status(&self, observed: &Observed) -> Option<Manifest> {
        let verdicts = [self.ready(), self.in_use(observed)];
        status(&self.object, verdicts, Some(self.mesh.revision.version.clone()), observed)
    }

    fn ready(&self) -> Verdict {
        const KIND: &str = "Ready";
        if self.leaves() {
            return Verdict::no(KIND, "Leaving", "it ends when no Gateway is run by it");
        }
        match &self.control_plane {
            Rollout::Failed(message) => return Verdict::no(KIND, "Failed", message.clone()),
            Rollout::Progressing(message) => return Verdict::no(KIND, "Progressing", message.clone()),
            Rollout::Complete => {}
        }
        let missing = self.proxies.values().filter_map(|rollout| match rollout {
            Rollout::Complete => None,
            Rollout::Progressing(message) | Rollout::Failed(message) => Some(message.clone()),
        });
        let missing: Vec<String> = missing.collect();
        if !missing.is_empty() {
            return Verdict::no(KIND, "Progressing", list(&missing));
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
            self.proxies.keys().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
        let label = names::REVISION_LABEL;
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
    let name = install.and_then(|install| install.metadata.name.as_ref());
    let others =
        observed.revisions().into_iter().filter(|revision| Some(&revision.spec.mesh_install) != name);
    let step = |object: MeshRevision| {
        let message = format!("MeshInstall {} is not in force", object.spec.mesh_install);
        let ready = Verdict::no("Ready", "NoSuchMeshInstall", message);
        let told = || status(&object, [ready], None, observed).map(Action::Status);
        let action = if held(&object) { Some(finalizers(&object, &[])) } else { told() };
        action.map(|action| Step { unit: Some(key(&object)), action })
    };
    others.filter_map(step).collect()
}

/// Lets go of every MeshRevision, since the mesh ends.
pub(crate) fn release(observed: &Observed) -> impl Iterator<Item = Step> {
    let all = observed.revisions().into_iter().filter(held);
    all.map(|object| Step { unit: None, action: finalizers(&object, &[]) })
}

/// The MeshRevisions that have this uid.
pub(crate) fn uids(beside: &BTreeMap<String, Beside>) -> BTreeSet<&str> {
    beside.values().filter_map(|beside| beside.object.metadata.uid.as_deref()).collect()
}

fn key(object: &MeshRevision) -> ObjectKey {
    ObjectKey::new(object::MESH_REVISION, "", object.metadata.name.as_deref().unwrap_or_default())
}

fn held(object: &MeshRevision) -> bool {
    object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER)
}

fn finalizers(object: &MeshRevision, finalizers: &[&str]) -> Action {
    Action::Change(with_finalizers(object::MESH_REVISION, &object.metadata, finalizers), Vec::new())
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
