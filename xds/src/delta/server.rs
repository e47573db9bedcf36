//! What a server knows of one client's stream, and what it sends next.
//!
//! It keeps the version of everything that it has sent, and sends whatever differs from the latest set; so
//! it can neither forget nor repeat itself, however the set changes in between. A commit ends a run of
//! differences, and nothing follows it before its answer: a slow client is sent the latest, never a queue.
//!
//! What a client refused counts as sent. It is not sent again until it changes.

mod interest;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use isthmus_ir::Name;
use prost::Message;

use self::interest::Interest;
use super::{Checksum, Entry, Refused, Report, ResourceId, Schema, Set, TypeIndex, Version, message};
use crate::proto::proxy;

/// What one client may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A response is ended before it gets larger than so many bytes, if it has more than one resource.
    pub response_bytes: usize,
    /// A resource that is larger is not sent; it is reported as refused.
    pub resource_bytes: usize,
    /// Names that a client may subscribe to or say that it holds, all types together.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { response_bytes: 1 << 20, resource_bytes: 3 << 20, names: 1 << 18 }
    }
}

/// Why a stream is to be ended by the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// See [`Limits::names`].
    #[error("more names than a client may subscribe to")]
    TooManyNames,
}

/// An answer to a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The revision that is in force at the client now, but for what the report names.
    pub revision: u64,
    /// What it could not do.
    pub report: Report,
}

/// One client's stream, from its beginning to its end.
#[derive(Debug)]
pub struct Subscriber {
    schema: &'static Schema,
    limits: Limits,
    interests: BTreeMap<TypeIndex, Interest>,
    /// What the client holds, refused or not, when it has read all that was sent.
    known: BTreeMap<ResourceId, Version>,
    checksum: Checksum,
    /// What may differ from the set. Everything else does not.
    dirty: BTreeSet<ResourceId>,
    /// What is to be answered even if nothing differs.
    asked: BTreeSet<ResourceId>,
    /// Types that the client has come to want all of since the last time.
    unlisted: BTreeSet<TypeIndex>,
    oversize: BTreeMap<ResourceId, Version>,
    /// Names that are subscribed to, or that the client has said that it holds.
    names: usize,
    /// The publication that `dirty` is up to date with.
    seen: Option<u64>,
    barrier: Barrier,
    nonce: u64,
}

/// Where a client is with its commits.
#[derive(Debug, Default)]
struct Barrier {
    subscribed: bool,
    sent: Option<Sent>,
    answered: bool,
    /// Whether anything was sent after the last commit.
    open: bool,
}

#[derive(Debug)]
struct Sent {
    nonce: String,
    revision: u64,
    checksum: Checksum,
}

impl Subscriber {
    /// A stream that has just begun.
    pub fn new(schema: &'static Schema, limits: Limits) -> Self {
        Self {
            schema,
            limits,
            interests: BTreeMap::new(),
            known: BTreeMap::new(),
            checksum: Checksum::default(),
            dirty: BTreeSet::new(),
            asked: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            oversize: BTreeMap::new(),
            names: 0,
            seen: None,
            barrier: Barrier::default(),
            nonce: 0,
        }
    }

    /// The checksum of what the client holds, when the last commit has told it all of `set`.
    pub fn settled(&self, set: &Set) -> Option<Checksum> {
        let told = self.barrier.sent.as_ref().is_some_and(|sent| sent.revision == set.revision());
        let rest = self.barrier.open || !self.dirty.is_empty() || self.seen != Some(set.sequence());
        (told && !rest).then_some(self.checksum)
    }

    /// Takes in a request. An answer to anything but the last commit says nothing new; so nonces of the
    /// past do nothing. Types that the schema does not have are never sent.
    ///
    /// # Errors
    /// When the client asks for more than it may.
    pub fn on_request(&mut self, request: message::Request) -> Result<Option<Answer>, Violation> {
        if request.type_url == self.schema.commit {
            return Ok(self.on_commit_request(&request));
        }
        if let Some(kind) = self.schema.find(&request.type_url)
            && (request.response_nonce.is_empty() || self.interests.contains_key(&kind))
        {
            self.subscribe(kind, request)?;
        }
        Ok(None)
    }

    fn on_commit_request(&mut self, request: &message::Request) -> Option<Answer> {
        self.barrier.subscribed |= request.response_nonce.is_empty();
        let sent = self.barrier.sent.as_ref().filter(|sent| sent.nonce == request.response_nonce)?;
        let revision = sent.revision;
        self.barrier.answered = true;
        let mut report = match &request.error_detail {
            Some(status) => Report::decode(self.schema, status)?,
            None => Report::default(),
        };
        report.refused.extend(self.oversize.iter().map(|(id, version)| Refused {
            id: id.clone(),
            version: *version,
            reason: "it is larger than a message may be".to_owned(),
        }));
        Some(Answer { revision, report })
    }

    /// The next response, when there is something to say.
    pub fn poll(&mut self, set: &Set) -> Option<message::Response> {
        if self.barrier.sent.is_some() && !self.barrier.answered {
            return None;
        }
        self.absorb(set);
        while let Some(kind) = self.dirty.last().map(|id| id.kind) {
            if let Some(response) = self.differences(kind, set) {
                self.barrier.open = true;
                return Some(response);
            }
        }
        self.commit(set)
    }

    /// Marks what was edited, or has come to be wanted, since the last time.
    fn absorb(&mut self, set: &Set) {
        while let Some(kind) = self.unlisted.pop_first() {
            if let Some(interest) = self.interests.get(&kind) {
                interest.all(kind, set, &mut self.dirty);
            }
        }
        let sequence = set.sequence();
        if self.seen == Some(sequence) {
            return;
        }
        match self.seen.and_then(|seen| set.edited_since(seen)) {
            Some(ids) => self.dirty.extend(ids.cloned()),
            None => self.mark_all(set),
        }
        self.seen = Some(sequence);
    }

    fn mark_all(&mut self, set: &Set) {
        self.dirty.extend(self.known.keys().cloned());
        for (kind, interest) in &self.interests {
            interest.all(*kind, set, &mut self.dirty);
        }
    }

    /// What differs in one type, as far as it fits; none when nothing does.
    fn differences(&mut self, kind: TypeIndex, set: &Set) -> Option<message::Response> {
        let mut response = message::Response::default();
        let mut bytes = 0;
        while let Some(id) = self.dirty.last().filter(|id| id.kind == kind) {
            let entry = self.visible(id).then(|| set.find(id)).flatten();
            let cost = id.name.as_str().len() + entry.map_or(0, |e| e.value.len()) + 128;
            if bytes > 0 && bytes + cost > self.limits.response_bytes {
                break;
            }
            let Some(id) = self.dirty.pop_last() else { break };
            if self.difference(id, entry, &mut response) {
                bytes += cost;
            }
        }
        (bytes > 0).then(|| self.stamped(response, self.schema.url(kind), set.revision()))
    }

    /// Adds what is to be said of one resource, if anything.
    fn difference(
        &mut self,
        id: ResourceId,
        entry: Option<&Entry>,
        response: &mut message::Response,
    ) -> bool {
        let asked = self.asked.remove(&id);
        self.oversize.remove(&id);
        let known = self.known.get(&id).copied();
        match entry {
            Some(entry) if known == Some(entry.version) => false,
            Some(entry) if entry.value.len() > self.limits.resource_bytes => {
                self.oversize.insert(id, entry.version);
                false
            }
            Some(entry) => {
                response.resources.push(resource(self.schema, &id, entry));
                self.learn(&id, entry.version);
                true
            }
            None if known.is_some() || asked => {
                response.removed_resources.push(id.name.as_str().to_owned());
                self.forget(&id);
                true
            }
            None => false,
        }
    }

    fn commit(&mut self, set: &Set) -> Option<message::Response> {
        let revision = set.revision();
        let same = |sent: &Sent| (sent.revision, sent.checksum) == (revision, self.checksum);
        let due = self.barrier.open || !self.barrier.sent.as_ref().is_some_and(same);
        if !(self.barrier.subscribed && due) {
            return None;
        }
        let checksum = Bytes::copy_from_slice(&self.checksum.to_bytes());
        let value = proxy::Commit { revision, checksum, note: set.note().clone() }.encode_to_vec();
        let entry = Entry { version: Version::of(&value), value: value.into() };
        let any = message::Any { type_url: self.schema.commit.to_owned(), value: entry.value };
        let resource = message::Resource {
            name: "snapshot".to_owned(),
            version: entry.version.to_string(),
            resource: Some(any),
        };
        let response = message::Response { resources: vec![resource], ..Default::default() };
        let response = self.stamped(response, self.schema.commit, revision);
        let nonce = response.nonce.clone();
        self.barrier = Barrier {
            subscribed: true,
            sent: Some(Sent { nonce, revision, checksum: self.checksum }),
            answered: false,
            open: false,
        };
        Some(response)
    }

    fn stamped(
        &mut self,
        response: message::Response,
        type_url: &str,
        revision: u64,
    ) -> message::Response {
        self.nonce += 1;
        message::Response {
            system_version_info: revision.to_string(),
            type_url: type_url.to_owned(),
            nonce: self.nonce.to_string(),
            ..response
        }
    }

    fn learn(&mut self, id: &ResourceId, version: Version) {
        self.checksum.add(self.schema, id, version);
        if let Some(old) = self.known.insert(id.clone(), version) {
            self.checksum.remove(self.schema, id, old);
        }
    }

    fn forget(&mut self, id: &ResourceId) {
        if let Some(old) = self.known.remove(id) {
            self.checksum.remove(self.schema, id, old);
        }
    }

    fn visible(&self, id: &ResourceId) -> bool {
        self.interests.get(&id.kind).is_some_and(|interest| interest.covers(&id.name))
    }
}

fn resource(schema: &Schema, id: &ResourceId, entry: &Entry) -> message::Resource {
    let any = message::Any { type_url: schema.url(id.kind).to_owned(), value: entry.value.clone() };
    message::Resource {
        name: id.name.as_str().to_owned(),
        version: entry.version.to_string(),
        resource: Some(any),
    }
}

fn id(kind: TypeIndex, name: String) -> ResourceId {
    ResourceId { kind, name: Name::from(name) }
}
