//! What a server publishes: the latest resources, and which of them changed lately. Older states are not
//! kept; so a slow client costs nothing but its own delay.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use bytes::Bytes;

use super::{Checksum, ResourceId, Schema, TypeIndex, Version};

/// A client that is behind by more edits than this is compared with the whole set.
const LOGGED_EDITS: usize = 8192;

/// One resource as it is sent. It shows no content: that may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub value: Bytes,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.version, f)
    }
}

/// The latest resources, with a bounded log of edits.
#[derive(Clone, Debug)]
pub struct Set {
    schema: &'static Schema,
    revision: u64,
    sequence: u64,
    entries: BTreeMap<ResourceId, Entry>,
    checksum: Checksum,
    note: Bytes,
    log: VecDeque<Edits>,
    logged: usize,
}

/// What one publication changed.
#[derive(Clone, Debug)]
struct Edits {
    sequence: u64,
    ids: Vec<ResourceId>,
}

impl Set {
    /// The empty set, at revision 0.
    pub fn new(schema: &'static Schema) -> Self {
        Self {
            schema,
            revision: 0,
            sequence: 0,
            entries: BTreeMap::new(),
            checksum: Checksum::default(),
            note: Bytes::new(),
            log: VecDeque::new(),
            logged: 0,
        }
    }

    /// Makes the edits, none being a removal, and calls the result `revision`. What is equal to what is
    /// there is no edit.
    pub fn apply(
        &mut self,
        revision: u64,
        edits: impl IntoIterator<Item = (ResourceId, Option<Entry>)>,
    ) {
        self.revision = revision;
        self.sequence += 1;
        let mut ids = Vec::new();
        for (id, entry) in edits {
            if self.replace(&id, entry) {
                ids.push(id);
            }
        }
        self.logged += ids.len();
        self.log.push_back(Edits { sequence: self.sequence, ids });
        self.trim();
    }

    /// Whether anything came of it.
    fn replace(&mut self, id: &ResourceId, entry: Option<Entry>) -> bool {
        let old = self.entries.get(id).map(|e| e.version);
        if old == entry.as_ref().map(|e| e.version) {
            return false;
        }
        if let Some(version) = old {
            self.checksum.remove(self.schema, id, version);
        }
        match entry {
            Some(entry) => {
                self.checksum.add(self.schema, id, entry.version);
                self.entries.insert(id.clone(), entry);
            }
            None => drop(self.entries.remove(id)),
        }
        true
    }

    fn trim(&mut self) {
        while self.logged > LOGGED_EDITS || self.log.len() > LOGGED_EDITS {
            let Some(oldest) = self.log.pop_front() else { break };
            self.logged -= oldest.ids.len();
        }
    }

    /// The types of its resources.
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// The revision of the last publication.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The checksum of all resources.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// See [`Set::annotate`].
    pub fn note(&self) -> &Bytes {
        &self.note
    }

    /// Gives commits a note, which means nothing to the machines.
    pub fn annotate(&mut self, note: Bytes) {
        self.note = note;
    }

    /// A resource, when there is one of this id.
    pub fn find(&self, id: &ResourceId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// The resources of a type, in order of name.
    pub fn of_type(&self, kind: TypeIndex) -> impl Iterator<Item = (&ResourceId, &Entry)> {
        self.entries.range(ResourceId::first(kind)..).take_while(move |(id, _)| id.kind == kind)
    }

    /// How many publications there were.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What was edited after the publication `sequence`; none when the log does not reach back so far.
    pub(super) fn edited_since(&self, sequence: u64) -> Option<impl Iterator<Item = &ResourceId>> {
        let missing = usize::try_from(self.sequence.checked_sub(sequence)?).ok()?;
        let start = self.log.len().checked_sub(missing)?;
        debug_assert!(self.log.get(start).is_none_or(|edits| edits.sequence == sequence + 1));
        Some(self.log.range(start..).flat_map(|edits| &edits.ids))
    }
}
