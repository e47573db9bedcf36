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

/// Who has not edited anything for so long is done.
const CALM: Duration = Duration::from_millis(100);
/// Between two writes while objects are being edited,
const BESIDE_EDITS: Duration = Duration::from_millis(30);
/// and less when so many wait that one would wait for longer than this.
const LATEST: Duration = Duration::from_secs(30);

/// Between two attempts when the API server fails, at first,
const RETRY: Duration = Duration::from_secs(1);
/// and at last, as a power of two of that: a minute.
const LONGEST: u32 = 6;

pub(super) struct Book {
    /// When proxies should all be back.
    pub(super) settled: Instant,
    /// When somebody else last wrote an object.
    pub(super) edited: Option<Instant>,
    pub(super) observed: BTreeMap<ObjectKey, Observed>,
    pub(super) owners: Owners,
    pub(super) desired: BTreeMap<ObjectKey, Value>,
    /// To be looked at.
    pub(super) agenda: Agenda,
    /// Being written.
    pub(super) writing: BTreeSet<ObjectKey>,
    /// How often in a row the API server did not take one.
    failures: BTreeMap<ObjectKey, u32>,
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
    /// To be tried again, each time after twice as long.
    Again,
}

impl Book {
    pub(super) fn new(owners: Owners) -> Self {
        Self {
            settled: Instant::now(),
            edited: None,
            owners,
            observed: BTreeMap::new(),
            desired: BTreeMap::new(),
            agenda: Agenda::default(),
            writing: BTreeSet::new(),
            failures: BTreeMap::new(),
        }
    }

    /// An object is like this now.
    pub(super) fn saw(&mut self, key: ObjectKey, seen: Observed) {
        let known =
            self.observed.get(&key).is_some_and(|one| one.resource_version == seen.resource_version);
        if !known && !self.writing.contains(&key) {
            self.edited = Some(Instant::now());
        }
        self.observed.insert(key, seen);
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

    /// From the beginning of a write to that of the next one. While objects are being edited writes are
    /// few: it is an edit that somebody waits for.
    pub(super) fn interval(&self) -> Duration {
        if self.edited.is_none_or(|at| at.elapsed() >= CALM) {
            return Duration::ZERO;
        }
        BESIDE_EDITS.min(LATEST / u32::try_from(self.agenda.len()).unwrap_or(u32::MAX).max(1))
    }

    pub(super) fn done(&mut self, key: ObjectKey, outcome: Outcome) {
        self.writing.remove(&key);
        if matches!(outcome, Outcome::Again) {
            let times = self.failures.entry(key.clone()).or_default();
            let wait = RETRY * (1 << *times);
            *times = (*times + 1).min(LONGEST);
            self.agenda.add(Instant::now() + wait, key);
            return;
        }
        self.failures.remove(&key);
        if let Outcome::Written { over, now } = outcome
            // What was seen since is newer: it is this, or what somebody wrote over it.
            && let Some(observed) = self.observed.get_mut(&key)
            && observed.resource_version == over
        {
            *observed = now;
        }
    }

    /// An object is gone. What its status should be is told by differences only, and taken back once it is
    /// gone there too; so it stays for an object that is made anew meanwhile.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        self.observed.remove(key);
        self.agenda.remove(key);
        self.failures.remove(key);
        if self.desired.get(key).is_some_and(Value::is_null) {
            self.desired.remove(key);
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
    use std::time::Duration;

    use isthmus_world::{Kind, ObjectKey};
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::{BESIDE_EDITS, Book, CALM, Observed, Outcome};
    use crate::kubernetes::owners::Owners;

    fn seen(resource_version: &str, status: Value) -> Observed {
        Observed {
            api_version: "gateway.networking.k8s.io/v1".to_owned(),
            resource_version: resource_version.to_owned(),
            status,
        }
    }

    #[test]
    fn what_comes_of_a_write_is_nobody_elses_edit() {
        let key = ObjectKey::new(Kind::HttpRoute, "default", "web");
        let mut book = Book::new(Owners::new(None));
        book.saw(key.clone(), seen("9", Value::Null));
        assert!(book.edited.take().is_some());
        book.writing.insert(key.clone());
        book.saw(key.clone(), seen("10", Value::Null));
        book.done(key.clone(), Outcome::Written { over: "9".to_owned(), now: seen("10", Value::Null) });
        book.saw(key.clone(), seen("10", Value::Null));
        assert_eq!(book.edited, None);
        book.saw(key, seen("11", Value::Null));
        assert!(book.edited.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn edits_come_first_and_no_status_waits_for_ever() {
        let (mut book, now) = (Book::new(Owners::new(None)), Instant::now());
        assert_eq!(book.interval(), Duration::ZERO);
        book.saw(ObjectKey::new(Kind::HttpRoute, "default", "web"), seen("9", Value::Null));
        assert_eq!(book.interval(), BESIDE_EDITS);
        for index in 0..3_000 {
            book.agenda.add(now, ObjectKey::new(Kind::HttpRoute, "default", format!("r{index}")));
        }
        assert_eq!(book.interval(), Duration::from_millis(10));
        tokio::time::advance(CALM).await;
        assert_eq!(book.interval(), Duration::ZERO);
    }

    #[test]
    fn f7_what_was_seen_after_a_write_is_not_forgotten_for_its_answer() {
        let key = ObjectKey::new(Kind::HttpRoute, "default", "web");
        let ours = || seen("10", json!({"parents": ["ours"]}));
        let theirs = seen("11", json!({"parents": []}));
        let mut book = Book::new(Owners::new(None));
        for (observed, after) in [(seen("9", Value::Null), ours()), (theirs.clone(), theirs)] {
            book.saw(key.clone(), observed);
            book.done(key.clone(), Outcome::Written { over: "9".to_owned(), now: ours() });
            assert_eq!(book.observed[&key], after);
        }
    }
}
