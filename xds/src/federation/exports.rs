//! What one peer is told.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::{FederationChange, SCHEMA, wire};
use crate::delta::Set;

/// What one peer is told; the latest only. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Exports {
    set: Arc<watch::Sender<Option<Set>>>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { set: Arc::new(watch::Sender::new(None)) }
    }
}

impl Exports {
    /// Edits what the peer is told, and calls the result `revision`. The first call must bring all of it:
    /// the peer is told nothing before. `digest` is handed to the other end's [`Import`](super::Import) with the commit
    /// and with heartbeats.
    pub fn publish(&self, revision: u64, digest: Bytes, changes: &[FederationChange]) {
        let edits: Vec<_> = changes.iter().map(wire::edit).collect();
        self.set.send_modify(|set| {
            let set = set.get_or_insert_with(|| Set::new(&SCHEMA));
            set.annotate(digest);
            set.apply(revision, edits);
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Set>> {
        self.set.subscribe()
    }
}
