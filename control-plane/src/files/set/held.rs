//! One object in force: where it came from, and what an API server would have counted about it.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Edit, FileKind, ObjectId, Outcome};
use crate::files::document::timestamp;

/// One line of what is remembered across restarts; later ones replace earlier ones.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// An object, new or changed.
    Put(Stored),
    /// An object is gone.
    Remove(ObjectId),
}

/// What is remembered of an object.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    id: ObjectId,
    root: Arc<str>,
    file: Arc<str>,
    uid: String,
    generation: i64,
    first_seen: i64,
    /// The last good version; not of kinds that hold secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Value>,
    /// What the generation is of, when there is no `written`.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
}

/// An object in force.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) root: Arc<str>,
    pub(super) file: Arc<str>,
    /// The last good version as documents have it; none for one with secrets after a restart.
    pub(super) written: Option<Value>,
    pub(super) missing_since: Option<Duration>,
    digest: Option<String>,
    uid: String,
    generation: i64,
    first_seen: i64,
    /// Whether an edit has brought it in since the start.
    pub(super) told: bool,
    /// What was said to be wrong with its newest version.
    problem: Option<(Option<String>, String)>,
}

impl Held {
    pub(super) fn new(written: Value, from: (&Arc<str>, &Arc<str>), uid: String, now: i64) -> Self {
        Self {
            root: from.0.clone(),
            file: from.1.clone(),
            written: Some(written),
            missing_since: None,
            digest: None,
            uid,
            generation: 1,
            first_seen: now,
            told: true,
            problem: None,
        }
    }

    /// An object of which there has been no good version.
    pub(super) fn refused(from: (&Arc<str>, &Arc<str>), uid: String, now: i64) -> Self {
        Self { written: None, generation: 0, ..Self::new(Value::Null, from, uid, now) }
    }

    pub(super) fn restore(stored: Stored) -> (ObjectId, Self) {
        let held = Self {
            root: stored.root,
            file: stored.file,
            written: stored.written,
            missing_since: None,
            digest: stored.digest,
            uid: stored.uid,
            generation: stored.generation,
            first_seen: stored.first_seen,
            told: false,
            problem: None,
        };
        (stored.id, held)
    }

    /// What to remember of it; none when there has been no good version.
    pub(super) fn record(&self, id: &ObjectId) -> Option<Record> {
        if self.generation == 0 {
            return None;
        }
        let secret = FileKind::of(&id.group, &id.kind).is_none_or(FileKind::secret);
        let digest = || self.written.as_ref().map_or_else(|| self.digest.clone(), |w| Some(digest(w)));
        Some(Record::Put(Stored {
            id: id.clone(),
            root: self.root.clone(),
            file: self.file.clone(),
            uid: self.uid.clone(),
            generation: self.generation,
            first_seen: self.first_seen,
            written: self.written.clone().filter(|_| !secret),
            digest: secret.then(digest).flatten(),
        }))
    }

    /// Takes a good version in.
    pub(super) fn accept(
        &mut self,
        id: &ObjectId,
        written: &Value,
        from: (&Arc<str>, &Arc<str>),
        outcome: &mut Outcome,
    ) {
        self.missing_since = None;
        let moved = (&self.root, &self.file) != from;
        let same = self.written.as_ref() == Some(written);
        if same && self.told && self.problem.is_none() && !moved {
            return;
        }
        if !same && !self.declares(written) {
            self.generation += 1;
        }
        (self.root, self.file) = (from.0.clone(), from.1.clone());
        let news = !same || !self.told || self.problem.is_some();
        self.written = Some(written.clone());
        (self.told, self.problem) = (true, None);
        if news {
            outcome.edits.push(Edit::Upsert(id.clone(), self.object()));
        }
        if moved || !same {
            outcome.records.extend(self.record(id));
        }
    }

    /// Refuses a version: the one before stands.
    pub(super) fn refuse(
        &mut self,
        id: &ObjectId,
        written: &Value,
        problem: (Option<String>, String),
        outcome: &mut Outcome,
    ) {
        self.stand(id, outcome);
        if self.problem.as_ref() == Some(&problem) {
            return;
        }
        self.problem = Some(problem.clone());
        let (field, message) = problem;
        let object = self.completed(written.clone(), self.generation + 1);
        outcome.edits.push(Edit::Problem { id: id.clone(), object, field, message });
    }

    /// Brings the remembered version in, when nothing has yet.
    pub(super) fn stand(&mut self, id: &ObjectId, outcome: &mut Outcome) {
        if !self.told && self.written.is_some() {
            self.told = true;
            outcome.edits.push(Edit::Upsert(id.clone(), self.object()));
        }
    }

    /// The object as an API server would hand it out.
    pub(super) fn object(&self) -> Value {
        self.completed(self.written.clone().unwrap_or_default(), self.generation)
    }

    fn completed(&self, mut object: Value, generation: i64) -> Value {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            let created = metadata.get("creationTimestamp").and_then(Value::as_str).and_then(timestamp);
            let created = rfc3339(created.unwrap_or(self.first_seen));
            metadata.insert("creationTimestamp".to_owned(), json!(created));
            metadata.insert("uid".to_owned(), json!(self.uid));
            metadata.insert("generation".to_owned(), json!(generation));
        }
        object
    }

    /// Whether `written` declares the same, whatever its metadata.
    fn declares(&self, written: &Value) -> bool {
        match &self.written {
            Some(old) => declaration(old).eq(declaration(written)),
            None => self.digest.as_deref() == Some(&digest(written)),
        }
    }
}

/// What a generation counts: everything but `metadata` and the version that it is written in.
fn declaration(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "apiVersion" | "status"))
}

fn digest(object: &Value) -> String {
    let mut hash = Sha256::new();
    for (name, value) in declaration(object) {
        hash.update(name.as_bytes());
        hash.update(value.to_string().as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

fn rfc3339(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}
