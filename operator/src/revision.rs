//! Which revision pods are to run with: the wanted one, or, when that one failed, the last healthy one.

use isthmus_crds::{FailedRevision, MeshInstall, MeshInstallSpec, Revision};

use crate::observed::Place;

/// The revision that a MeshInstall asks for.
pub fn wanted(spec: &MeshInstallSpec, place: &Place) -> Revision {
    let version = spec.version.clone().unwrap_or_else(|| place.tag.clone());
    let image = |given: &Option<String>, image: &str| {
        Some(given.clone().unwrap_or_else(|| format!("{image}:{version}")))
    };
    let (mut control_plane, mut proxy) = (spec.control_plane.clone(), spec.proxy.clone());
    control_plane.image = image(&control_plane.image, &place.image);
    proxy.image = image(&proxy.image, &place.proxy_image);
    Revision { version, control_plane, proxy }
}

/// What follows for an install from what is known of its revisions.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// What its pods are to run with.
    pub target: Revision,
    /// The failure that made `target` another one than the wanted.
    pub failed: Option<FailedRevision>,
    /// What ran well last.
    pub healthy: Option<Revision>,
}

impl Choice {
    /// The choice for `install`, by its status.
    pub fn of(install: &MeshInstall, place: &Place) -> Self {
        let wanted = wanted(&install.spec, place);
        let status = install.status.clone().unwrap_or_default();
        // Any change of the MeshInstall has it tried again: it may be what it lacked, such as more time.
        let now = install.metadata.generation;
        let failed = status.failed.filter(|failed| {
            failed.revision == wanted && (failed.generation.is_none() || failed.generation == now)
        });
        match (failed, status.healthy) {
            (Some(failed), Some(healthy)) if install.spec.upgrade.rollback => {
                Self { target: healthy.clone(), failed: Some(failed), healthy: Some(healthy) }
            }
            (_, healthy) => Self { target: wanted, failed: None, healthy },
        }
    }

    /// Whether pods still have to prove that they run with the target.
    pub fn is_unproven(&self) -> bool {
        self.healthy.as_ref() != Some(&self.target)
    }

    /// The choice for `install` after the target failed for this reason; the same when there is nothing to go
    /// back to.
    #[must_use]
    pub fn after_failure(self, message: String, install: &MeshInstall) -> Self {
        let (rollback, generation) = (install.spec.upgrade.rollback, install.metadata.generation);
        match self.healthy {
            Some(healthy) if rollback && healthy != self.target => Self {
                failed: Some(FailedRevision { revision: self.target, message, generation }),
                target: healthy.clone(),
                healthy: Some(healthy),
            },
            _ => self,
        }
    }

    /// What proxies run with: the control plane's revision comes first, theirs when it runs.
    pub fn for_proxies(&self, control_plane_runs: bool) -> &Revision {
        match &self.healthy {
            Some(healthy) if !control_plane_runs => healthy,
            _ => &self.target,
        }
    }
}
