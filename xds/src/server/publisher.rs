//! What is published, scope by scope.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use isthmus_ir::{Change, Name};
use tokio::sync::watch;

use super::reports::{Registry, Reports};
use crate::{
    delta::{Entry, ResourceId, Set, server::Limits},
    wire,
};

/// The latest resources of each scope, and the proxies that are told them. Cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    /// A scope that was not published yet, but that a proxy waits for, has no set.
    scopes: Mutex<BTreeMap<Name, watch::Sender<Option<Set>>>>,
    registry: Arc<Registry>,
}

impl Publisher {
    /// Nothing published yet; and where the news of proxies comes out.
    pub fn new(limits: Limits) -> (Self, Reports) {
        let registry = Arc::<Registry>::default();
        let reports = Reports::new(registry.clone());
        let shared = Shared { limits, scopes: Mutex::default(), registry };
        (Self { shared: Arc::new(shared) }, reports)
    }

    /// Edits what proxies of `scope` are told, and calls the result `revision`; `changes` may be empty.
    /// The first call for a scope must bring all of it. Never waits for a proxy: one that is slow is told
    /// the latest when it is ready.
    pub fn publish(&self, scope: &Name, revision: u64, changes: &[Change]) {
        let edits: Vec<_> = changes.iter().map(edit).collect();
        self.with_scope(scope, |sender| {
            sender.send_modify(|set| {
                set.get_or_insert_with(|| Set::new(&wire::SCHEMA)).apply(revision, edits);
            });
        });
    }

    /// Forgets a scope. Streams of its proxies end.
    pub fn retire(&self, scope: &Name) {
        self.shared.scopes.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }

    /// The revision of a scope, once it was published.
    pub fn revision(&self, scope: &Name) -> Option<u64> {
        self.with_scope(scope, |sender| sender.borrow().as_ref().map(Set::revision))
    }

    pub(super) fn subscribe(&self, scope: &Name) -> watch::Receiver<Option<Set>> {
        self.with_scope(scope, watch::Sender::subscribe)
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    pub(super) fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn with_scope<T>(&self, scope: &Name, act: impl FnOnce(&watch::Sender<Option<Set>>) -> T) -> T {
        let mut scopes = self.shared.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        act(scopes.entry(scope.clone()).or_insert_with(|| watch::Sender::new(None)))
    }
}

fn edit(change: &Change) -> (ResourceId, Option<Entry>) {
    match change {
        Change::Upsert(resource) => {
            let (id, entry) = wire::encode(resource).entry();
            (id, Some(entry))
        }
        Change::Remove(key) => (wire::id(key), None),
    }
}
