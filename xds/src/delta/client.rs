//! What a client holds, what it has staged, and what it says to its server.
//!
//! Nothing is handed out before a commit whose checksum agrees with what was received. What was staged when
//! a stream broke is kept and not asked for again. When a checksum does not agree, everything is asked for
//! anew, and the next commit replaces all that is held.

mod staging;

use std::collections::BTreeMap;

use bytes::Bytes;
use isthmus_ir::Name;
use prost::Message;

use self::staging::Staged;
use super::{Checksum, Refused, Report, ResourceId, Schema, TypeIndex, Unbound, Version, message};
use crate::proto::proxy;

/// At most so many bytes of versions in the first request for a type. Whatever does not fit is sent anew.
const INITIAL_BYTES: usize = 3 << 20;

/// What a server may make a client hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Resources, staged ones included.
    pub resources: usize,
    /// Bytes of staged resources.
    pub staged_bytes: usize,
    /// The sum of the weights of resources that are not refused (see [`Weigh`]).
    pub weight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { resources: 1 << 20, staged_bytes: 1 << 30, weight: usize::MAX }
    }
}

/// What counts against [`Limits::weight`].
pub trait Weigh {
    /// How much of it this resource uses up.
    fn weight(&self) -> usize {
        0
    }
}

impl Weigh for isthmus_ir::Resource {}

/// Why a stream is to be ended by the client.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    /// It was not asked for.
    #[error("a response of the type {0:?}, which was not asked for")]
    UnknownType(String),
    /// Versions are hashes.
    #[error("the version of {0:?} is none")]
    InvalidVersion(String),
    /// A commit that is none.
    #[error("the commit cannot be decoded")]
    InvalidCommit,
    /// The server's checksum is of something else. Everything will be asked for anew.
    #[error("the checksum of the commit is not that of what was received")]
    Diverged,
    /// See [`Limits`].
    #[error("the server sends more than it may")]
    TooMuch,
}

/// What is to be done about a response.
#[derive(PartialEq, Debug)]
pub enum Step<T> {
    /// Send this.
    Reply(Box<message::Request>),
    /// Put this in force, then call [`Machine::answer`] and send what it returns.
    Commit(Commit<T>),
}

/// What was staged, as a whole.
#[derive(PartialEq, Eq, Debug)]
pub struct Commit<T> {
    /// The server's name for the result.
    pub revision: u64,
    /// The server's note.
    pub note: Bytes,
    /// Each id once; none is a removal. What was refused is not among them.
    pub changes: Vec<(ResourceId, Option<T>)>,
}

/// A client, from stream to stream.
#[derive(Debug)]
pub struct Machine<T> {
    schema: &'static Schema,
    types: Vec<TypeIndex>,
    limits: Limits,
    /// As of the last commit, refused versions included.
    held: BTreeMap<ResourceId, Version>,
    /// Of held resources, where they have any.
    weights: BTreeMap<ResourceId, usize>,
    refused: BTreeMap<ResourceId, String>,
    staged: BTreeMap<ResourceId, Staged<T>>,
    staged_bytes: usize,
    /// Of what is held, with what is staged put over it.
    checksum: Checksum,
    /// Whether what is staged is to replace what is held, and not to be put over it.
    anew: bool,
    /// The nonce of the last commit on this stream.
    nonce: Option<String>,
    revision: u64,
}

impl<T: Weigh> Machine<T> {
    /// A client of all of `types` that holds nothing yet.
    pub fn new(
        schema: &'static Schema,
        types: impl IntoIterator<Item = TypeIndex>,
        limits: Limits,
    ) -> Self {
        Self {
            schema,
            types: types.into_iter().collect(),
            limits,
            held: BTreeMap::new(),
            weights: BTreeMap::new(),
            refused: BTreeMap::new(),
            staged: BTreeMap::new(),
            staged_bytes: 0,
            checksum: Checksum::default(),
            anew: false,
            nonce: None,
            revision: 0,
        }
    }

    /// Says that these are in force already, with their weights.
    pub fn hold(&mut self, resources: impl IntoIterator<Item = (ResourceId, Version, usize)>) {
        for (id, version, weight) in resources {
            if weight > 0 {
                self.weights.insert(id.clone(), weight);
            }
            self.checksum.add(self.schema, &id, version);
            if let Some(old) = self.held.insert(id.clone(), version) {
                self.checksum.remove(self.schema, &id, old);
            }
        }
    }

    /// The revision and checksum of the last commit on this stream, when nothing was received after it.
    pub fn committed(&self) -> Option<(u64, Checksum)> {
        let settled = self.nonce.is_some() && self.staged.is_empty();
        settled.then_some((self.revision, self.checksum))
    }

    /// Asks for everything anew with the next stream.
    pub fn restart(&mut self) {
        self.anew = true;
        self.staged.clear();
        self.staged_bytes = 0;
        self.checksum = Checksum::default();
    }

    /// Forgets everything, as if it were new: the next commit hands out all that there is.
    pub fn reset(&mut self) {
        self.restart();
        self.anew = false;
        self.held.clear();
        self.weights.clear();
        self.refused.clear();
    }

    /// Whether nothing is held: the next commit hands out all that there is.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What to send at the beginning of a stream.
    pub fn connect(&mut self, node: &message::Node) -> Vec<message::Request> {
        self.nonce = None;
        let data = self.types.iter().map(|kind| message::Request {
            type_url: self.schema.url(*kind).to_owned(),
            resource_names_subscribe: vec!["*".to_owned()],
            initial_resource_versions: self.initial_versions(*kind),
            ..Default::default()
        });
        // The commit comes last: the server knows then what a commit has to cover.
        let type_url = self.schema.commit.to_owned();
        let commit = message::Request { type_url, ..Default::default() };
        let mut requests: Vec<_> = data.chain([commit]).collect();
        if let Some(first) = requests.first_mut() {
            first.node = Some(node.clone());
        }
        requests
    }

    fn initial_versions(&self, kind: TypeIndex) -> BTreeMap<String, String> {
        let of = |id: &&ResourceId| id.kind == kind;
        let from = ResourceId::first(kind);
        let staged = self.staged.range(from.clone()..).map(|(id, s)| (id, s.version()));
        let held = self.held.range(from..).take_while(|(id, _)| !self.anew && id.kind == kind);
        let held = held.filter(|(id, _)| !self.staged.contains_key(id)).map(|(id, v)| (id, Some(*v)));
        let mut bytes = 0;
        let all = staged.take_while(|(id, _)| of(id)).chain(held);
        all.filter_map(|(id, version)| Some((id.name.as_str().to_owned(), version?.to_string())))
            .take_while(|(name, version)| {
                bytes += name.len() + version.len() + 16;
                bytes <= INITIAL_BYTES
            })
            .collect()
    }

    /// Takes in a response. `decode` turns bytes into what is handed out, or says why not.
    ///
    /// # Errors
    /// When the stream makes no sense and has to be ended. What was committed stands.
    pub fn on_response(
        &mut self,
        response: message::Response,
        decode: impl Fn(TypeIndex, &Name, &Bytes) -> Result<T, String>,
    ) -> Result<Step<T>, Violation> {
        if response.type_url == self.schema.commit {
            return self.commit(response).map(Step::Commit);
        }
        let kind = self.schema.find(&response.type_url).filter(|kind| self.types.contains(kind));
        let kind = kind.ok_or_else(|| Violation::UnknownType(response.type_url.clone()))?;
        let refused = self.stage(kind, response.resources, decode)?;
        for name in response.removed_resources {
            self.put(&ResourceId { kind, name: name.into() }, Staged::Removed)?;
        }
        let report = Report { refused, ..Default::default() };
        Ok(Step::Reply(Box::new(message::Request {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail: report.encode(self.schema),
            ..Default::default()
        })))
    }

    fn commit(&mut self, response: message::Response) -> Result<Commit<T>, Violation> {
        let commit = response.resources.into_iter().next().and_then(|r| r.resource);
        let commit = commit.and_then(|any| proxy::Commit::decode(any.value).ok());
        let commit = commit.ok_or(Violation::InvalidCommit)?;
        let theirs = Checksum::from_bytes(&commit.checksum).ok_or(Violation::InvalidCommit)?;
        if theirs != self.checksum {
            self.restart();
            return Err(Violation::Diverged);
        }
        if self.resulting() > self.limits.resources || self.resulting_weight() > self.limits.weight {
            self.too_much()?;
        }
        self.nonce = Some(response.nonce);
        self.revision = commit.revision;
        let changes = self.swap();
        Ok(Commit { revision: commit.revision, note: commit.note, changes })
    }

    /// What to send when the last commit was put in force, but for what is `refused`; `unbound` is all that
    /// is not bound now. It may be called again when that changes. None when there is no commit to answer
    /// on this stream.
    pub fn answer(
        &mut self,
        refused: impl IntoIterator<Item = (ResourceId, String)>,
        unbound: Vec<Unbound>,
    ) -> Option<message::Request> {
        let held = refused.into_iter().filter(|(id, _)| self.held.contains_key(id));
        self.refused.extend(held);
        let refused = self.refused.iter().filter_map(|(id, reason)| {
            let version = *self.held.get(id)?;
            Some(Refused { id: id.clone(), version, reason: reason.clone() })
        });
        let report = Report { refused: refused.collect(), unbound, omitted: 0 };
        Some(message::Request {
            type_url: self.schema.commit.to_owned(),
            response_nonce: self.nonce.clone()?,
            error_detail: report.encode(self.schema),
            ..Default::default()
        })
    }
}
