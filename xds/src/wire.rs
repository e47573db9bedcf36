//! IR <-> protobuf, both ways and strict: what is not understood is refused, and nothing is guessed.
//!
//! A resource's version is a hash of its bytes. Decoding refuses an unknown feature, an unknown field, an
//! oneof that is not set, an enum that is unspecified or unknown, and whatever the IR documents as
//! impossible; so that a proxy never matches more than was asked.

mod certificate;
mod endpoints;
mod filter;
mod handle;
mod listener;
mod peer;
mod read;
mod route;
mod service;
pub mod snapshot;
mod trust;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use isthmus_ir::{Key, Kind, Name, Resource};
use prost::Message;

use crate::delta::{Entry, ResourceId, Schema, TypeIndex, Version};

/// The types that proxies are told: [`Kind::ALL`], in its order.
pub const SCHEMA: Schema = Schema {
    types: &[
        "type.isthmus.dev/isthmus.proxy.v1.Listener",
        "type.isthmus.dev/isthmus.proxy.v1.Route",
        "type.isthmus.dev/isthmus.proxy.v1.Handle",
        "type.isthmus.dev/isthmus.proxy.v1.Certificate",
        "type.isthmus.dev/isthmus.proxy.v1.Service",
        "type.isthmus.dev/isthmus.proxy.v1.Endpoints",
        "type.isthmus.dev/isthmus.proxy.v1.Peer",
        "type.isthmus.dev/isthmus.proxy.v1.TrustBundle",
    ],
    commit: "type.isthmus.dev/isthmus.proxy.v1.Commit",
    report: "type.isthmus.dev/isthmus.proxy.v1.Report",
};

/// A resource as it is sent. It shows no content: that may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Its type.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The hash of `value`.
    pub version: Version,
    /// The protobuf message.
    pub value: Bytes,
}

impl Encoded {
    /// As it is published.
    pub fn entry(self) -> (ResourceId, Entry) {
        let id = ResourceId { kind: index(self.kind), name: self.name };
        (id, Entry { version: self.version, value: self.value })
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.kind.as_str(), self.name, self.version)
    }
}

/// What this program can do beyond the first schema. A field or a variant that is added to a resource later
/// comes with a feature here, which [`encode`] lists in each resource that makes use of it.
const FEATURES: [&str; 0] = [];

/// Why a resource was not taken. Its last good version stays in force.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It is no message of its type.
    #[error("it cannot be decoded: {0}")]
    Malformed(String),
    /// It needs what this program does not have.
    #[error("it requires the feature {0:?}, which this program does not have")]
    Feature(String),
    /// This program would have written what it understood of it in another way.
    #[error("it has fields that this program does not know, or values that are not in their one form")]
    NotUnderstood,
    /// A oneof, a message or an enum that must be set is not, or holds what this program does not know.
    #[error("{0} is not set, or is of a kind that this program does not know")]
    Unset(&'static str),
    /// A value that the IR does not allow.
    #[error("{field}: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// A resource as bytes. What the IR documents as impossible in it will be refused where it is decoded.
pub fn encode(resource: &Resource) -> Encoded {
    let value = match resource {
        Resource::Listener(r) => listener::encode(r).encode_to_vec(),
        Resource::Route(r) => route::encode(r).encode_to_vec(),
        Resource::Handle(r) => handle::encode(r).encode_to_vec(),
        Resource::Certificate(r) => certificate::encode(r).encode_to_vec(),
        Resource::Service(r) => service::encode(r).encode_to_vec(),
        Resource::Endpoints(r) => endpoints::encode(r).encode_to_vec(),
        Resource::Peer(r) => peer::encode(r).encode_to_vec(),
        Resource::TrustBundle(r) => trust::encode(r).encode_to_vec(),
    };
    let Key { kind, name } = resource.key();
    Encoded { kind, name, version: Version::of(&value), value: value.into() }
}

/// The resource `name` of `kind` from its bytes.
///
/// # Errors
/// When it is not understood to the last byte: then [`encode`] does not give the same bytes again, as
/// encoding is deterministic.
pub fn decode(kind: Kind, name: &Name, value: &Bytes) -> Result<Resource, Refusal> {
    let resource = read(kind, name.clone(), value)?;
    if encode(&resource).value != *value {
        return Err(Refusal::NotUnderstood);
    }
    Ok(resource)
}

fn read(kind: Kind, name: Name, value: &Bytes) -> Result<Resource, Refusal> {
    Ok(match kind {
        Kind::Listener => Resource::Listener(Arc::new(listener::decode(name, value)?)),
        Kind::Route => Resource::Route(Arc::new(route::decode(name, value)?)),
        Kind::Handle => Resource::Handle(Arc::new(handle::decode(name, value)?)),
        Kind::Certificate => Resource::Certificate(Arc::new(certificate::decode(name, value)?)),
        Kind::Service => Resource::Service(Arc::new(service::decode(name, value)?)),
        Kind::Endpoints => Resource::Endpoints(Arc::new(endpoints::decode(name, value)?)),
        Kind::Peer => Resource::Peer(Arc::new(peer::decode(name, value)?)),
        Kind::TrustBundle => Resource::TrustBundle(Arc::new(trust::decode(&name, value)?)),
    })
}

/// How a resource is called on a stream.
pub fn id(key: &Key) -> ResourceId {
    ResourceId { kind: index(key.kind), name: key.name.clone() }
}

/// The key of a resource; none for a type that is not of [`SCHEMA`].
pub fn key(id: &ResourceId) -> Option<Key> {
    Some(Key { kind: kind(id.kind)?, name: id.name.clone() })
}

/// The type of a kind in [`SCHEMA`].
pub fn index(kind: Kind) -> TypeIndex {
    TypeIndex(kind as u8)
}

/// The kind of a type of [`SCHEMA`].
pub fn kind(index: TypeIndex) -> Option<Kind> {
    Kind::ALL.get(usize::from(index.0)).copied()
}
