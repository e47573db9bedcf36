//! What a peer exports, within its quota.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::ObjectRef;
use isthmus_world::fact::ExportedService;

use super::{Effect, MAX_ENDPOINTS, MAX_SERVICES};

/// Exports by namespace and name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Exports {
    services: BTreeMap<ObjectRef, Arc<ExportedService>>,
    weight: usize,
}

impl Exports {
    /// All of these, whatever their number.
    pub(super) fn new(all: impl IntoIterator<Item = Arc<ExportedService>>) -> Self {
        let mut exports = Self::default();
        for export in all {
            exports.insert(export);
        }
        exports
    }

    /// What the World is told.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ExportedService>> {
        self.services.values()
    }

    /// These exports after an edit.
    pub(super) fn edited(&self, upserts: Vec<Arc<ExportedService>>, removed: &[ObjectRef]) -> Self {
        let mut edited = self.clone();
        for object in removed {
            edited.remove(object);
        }
        for export in upserts {
            edited.insert(export);
        }
        edited
    }

    /// Whether there is more than a peer may export.
    pub(super) fn over_quota(&self) -> bool {
        self.services.len() > MAX_SERVICES || self.weight > MAX_ENDPOINTS
    }

    /// The edit that makes `new` of these, when they differ.
    pub(super) fn difference(&self, new: &Self) -> Option<Effect> {
        let changed = |(object, export): &(&ObjectRef, &Arc<ExportedService>)| {
            self.services.get(*object).is_none_or(|old| !Arc::ptr_eq(old, export) && old != *export)
        };
        let upserts: Vec<_> = new.services.iter().filter(changed).map(|(_, e)| Arc::clone(e)).collect();
        let gone = self.services.keys().filter(|object| !new.services.contains_key(*object));
        let removed: Vec<_> = gone.cloned().collect();
        (!upserts.is_empty() || !removed.is_empty()).then_some(Effect::Exports { upserts, removed })
    }

    fn insert(&mut self, export: Arc<ExportedService>) {
        self.weight += weigh(&export);
        let object = ObjectRef::new(&export.namespace, &export.name);
        if let Some(old) = self.services.insert(object, export) {
            self.weight -= weigh(&old);
        }
    }

    fn remove(&mut self, object: &ObjectRef) {
        if let Some(old) = self.services.remove(object) {
            self.weight -= weigh(&old);
        }
    }
}

/// What an export counts of the quota: its endpoints, or, where they name more, identities.
fn weigh(export: &ExportedService) -> usize {
    let ports = export.ports.iter();
    ports.map(|port| 1 + port.endpoints.iter().map(|e| e.identities.len().max(1)).sum::<usize>()).sum()
}
