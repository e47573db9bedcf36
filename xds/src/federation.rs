//! Between control planes of two clusters: the delta machines with a schema of their own, both ways over
//! one stream, so that one reachable side suffices.
//!
//! A [`Peer`] is one other cluster, from stream to stream: what it is told ([`Exports`]), what becomes of
//! what it tells ([`Import`]), and which of its streams counts. Nothing of a peer is handed out before a
//! whole snapshot; a stream that comes after another resumes where that one ended. Both ends say every
//! 5 seconds that they live, and what the other must hold; where that is not so, everything is told anew.
//!
//! Whose TLS it is, where to dial and whom to admit is the caller's. Fields that are not known are ignored:
//! the schema is stable, and clusters are upgraded one by one (case H10).

mod endpoint;
mod exports;
mod join;
mod peer;
mod resource;
mod session;
pub(crate) mod wire;

use std::sync::Arc;

use isthmus_ir::TrustDomain;

pub use self::{
    endpoint::{Admit, JoinFailure, dial, join, serve},
    exports::Exports,
    join::{JoinRequest, JoinResponse, Member},
    peer::{Closed, Committed, Event, Import, Limits, Peer},
    resource::{
        Cluster, Endpoint, FederationChange, FederationKey, FederationKind, FederationResource,
        ImportReport, Port, Service,
    },
    wire::SCHEMA,
};

/// Who speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Its cluster id.
    pub cluster: Arc<str>,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The program and its version, for logs and status.
    pub version: String,
}
