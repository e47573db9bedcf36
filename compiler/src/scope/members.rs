//! What one open scope holds, and how often each is referred to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::{Change, Key, Name, ObjectRef, Resource, Route};

use crate::table::Table;

type Holders = BTreeMap<Key, BTreeSet<Name>>;

/// The members of one scope.
#[derive(Debug, Default)]
pub(super) struct Members {
    scope: Option<Name>,
    /// What names of the Gateway's listeners begin with.
    listeners: Option<String>,
    held: BTreeMap<Key, Held>,
    /// What was there before, of each key that was touched since [`Members::take_edits`].
    before: BTreeMap<Key, Option<Resource>>,
}

#[derive(Debug)]
struct Held {
    /// How many roots and members refer to it.
    count: usize,
    /// None when it is referred to and not there.
    resource: Option<Resource>,
}

impl Members {
    pub(super) fn new(scope: &Name, gateway: Option<&ObjectRef>) -> Self {
        let listeners = gateway.map(|gateway| format!("{gateway}/"));
        Self { scope: Some(scope.clone()), listeners, ..Self::default() }
    }

    /// Counts one reference to `key`; with the first one it comes in, and all that it refers to.
    pub(super) fn hold(&mut self, key: &Key, table: &Table, holders: &mut Holders) {
        let mut pending = vec![key.clone()];
        while let Some(key) = pending.pop() {
            if let Some(held) = self.held.get_mut(&key) {
                held.count += 1;
                continue;
            }
            let resource = self.seen(table.resource(&key));
            if let Some(resource) = &resource {
                resource.references(|reference| pending.push(reference));
            }
            holders.entry(key.clone()).or_default().extend(self.scope.clone());
            self.before.entry(key.clone()).or_insert(None);
            self.held.insert(key, Held { count: 1, resource });
        }
    }

    /// Takes one reference back; with the last one it goes, and its own references with it.
    pub(super) fn release(&mut self, key: &Key, holders: &mut Holders) {
        let mut pending = vec![key.clone()];
        while let Some(key) = pending.pop() {
            let Some(held) = self.held.get_mut(&key) else { continue };
            held.count -= 1;
            if held.count > 0 {
                continue;
            }
            let resource = self.held.remove(&key).and_then(|held| held.resource);
            if let Some(resource) = &resource {
                resource.references(|reference| pending.push(reference));
            }
            self.let_go(&key, holders);
            self.before.entry(key).or_insert(resource);
        }
    }

    /// Takes in that the resource of `key`, which is held, is another one.
    pub(super) fn reload(&mut self, key: &Key, table: &Table, holders: &mut Holders) {
        let new = self.seen(table.resource(key));
        let Some(held) = self.held.get_mut(key) else { return };
        match (&held.resource, &new) {
            (Some(old), Some(new)) if old.same(new) => return,
            (None, None) => return,
            _ => {}
        }
        let old = std::mem::replace(&mut held.resource, new.clone());
        for reference in references(new.as_ref()) {
            self.hold(&reference, table, holders);
        }
        for reference in references(old.as_ref()) {
            self.release(&reference, holders);
        }
        self.before.entry(key.clone()).or_insert(old);
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, holders: &mut Holders) {
        for key in std::mem::take(&mut self.held).into_keys() {
            self.let_go(&key, holders);
        }
    }

    /// What became different since this was last asked, in order of kind and name.
    pub(super) fn take_edits(&mut self) -> Vec<Change> {
        let before = std::mem::take(&mut self.before);
        let edit = |(key, old): (Key, Option<Resource>)| {
            let new = self.held.get(&key).and_then(|held| held.resource.as_ref());
            match (old, new) {
                (Some(old), Some(new)) if old.same(new) => None,
                (_, Some(new)) => Some(Change::Upsert(new.clone())),
                (Some(_), None) => Some(Change::Remove(key)),
                (None, None) => None,
            }
        };
        before.into_iter().filter_map(edit).collect()
    }

    /// All resources, in order of kind and name.
    pub(super) fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.held.values().filter_map(|held| held.resource.as_ref())
    }

    fn let_go(&self, key: &Key, holders: &mut Holders) {
        let (Some(scope), Some(names)) = (&self.scope, holders.get_mut(key)) else { return };
        names.remove(scope);
        if names.is_empty() {
            holders.remove(key);
        }
    }

    /// A resource as this scope is told it: a route without its attachments to other Gateways, so that
    /// an edit of one of those moves nothing here, and their names stay theirs.
    fn seen(&self, resource: Option<&Resource>) -> Option<Resource> {
        let resource = resource?;
        let (Resource::Route(route), Some(prefix)) = (resource, &self.listeners) else {
            return Some(resource.clone());
        };
        let own = |listener: &Name| listener.as_str().starts_with(prefix.as_str());
        if route.attachments.iter().all(|attachment| own(&attachment.listener)) {
            return Some(resource.clone());
        }
        let mut narrowed = Route::clone(route);
        narrowed.attachments.retain(|attachment| own(&attachment.listener));
        Some(Resource::Route(Arc::new(narrowed)))
    }
}

fn references(resource: Option<&Resource>) -> Vec<Key> {
    let mut found = Vec::new();
    if let Some(resource) = resource {
        resource.references(|key| found.push(key));
    }
    found
}
