//! Every derived resource by key, and which of them changed in this refresh.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_ir::{Key, Resource};

/// All resources. Each belongs to one unit's output.
#[derive(Debug, Default)]
pub(crate) struct Table {
    resources: BTreeMap<Key, Resource>,
    changed: BTreeSet<Key>,
}

impl Table {
    /// The resource of `key`.
    pub(crate) fn resource(&self, key: &Key) -> Option<&Resource> {
        self.resources.get(key)
    }

    /// Every resource, in order of kind and name.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.resources.len()
    }

    /// Replaces the resources of one output.
    pub(crate) fn replace(
        &mut self,
        old: impl IntoIterator<Item = Resource>,
        new: impl IntoIterator<Item = Resource>,
    ) {
        let mut gone: BTreeSet<Key> = old.into_iter().map(|resource| resource.key()).collect();
        for resource in new {
            let key = resource.key();
            gone.remove(&key);
            if self.resources.get(&key).is_none_or(|stored| !stored.same(&resource)) {
                self.changed.insert(key.clone());
                self.resources.insert(key, resource);
            }
        }
        for key in gone {
            self.resources.remove(&key);
            self.changed.insert(key);
        }
    }

    /// Keys that changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }
}
