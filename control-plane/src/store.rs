//! Objects with their status, as people see them: what `isthmus get` shows.
//!
//! Takes what the source declares and what the compiler says of it; decides only when a condition last
//! changed. Secrets are kept without their data (design, invariant 5).

pub(crate) mod conditions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::files::{
    kinds::{FileKind, ObjectId},
    set::Edit,
};

/// Objects with their status.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<ObjectId, Value>,
    statuses: BTreeMap<ObjectId, Value>,
    acked: BTreeMap<String, u64>,
}

/// A status that was remembered.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StatusRecord {
    /// Whose.
    pub id: ObjectId,
    /// None when there is none any more.
    pub status: Option<Value>,
}

/// Which objects are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// The group of the kind.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Their namespace; none means all.
    pub namespace: Option<String>,
    /// Their name; none means all.
    pub name: Option<String>,
}

impl Store {
    /// A store that knows when conditions changed before a restart.
    pub fn new(remembered: impl IntoIterator<Item = StatusRecord>) -> Self {
        let mut statuses = BTreeMap::new();
        for StatusRecord { id, status } in remembered {
            match status {
                Some(status) => drop(statuses.insert(id, status)),
                None => drop(statuses.remove(&id)),
            }
        }
        Self { statuses, ..Self::default() }
    }

    /// Takes an edit of the source in.
    pub fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Upsert(id, object) => self.put(id.clone(), object.clone()),
            Edit::Delete(id) => {
                self.objects.remove(id);
            }
            // One that was never good is shown all the same, with the status that says why.
            Edit::Problem { id, object, .. } if !self.objects.contains_key(id) => {
                self.put(id.clone(), object.clone());
            }
            Edit::Problem { .. } => {}
        }
    }

    /// Adds or replaces an object.
    pub fn put(&mut self, id: ObjectId, mut object: Value) {
        if FileKind::of(&id.group, &id.kind).is_some_and(FileKind::secret) {
            for field in ["data", "stringData"] {
                let values = object.get_mut(field).and_then(Value::as_object_mut);
                values.into_iter().flatten().for_each(|(_, value)| *value = json!("(not shown)"));
            }
        }
        self.objects.insert(id, object);
    }

    /// Removes an object and its status; what is to be remembered.
    pub fn remove(&mut self, id: &ObjectId) -> Option<StatusRecord> {
        self.objects.remove(id);
        self.statuses.remove(id).map(|_| StatusRecord { id: id.clone(), status: None })
    }

    /// Removes what was remembered of objects that are gone; what is to be remembered of that.
    pub fn prune(&mut self) -> Vec<StatusRecord> {
        let gone = self.statuses.keys().filter(|id| !self.objects.contains_key(*id)).cloned();
        let gone: Vec<ObjectId> = gone.collect();
        gone.iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Replaces the status of an object at `now` (RFC 3339), conditions without `lastTransitionTime`
    /// getting theirs. What is to be remembered, if anything changed.
    pub fn set_status(
        &mut self,
        id: ObjectId,
        status: Option<Value>,
        now: &str,
    ) -> Option<StatusRecord> {
        let old = self.statuses.get(&id);
        let status = status.map(|mut status| {
            conditions::stamp(&mut status, old, now);
            status
        });
        if old == status.as_ref() {
            return None;
        }
        match &status {
            Some(status) => drop(self.statuses.insert(id.clone(), status.clone())),
            None => drop(self.statuses.remove(&id)),
        }
        Some(StatusRecord { id, status })
    }

    /// Takes in the newest revision that `proxy` acked; none when it is gone.
    pub fn set_acked(&mut self, proxy: &str, revision: Option<u64>) {
        match revision {
            Some(revision) => drop(self.acked.insert(proxy.to_owned(), revision)),
            None => drop(self.acked.remove(proxy)),
        }
    }

    /// The newest revision that `proxy` acked.
    pub fn acked(&self, proxy: &str) -> Option<u64> {
        self.acked.get(proxy).copied()
    }

    /// How many statuses there are.
    pub fn status_count(&self) -> usize {
        self.statuses.len()
    }

    /// Every status, to begin a new record with.
    pub fn records(&self) -> impl Iterator<Item = StatusRecord> + '_ {
        let record = |(id, status): (&ObjectId, &Value)| StatusRecord {
            id: id.clone(),
            status: Some(status.clone()),
        };
        self.statuses.iter().map(record)
    }

    /// The status of an object.
    pub fn status(&self, id: &ObjectId) -> Option<&Value> {
        self.statuses.get(id)
    }

    /// Whether there is an object of a kind of Gateway API without namespace.
    pub fn has(&self, kind: &str, name: &str) -> bool {
        self.ids(isthmus_gateway::GROUP, kind).any(|id| id.name == name)
    }

    /// Ids of all objects of a kind.
    pub fn ids(&self, group: &str, kind: &str) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys().filter(move |id| id.group == group && id.kind == kind)
    }

    /// The objects that are asked for, with their status, in order of namespace and name.
    pub fn select(&self, selection: &Selection) -> Vec<Value> {
        let wanted = |id: &&ObjectId| {
            selection.namespace.as_ref().is_none_or(|n| id.namespace.is_empty() || *n == id.namespace)
                && selection.name.as_ref().is_none_or(|name| *name == id.name)
        };
        self.ids(&selection.group, &selection.kind)
            .filter(wanted)
            .filter_map(|id| {
                let mut object = self.objects.get(id)?.clone();
                if let (Some(status), Some(fields)) = (self.statuses.get(id), object.as_object_mut()) {
                    fields.insert("status".to_owned(), status.clone());
                }
                Some(object)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Selection, Store};
    use crate::files::{kinds::ObjectId, set::Edit};

    fn id(kind: &str, namespace: &str, name: &str) -> ObjectId {
        let text = |text: &str| text.to_owned();
        ObjectId { group: String::new(), kind: text(kind), namespace: text(namespace), name: text(name) }
    }

    fn select(store: &Store, kind: &str, namespace: Option<&str>) -> Vec<serde_json::Value> {
        let (kind, namespace) = (kind.to_owned(), namespace.map(str::to_owned));
        store.select(&Selection { kind, namespace, ..Selection::default() })
    }

    #[test]
    fn d18_data_of_secrets_is_not_kept() {
        let mut store = Store::default();
        let object = json!({"kind": "Secret", "data": {"tls.key": "c2VjcmV0"}});
        store.edit(&Edit::Upsert(id("Secret", "shop", "cert"), object));
        assert!(!format!("{store:?}").contains("c2VjcmV0"));
        assert_eq!(select(&store, "Secret", None)[0]["data"]["tls.key"], "(not shown)");
    }

    #[test]
    fn status_comes_with_its_object_and_times_stay() {
        let mut store = Store::default();
        let id = id("Service", "shop", "a");
        store.edit(&Edit::Upsert(id.clone(), json!({"spec": 1})));
        let status = |status: &str| {
            Some(json!({"conditions": [{"type": "Ready", "status": status, "reason": "R"}]}))
        };
        assert!(store.set_status(id.clone(), status("True"), "t1").is_some());
        assert!(store.set_status(id.clone(), status("True"), "t2").is_none());
        let shown = select(&store, "Service", Some("shop"));
        assert_eq!(shown[0]["status"]["conditions"][0]["lastTransitionTime"], "t1");
        assert_eq!(select(&store, "Service", Some("other")), Vec::<serde_json::Value>::new());
        let mut restarted = Store::new(store.records());
        restarted.edit(&Edit::Upsert(id.clone(), json!({"spec": 1})));
        assert!(restarted.set_status(id.clone(), status("True"), "t3").is_none());
        assert!(restarted.set_status(id.clone(), status("False"), "t4").is_some());
        let shown = select(&restarted, "Service", None);
        assert_eq!(shown[0]["status"]["conditions"][0]["lastTransitionTime"], "t4");
        restarted.edit(&Edit::Delete(id.clone()));
        assert_eq!(restarted.prune(), [super::StatusRecord { id, status: None }]);
        assert_eq!(restarted.records().count(), 0);
    }
}
