//! The end of an install, in order: proxies drain while the control plane still runs, then what they were
//! reached by goes, then the control plane. What is left when all of that took too long is collected by
//! the API server, because it belongs to the MeshInstall or to a Gateway.
//!
//! Gateways, routes and definitions are the user's, and stay.

use isthmus_crds::MeshInstall;
use kube::core::DynamicObject;

use crate::{
    beside,
    object::{self, ObjectKey},
    observed::{Observed, owner},
    plan::{Action, FINALIZER, Plan, Step, delete, with_finalizers},
};

/// For so long, in seconds, the order is kept.
const PATIENCE_SECONDS: i64 = 120;

/// The next steps towards the end of `install`, which is to be deleted.
pub fn plan(install: &MeshInstall, observed: &Observed) -> Plan {
    let uid = install.metadata.uid.as_deref().unwrap_or_default();
    let patient = !is_late(install, observed);
    // Whatever is in use ends with all of it.
    let mut steps: Vec<Step> = beside::release(observed).collect();
    for stage in [Stage::Proxies, Stage::Gateways, Stage::Install] {
        let left: Vec<_> = observed.ours().filter(|(key, found)| stage.is_of(key, found, uid)).collect();
        let actions =
            left.iter().filter_map(|(key, found)| delete(key, found, key.kind == object::DEPLOYMENT));
        steps.extend(actions.map(|action| Step { unit: None, action }));
        if !left.is_empty() && patient {
            return Plan { steps, transitions: Vec::new(), waits: true };
        }
    }
    let held = install.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
    let release = held.then(|| {
        Action::Change(with_finalizers(object::MESH_INSTALL, &install.metadata, &[]), Vec::new())
    });
    steps.extend(release.map(|action| Step { unit: None, action }));
    Plan { steps, transitions: Vec::new(), waits: false }
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

fn is_late(install: &MeshInstall, observed: &Observed) -> bool {
    let since = install.metadata.deletion_timestamp.as_ref();
    since.is_some_and(|since| observed.now.as_second() - since.0.as_second() > PATIENCE_SECONDS)
}
