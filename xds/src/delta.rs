//! The delta protocol (xDS protocol, "Incremental xDS") with a commit barrier, as state machines without
//! I/O: a [`Set`] is what a server publishes, [`server::Subscriber`] is what it knows of one client, and
//! [`client::Machine`] is that client.
//!
//! The machines know names, versions and bytes; what the bytes mean is the schema's, and is not read here.

pub mod client;
mod report;
pub mod server;
mod set;
mod version;

use std::fmt;

use isthmus_ir::Name;

pub use report::{Refused, Report, Unbound};
pub use set::{Entry, Set};
pub use version::{Checksum, InvalidVersion, Version};

/// The messages of the protocol, as they are on the wire.
pub mod message {
    pub use crate::proto::discovery::{
        Any, DeltaDiscoveryRequest as Request, DeltaDiscoveryResponse as Response, Node, Resource,
        Status,
    };
}

/// The types of a protocol that is spoken by the machines.
#[derive(PartialEq, Eq, Debug)]
pub struct Schema {
    /// Type URLs of resources, in order of reference: a type refers to later ones only.
    pub types: &'static [&'static str],
    /// The type URL of the commit.
    pub commit: &'static str,
    /// The type URL of the report, a detail of the answer to a commit.
    pub report: &'static str,
}

impl Schema {
    /// The type of this URL, when the schema has it.
    pub fn find(&self, type_url: &str) -> Option<TypeIndex> {
        let index = self.types.iter().position(|url| *url == type_url)?;
        u8::try_from(index).ok().map(TypeIndex)
    }

    /// The URL of a type of this schema; empty for one of another.
    pub fn url(&self, index: TypeIndex) -> &'static str {
        self.types.get(usize::from(index.0)).copied().unwrap_or_default()
    }
}

/// A type of resources, as its place in [`Schema::types`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeIndex(pub u8);

/// What identifies a resource on a stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// Its type.
    pub kind: TypeIndex,
    /// Its name, unique in the type.
    pub name: Name,
}

impl ResourceId {
    /// Where resources of a type begin, in order.
    fn first(kind: TypeIndex) -> Self {
        Self { kind, name: "".into() }
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.0, self.name)
    }
}
