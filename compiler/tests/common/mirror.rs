//! Follows a compiler by its refreshes alone, as proxies, peers and a status store do, and complains
//! about every edit that edits nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_compiler::{Compiler, ExportChange, ImportChange, Refresh};
use isthmus_east_west::{dns::Table, import::Import};
use isthmus_ir::{Change, Key, Name, ObjectRef, Resource, Route};
use isthmus_world::{Kind, fact::ExportedService};
use serde_json::Value;

type Resources = BTreeMap<Key, Resource>;

/// All that a compiler has said.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Mirror {
    pub scopes: BTreeMap<Name, Resources>,
    pub statuses: BTreeMap<(Kind, ObjectRef), Value>,
    pub exports: BTreeMap<ObjectRef, Arc<ExportedService>>,
    pub imports: BTreeMap<ObjectRef, Arc<Import>>,
    pub names: Arc<Table>,
}

impl Mirror {
    /// What `compiler` says when it is asked for everything.
    pub fn of(compiler: &Compiler) -> Self {
        let object = |e: &ExportedService| ObjectRef::new(&e.namespace, &e.name);
        let imports = compiler.imports().filter(|import| import.exists());
        Self {
            scopes: compiler
                .scopes()
                .map(|name| {
                    let resources = compiler.snapshot(name).unwrap();
                    (name.clone(), resources.into_iter().map(|r| (r.key(), r)).collect())
                })
                .collect(),
            statuses: compiler.statuses().map(|s| ((s.kind, s.object), s.status.unwrap())).collect(),
            exports: compiler.exports().map(|e| (object(e), Arc::clone(e))).collect(),
            imports: imports.map(|i| (i.object.clone(), Arc::clone(i))).collect(),
            names: compiler.names(),
        }
    }

    /// What is in one of the two and not in the other, a line for each; empty when they are equal.
    pub fn difference(&self, other: &Self) -> String {
        let (own, theirs) = (self.lines(), other.lines());
        let gone = own.difference(&theirs).map(|line| format!("- {line}\n"));
        gone.chain(theirs.difference(&own).map(|line| format!("+ {line}\n"))).collect()
    }

    fn lines(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        for (name, scope) in &self.scopes {
            lines.insert(format!("scope {name}"));
            lines.extend(scope.values().map(|resource| format!("scope {name}: {resource:?}")));
        }
        for ((kind, object), status) in &self.statuses {
            lines.insert(format!("status of {kind:?} {object}: {status}"));
        }
        lines.extend(self.exports.values().map(|export| format!("export {export:?}")));
        lines.extend(self.imports.values().map(|import| format!("import {import:?}")));
        lines.insert(format!("names {:?}", self.names));
        lines
    }

    /// Takes a refresh in.
    pub fn follow(&mut self, refresh: Refresh) {
        for name in &refresh.closed {
            assert!(self.scopes.remove(name).is_some(), "{name} was not open");
        }
        for name in &refresh.opened {
            assert!(self.scopes.insert(name.clone(), Resources::new()).is_none(), "{name} was open");
            assert!(refresh.scopes.contains_key(name), "{name} has no first snapshot");
        }
        for (name, changes) in refresh.scopes {
            let scope = self.scopes.get_mut(&name).unwrap();
            for change in changes {
                edit(scope, change);
            }
        }
        for change in refresh.statuses {
            let key = (change.kind, change.object);
            let old = match change.status.clone() {
                Some(status) => self.statuses.insert(key, status),
                None => self.statuses.remove(&key),
            };
            assert_ne!(old, change.status, "a status that is not different");
        }
        for change in refresh.exports {
            match change {
                ExportChange::Upsert(new) => {
                    let old =
                        self.exports.insert(ObjectRef::new(&new.namespace, &new.name), new.clone());
                    assert_ne!(old, Some(new), "an export that is not different");
                }
                ExportChange::Remove(object) => {
                    assert!(self.exports.remove(&object).is_some(), "{object} was not exported");
                }
            }
        }
        if let Some(names) = refresh.names {
            assert_ne!(self.names, names, "names that are not different");
            self.names = names;
        }
        for change in refresh.imports {
            match change {
                ImportChange::Upsert(new) => {
                    let old = self.imports.insert(new.object.clone(), new.clone());
                    assert_ne!(old, Some(new), "an import that is not different");
                }
                ImportChange::Remove(object) => {
                    assert!(self.imports.remove(&object).is_some(), "{object} was not imported");
                }
            }
        }
    }
}

fn edit(scope: &mut Resources, change: Change) {
    match change {
        Change::Upsert(resource) => {
            let old = scope.insert(resource.key(), resource.clone());
            assert_ne!(old, Some(resource), "a resource that is not different");
        }
        Change::Remove(key) => assert!(scope.remove(&key).is_some(), "{key:?} was not there"),
    }
}

/// What the scope of `gateway` holds by definition: its listeners, rules attached to them, trust bundles,
/// and all that these refer to.
pub fn gateway_closure(compiler: &Compiler, gateway: &ObjectRef) -> Resources {
    let table: Resources = compiler.resources().map(|r| (r.key(), r.clone())).collect();
    let prefix = format!("{gateway}/");
    let own = |name: &Name| name.as_str().starts_with(&prefix);
    let seen = |resource: &Resource| match resource {
        Resource::Route(route) => {
            let mut narrowed = Route::clone(route);
            narrowed.attachments.retain(|a| own(&a.listener));
            Resource::Route(Arc::new(narrowed))
        }
        other => other.clone(),
    };
    let is_root = |resource: &&Resource| match resource {
        Resource::Listener(listener) => own(&listener.name),
        Resource::Route(route) => route.attachments.iter().any(|a| own(&a.listener)),
        Resource::TrustBundle(_) => true,
        _ => false,
    };
    let mut pending: Vec<Key> = table.values().filter(is_root).map(Resource::key).collect();
    let mut reached = BTreeSet::new();
    while let Some(key) = pending.pop() {
        if let Some(resource) = table.get(&key)
            && reached.insert(key)
        {
            resource.references(|reference| pending.push(reference));
        }
    }
    reached.into_iter().map(|key| (key.clone(), seen(&table[&key]))).collect()
}
