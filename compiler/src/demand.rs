//! Which backends are asked for, counted by the routes that ask.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_gateway::backend::BackendKey;

/// Counts by backend; one that nobody asks for is not in it.
#[derive(Debug, Default)]
pub(crate) struct Demand(BTreeMap<BackendKey, usize>);

impl Demand {
    /// Whether anybody asks for it.
    pub(crate) fn has(&self, key: &BackendKey) -> bool {
        self.0.contains_key(key)
    }

    /// Keys of ports of `object`, as a Service and as a ServiceImport.
    pub(crate) fn of(&self, object: &isthmus_ir::ObjectRef) -> Vec<BackendKey> {
        let range = |make: fn(isthmus_ir::ObjectRef, u16) -> BackendKey| {
            self.0
                .range(make(object.clone(), 0)..=make(object.clone(), u16::MAX))
                .map(|(key, _)| key.clone())
        };
        range(BackendKey::Cluster).chain(range(BackendKey::ClusterSet)).collect()
    }

    /// Notes that somebody who asked for `old` asks for `new` instead; answers with those that nobody
    /// asked for before, or nobody asks for any more.
    pub(crate) fn replace(
        &mut self,
        old: Option<&BTreeSet<BackendKey>>,
        new: Option<&BTreeSet<BackendKey>>,
    ) -> Vec<BackendKey> {
        let mut turned = Vec::new();
        for key in new.into_iter().flatten() {
            let count = self.0.entry(key.clone()).or_insert(0);
            *count += 1;
            if *count == 1 {
                turned.push(key.clone());
            }
        }
        for key in old.into_iter().flatten() {
            let Some(count) = self.0.get_mut(key) else { continue };
            *count -= 1;
            if *count == 0 {
                self.0.remove(key);
                turned.push(key.clone());
            }
        }
        turned
    }

    /// How many backends are asked for.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
