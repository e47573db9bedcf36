//! The end of an install, in order: proxies drain while the control plane still runs, then what they were
//! reached by goes, then the control plane. When that takes too long, all of it is deleted at once, and what
//! is left of the MeshInstall's own is collected by the API server. What belongs to Gateways is not, as they
//! stay: so the MeshInstall does not end before each such object was deleted, or could not be for long.
//!
//! Gateways, routes and definitions are the user's, and stay.

use isthmus_crds::MeshInstall;
use kube::core::DynamicObject;

use crate::{
    beside,
    object::{self, ObjectKey},
    observed::{Observed, owner},
    plan::{Action, FINALIZER, Plan, Step, delete, with_finalizers},
    status::{ends_since, uninstalling},
};

/// For so long, in seconds, the order is kept.
const PATIENCE_SECONDS: i64 = 120;
/// For so long, in seconds, what belongs to Gateways and cannot be deleted is tried again.
const TRIES_SECONDS: i64 = 2 * PATIENCE_SECONDS;

/// The next steps towards the end of `install`, which is to be deleted.
pub fn plan(install: &MeshInstall, observed: &Observed) -> Plan {
    let uid = install.metadata.uid.as_deref().unwrap_or_default();
    let patient = !is_late(install, observed, PATIENCE_SECONDS);
    // Whatever is in use ends with all of it.
    let mut steps: Vec<Step> = beside::release(observed).collect();
    for stage in [Stage::Proxies, Stage::Gateways, Stage::Install] {
        let left: Vec<_> = observed.ours().filter(|(key, found)| stage.is_of(key, found, uid)).collect();
        let actions =
            left.iter().filter_map(|(key, found)| delete(key, found, key.kind == object::DEPLOYMENT));
        steps.extend(actions.map(|action| Step { unit: None, action }));
        if !left.is_empty() && patient {
            let left: Vec<String> =
                left.into_iter().map(|(key, found)| why(key, found, observed)).collect();
            let (status, transitions) = uninstalling(install, &left, observed);
            steps.extend(status.map(|manifest| Step { unit: None, action: Action::Status(manifest) }));
            return Plan { steps, transitions, waits: true };
        }
    }
    // It outlives the MeshInstall, and nobody would delete it any more.
    let tried = is_late(install, observed, TRIES_SECONDS);
    let stays = |(key, found): (&ObjectKey, &DynamicObject)| {
        let live = found.metadata.deletion_timestamp.is_none();
        let refused = tried && observed.failures.contains_key(key);
        Stage::Gateways.is_of(key, found, uid) && live && !refused
    };
    if observed.ours().any(stays) {
        return Plan { steps, transitions: Vec::new(), waits: true };
    }
    let held = install.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
    let release = held.then(|| {
        Action::Change(with_finalizers(object::MESH_INSTALL, &install.metadata, &[]), Vec::new())
    });
    // Nothing that fails keeps it any longer.
    let key =
        ObjectKey::new(object::MESH_INSTALL, "", install.metadata.name.as_deref().unwrap_or_default());
    steps.extend(release.map(|action| Step { unit: Some(key), action }));
    Plan { steps, transitions: Vec::new(), waits: false }
}

/// An object that is still there, and what keeps it.
fn why(key: &ObjectKey, found: &DynamicObject, observed: &Observed) -> String {
    if let Some(failure) = observed.failures.get(key) {
        return format!("{key} cannot be deleted: {failure}");
    }
    let held: Vec<&str> = found.metadata.finalizers.iter().flatten().map(String::as_str).collect();
    match held.as_slice() {
        [] => key.to_string(),
        ["foregroundDeletion"] => format!("{key}, whose pods end first"),
        held => format!("{key}, which is kept by its finalizers {}", held.join(", ")),
    }
}

/// What goes together.
#[derive(Clone, Copy)]
enum Stage {
    /// Who serves, and who would change how many serve.
    Proxies,
    /// What Gateways have besides.
    Gateways,
    /// What the install itself consists of.
    Install,
}

impl Stage {
    fn is_of(self, key: &ObjectKey, found: &DynamicObject, install: &str) -> bool {
        let Some(owner) = owner(found) else { return false };
        let of_gateway = owner.kind == object::GATEWAY.kind;
        match self {
            Self::Proxies => {
                let serve = [object::DEPLOYMENT, object::AUTOSCALER, object::DISRUPTION_BUDGET];
                of_gateway && serve.contains(&key.kind)
            }
            Self::Gateways => of_gateway,
            Self::Install => owner.uid == install || owner.kind == object::MESH_REVISION.kind,
        }
    }
}

/// Whether it is more than so many seconds since the end was first seen. Where that cannot be written down,
/// it was seen when the MeshInstall was deleted.
fn is_late(install: &MeshInstall, observed: &Observed, seconds: i64) -> bool {
    let key =
        ObjectKey::new(object::MESH_INSTALL, "", install.metadata.name.as_deref().unwrap_or_default());
    let deleted = || install.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let deleted = || deleted().filter(|_| observed.failures.contains_key(&key));
    let since = ends_since(install).or_else(deleted);
    since.is_some_and(|since| observed.now.as_second() - since.as_second() > seconds)
}
