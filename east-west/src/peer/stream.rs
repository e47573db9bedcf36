//! One stream of a peer: what it has said and not yet committed.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::ObjectRef;
use isthmus_world::fact::ExportedService;

use super::{Effect, MAX_ENDPOINTS, MAX_SERVICES};
use crate::checksum::{Checksum, Digest, checksum, digest};

/// Exports by namespace and name.
pub(super) type Exports = BTreeMap<ObjectRef, Held>;

/// One export with its digest, which is taken once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) digest: Digest,
    pub(super) export: Arc<ExportedService>,
}

impl Held {
    pub(super) fn new(export: Arc<ExportedService>) -> Self {
        Self { digest: digest(&export), export }
    }
}

/// A stream to a peer.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) number: u64,
    /// Whether it has delivered its snapshot.
    pub(super) synced: bool,
    /// What will be in force at the next commit.
    pub(super) staged: Exports,
    weight: usize,
}

impl Stream {
    /// A stream that begins with what is `known` already.
    pub(super) fn new(number: u64, known: Exports) -> Self {
        let weight = known.values().map(weigh).sum();
        Self { number, synced: false, staged: known, weight }
    }

    /// Of all that is staged.
    pub(super) fn checksum(&self) -> Checksum {
        checksum(self.staged.values().map(|held| held.digest))
    }

    pub(super) fn stage(&mut self, export: Arc<ExportedService>) {
        let held = Held::new(export);
        self.weight += weigh(&held);
        if let Some(old) = self.staged.insert(object(&held.export), held) {
            self.weight -= weigh(&old);
        }
    }

    pub(super) fn unstage(&mut self, object: &ObjectRef) {
        if let Some(old) = self.staged.remove(object) {
            self.weight -= weigh(&old);
        }
    }

    pub(super) fn over_quota(&self) -> bool {
        self.staged.len() > MAX_SERVICES || self.weight > MAX_ENDPOINTS
    }
}

/// The namespace and name of an export.
pub(super) fn object(export: &ExportedService) -> ObjectRef {
    ObjectRef::new(&export.namespace, &export.name)
}

/// What the World is told of exports.
pub(super) fn shown(exports: &Exports) -> Vec<Arc<ExportedService>> {
    exports.values().map(|held| Arc::clone(&held.export)).collect()
}

/// What an export counts of the quota: its endpoints, or, where they name more, identities.
fn weigh(held: &Held) -> usize {
    let ports = held.export.ports.iter();
    ports.map(|port| 1 + port.endpoints.iter().map(|e| e.identities.len().max(1)).sum::<usize>()).sum()
}

/// The edit that makes `new` of `old`, when they differ.
pub(super) fn difference(old: &Exports, new: &Exports) -> Option<Effect> {
    let changed =
        |(object, held): &(&ObjectRef, &Held)| old.get(*object).map(|o| o.digest) != Some(held.digest);
    let upserts: Vec<_> = new.iter().filter(changed).map(|(_, held)| Arc::clone(&held.export)).collect();
    let removed: Vec<_> = old.keys().filter(|object| !new.contains_key(*object)).cloned().collect();
    (!upserts.is_empty() || !removed.is_empty()).then_some(Effect::Exports { upserts, removed })
}
