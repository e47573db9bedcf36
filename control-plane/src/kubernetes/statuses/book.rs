//! What statuses are, what they should be, and when which of them is looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use isthmus_api_server::DynamicObject;
use isthmus_world::ObjectKey;
use serde_json::Value;
use tokio::time::Instant;

use super::agenda::Agenda;
use crate::kubernetes::owners::Owners;

pub(super) struct Book {
    /// When proxies should all be back.
    pub(super) settled: Instant,
    pub(super) observed: BTreeMap<ObjectKey, Observed>,
    pub(super) owners: Owners,
    pub(super) desired: BTreeMap<ObjectKey, Value>,
    /// To be looked at.
    pub(super) agenda: Agenda,
    /// Being written.
    pub(super) writing: BTreeSet<ObjectKey>,
}

/// An object as it was last seen.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Observed {
    pub(super) api_version: String,
    pub(super) resource_version: String,
    pub(super) status: Value,
}

/// What came of a write.
pub(super) enum Outcome {
    /// It is there now, over this `resourceVersion`.
    Written { over: String, now: Observed },
    /// The object is gone, or will never take it; nothing is left to do.
    Pointless,
    /// To be tried again after so long.
    Again(Duration),
}

impl Book {
    pub(super) fn new(owners: Owners) -> Self {
        Self {
            settled: Instant::now(),
            owners,
            observed: BTreeMap::new(),
            desired: BTreeMap::new(),
            agenda: Agenda::default(),
            writing: BTreeSet::new(),
        }
    }

    pub(super) fn look_at_all(&mut self) {
        let now = Instant::now();
        for key in self.desired.keys() {
            self.agenda.add(now, key.clone());
        }
    }

    /// One that is to be looked at and is not being written.
    pub(super) fn ready(&mut self) -> Option<ObjectKey> {
        self.agenda.take(Instant::now(), &self.writing)
    }

    /// When there is something to be looked at next.
    pub(super) fn later(&self) -> Option<Instant> {
        self.agenda.next(&self.writing)
    }

    pub(super) fn done(&mut self, key: ObjectKey, outcome: Outcome) {
        self.writing.remove(&key);
        match outcome {
            Outcome::Written { over, now } => {
                // What was seen since is newer: it is this, or what somebody wrote over it.
                if let Some(observed) = self.observed.get_mut(&key)
                    && observed.resource_version == over
                {
                    *observed = now;
                }
            }
            Outcome::Pointless => {}
            Outcome::Again(wait) => self.agenda.add(Instant::now() + wait, key),
        }
    }
}

impl Observed {
    pub(super) fn of(object: &DynamicObject) -> Option<Self> {
        Some(Self {
            api_version: object.types.as_ref()?.api_version.clone(),
            resource_version: object.metadata.resource_version.clone()?,
            status: object.data.get("status").cloned().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use isthmus_world::{Kind, ObjectKey};
    use serde_json::{Value, json};

    use super::{Book, Observed, Outcome};
    use crate::kubernetes::owners::Owners;

    fn seen(resource_version: &str, status: Value) -> Observed {
        Observed {
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            resource_version: resource_version.to_owned(),
            status,
        }
    }

    #[test]
    fn f7_what_was_seen_after_a_write_is_not_forgotten_for_its_answer() {
        let key = ObjectKey::new(Kind::HttpRoute, "default", "web");
        let ours = || seen("10", json!({"parents": ["ours"]}));
        let theirs = seen("11", json!({"parents": []}));
        let mut book = Book::new(Owners::new(None));
        for (observed, after) in [(seen("9", Value::Null), ours()), (theirs.clone(), theirs)] {
            book.observed.insert(key.clone(), observed);
            book.done(key.clone(), Outcome::Written { over: "9".to_owned(), now: ours() });
            assert_eq!(book.observed[&key], after);
        }
    }
}
