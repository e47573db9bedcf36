//! Facts of one kind by object.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::ObjectRef;

use super::mention::{Mention, Mentioning};

/// Facts of one kind by object.
#[derive(Debug)]
pub(super) struct Store<T>(BTreeMap<ObjectRef, Arc<T>>);

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// What a fact mentioned before and mentions now.
#[derive(Default)]
pub(super) struct Edit {
    pub(super) old: Vec<Mention>,
    pub(super) new: Vec<Mention>,
}

impl<T: Mentioning + PartialEq> Store<T> {
    /// Keeps `fact`, unless the stored one is equal.
    pub(super) fn put(&mut self, object: &ObjectRef, fact: T) -> Option<Edit> {
        let mut edit = Edit { old: Vec::new(), new: fact.mentions() };
        if let Some(stored) = self.0.get_mut(object) {
            if **stored == fact {
                return None;
            }
            edit.old = stored.mentions();
            *stored = Arc::new(fact);
        } else {
            self.0.insert(object.clone(), Arc::new(fact));
        }
        Some(edit)
    }

    /// Forgets the fact of `object`.
    pub(super) fn take(&mut self, object: &ObjectRef) -> Option<Edit> {
        let fact = self.0.remove(object)?;
        Some(Edit { old: fact.mentions(), new: Vec::new() })
    }

    pub(super) fn fact(&self, object: &ObjectRef) -> Option<&Arc<T>> {
        self.0.get(object)
    }

    /// Every object, in order.
    pub(super) fn objects(&self) -> Vec<ObjectRef> {
        self.0.keys().cloned().collect()
    }

    /// Every fact, in order of object.
    pub(super) fn facts(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values()
    }

    pub(super) fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = (&ObjectRef, &Arc<T>)> {
        let namespace = namespace.to_owned();
        let first = ObjectRef::new(namespace.clone(), "");
        self.0.range(first..).take_while(move |(object, _)| object.namespace == namespace)
    }
}
