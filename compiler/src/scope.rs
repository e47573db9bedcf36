//! Scopes: what one fleet of proxies is told, kept by counting references.
//!
//! A scope has roots (its listeners, the routes attached to them, handles, trust bundles) and holds
//! whatever they refer to, directly or through others. Kinds refer to later kinds only
//! ([`Kind`](isthmus_ir::Kind)), so there are no cycles, and what is counted zero times is needed no more.
//!
//! Roots are remembered of scopes that are not open too, so that nothing depends on whether a Gateway or
//! its routes are known first.

mod members;

use std::collections::{BTreeMap, BTreeSet};

use isthmus_ir::{Change, Key, Name, ObjectRef, Resource};

use crate::table::Table;
use members::Members;

/// The scope of the proxies of `gateway`.
pub(crate) fn gateway_scope(gateway: &ObjectRef) -> Name {
    format!("gateway/{gateway}").into()
}

/// The Gateway whose proxies a scope is of; none for the east-west gateway's.
pub fn gateway_of(scope: &Name) -> Option<ObjectRef> {
    let (namespace, name) = scope.as_str().strip_prefix("gateway/")?.split_once('/')?;
    Some(ObjectRef::new(namespace, name))
}

/// The scope of the east-west gateway.
pub(crate) fn east_west_scope() -> Name {
    "east-west".into()
}

/// All scopes.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    all: BTreeMap<Name, Scope>,
    /// Which open scopes hold a resource.
    holders: BTreeMap<Key, BTreeSet<Name>>,
    /// Roots of every open scope.
    common: BTreeSet<Key>,
    opened: BTreeSet<Name>,
    closed: BTreeSet<Name>,
}

#[derive(Debug, Default)]
struct Scope {
    roots: BTreeSet<Key>,
    /// None when it is not open.
    open: Option<Open>,
}

#[derive(Debug, Default)]
struct Open {
    members: Members,
    /// The refresh in which it last changed.
    revision: u64,
}

/// What a refresh did to scopes.
#[derive(Debug, Default)]
pub(crate) struct ScopeEdits {
    /// Of each scope that is new or changed.
    pub(crate) changes: BTreeMap<Name, Vec<Change>>,
    pub(crate) opened: Vec<Name>,
    pub(crate) closed: Vec<Name>,
}

impl Scopes {
    /// Opens a scope; `gateway` is the one whose listeners it serves, none for the east-west gateway.
    pub(crate) fn open(&mut self, name: &Name, gateway: Option<&ObjectRef>, table: &Table) {
        let scope = self.all.entry(name.clone()).or_default();
        if scope.open.is_some() {
            return;
        }
        let mut members = Members::new(name, gateway);
        for root in scope.roots.iter().chain(&self.common) {
            members.hold(root, table, &mut self.holders);
        }
        scope.open = Some(Open { members, revision: 0 });
        self.opened.insert(name.clone());
    }

    /// Closes a scope.
    pub(crate) fn close(&mut self, name: &Name) {
        let Some(scope) = self.all.get_mut(name) else { return };
        let Some(mut open) = scope.open.take() else { return };
        open.members.clear(&mut self.holders);
        self.closed.insert(name.clone());
        self.forget_empty(name);
    }

    /// Makes `key` a root of the scope `name`.
    pub(crate) fn add_root(&mut self, name: &Name, key: Key, table: &Table) {
        let scope = self.all.entry(name.clone()).or_default();
        if scope.roots.contains(&key) {
            return;
        }
        if let Some(open) = &mut scope.open {
            open.members.hold(&key, table, &mut self.holders);
        }
        scope.roots.insert(key);
    }

    /// Ends that.
    pub(crate) fn remove_root(&mut self, name: &Name, key: &Key) {
        let Some(scope) = self.all.get_mut(name) else { return };
        if !scope.roots.remove(key) {
            return;
        }
        if let Some(open) = &mut scope.open {
            open.members.release(key, &mut self.holders);
        }
        self.forget_empty(name);
    }

    /// Makes `keys`, and no others, roots of every scope.
    pub(crate) fn set_common(&mut self, keys: BTreeSet<Key>, table: &Table) {
        let old = std::mem::replace(&mut self.common, keys);
        for open in self.all.values_mut().filter_map(|scope| scope.open.as_mut()) {
            for key in self.common.difference(&old) {
                open.members.hold(key, table, &mut self.holders);
            }
            for key in old.difference(&self.common) {
                open.members.release(key, &mut self.holders);
            }
        }
    }

    /// Takes in that resources of `keys` are other ones now.
    pub(crate) fn reload(&mut self, keys: &BTreeSet<Key>, table: &Table) {
        for key in keys {
            let holders = self.holders.get(key).cloned().unwrap_or_default();
            for name in holders {
                let open = self.all.get_mut(&name).and_then(|scope| scope.open.as_mut());
                if let Some(open) = open {
                    open.members.reload(key, table, &mut self.holders);
                }
            }
        }
    }

    /// What became different since this was last asked, which happened in refresh `revision`.
    pub(crate) fn take_edits(&mut self, revision: u64) -> ScopeEdits {
        let mut changes = BTreeMap::new();
        for (name, scope) in &mut self.all {
            let Some(open) = &mut scope.open else { continue };
            let edits = open.members.take_edits();
            if !edits.is_empty() || self.opened.contains(name) {
                open.revision = revision;
                changes.insert(name.clone(), edits);
            }
        }
        // Opened and closed between two questions: nobody has heard of it.
        let opened = std::mem::take(&mut self.opened);
        let closed = std::mem::take(&mut self.closed);
        ScopeEdits {
            changes,
            closed: closed.difference(&opened).cloned().collect(),
            opened: opened.into_iter().filter(|name| self.is_open(name)).collect(),
        }
    }

    /// Whether the scope is open.
    pub(crate) fn is_open(&self, name: &Name) -> bool {
        self.all.get(name).is_some_and(|scope| scope.open.is_some())
    }

    /// The refresh in which a scope last changed; none when it is not open.
    pub(crate) fn revision(&self, name: &Name) -> Option<u64> {
        Some(self.all.get(name)?.open.as_ref()?.revision)
    }

    /// Open scopes, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        self.all.iter().filter(|(_, scope)| scope.open.is_some()).map(|(name, _)| name)
    }

    /// All that a scope is told, in order of kind and name; none when it is not open.
    pub(crate) fn resources(&self, name: &Name) -> Option<impl Iterator<Item = &Resource>> {
        Some(self.all.get(name)?.open.as_ref()?.members.resources())
    }

    /// How many things are kept.
    pub(crate) fn len(&self) -> usize {
        let roots: usize = self.all.values().map(|scope| 1 + scope.roots.len()).sum();
        roots + self.holders.len()
    }

    fn forget_empty(&mut self, name: &Name) {
        let empty = |scope: &Scope| scope.open.is_none() && scope.roots.is_empty();
        if self.all.get(name).is_some_and(empty) {
            self.all.remove(name);
        }
    }
}
