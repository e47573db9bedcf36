//! IR <-> protobuf, both ways and strict: what is not understood is refused, and nothing is guessed.
//!
//! A resource's version is a hash of its bytes. Decoding refuses an unknown feature, an unknown field, an
//! oneof that is not set, an enum that is unspecified or unknown, and whatever the IR documents as
//! impossible; so that a proxy never matches more than was asked.

use bytes::Bytes;
use isthmus_ir::{Kind, Name};

use crate::delta::{Schema, Version};

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

/// A resource as it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Its type.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// The hash of `value`.
    pub version: Version,
    /// The protobuf message.
    pub value: Bytes,
    /// Features that a proxy must have to take it; they are in `value` too.
    pub requires: Vec<&'static str>,
}

/// Why a resource was not taken. Its last good version stays in force.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It is no message of its type.
    #[error("it cannot be decoded: {0}")]
    Malformed(String),
    /// It needs what this program does not have.
    #[error("it requires the feature {0:?}, which this program does not have")]
    Feature(String),
    /// It has fields that this program does not know.
    #[error("it has fields that this program does not know")]
    UnknownField,
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
