//! Changes: the only way in which anything gets into a [`World`](crate::World).

use std::sync::Arc;

use isthmus_ir::{Name, ObjectRef};

use crate::{
    fact::{ExportedService, Fact, MeshSettings, PeerFact, Problem, ProxyReport},
    kind::{Kind, KindState, ObjectKey},
};

/// One edit of what is known.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// An object of this cluster, new or in a newer version. It ends a [`Change::Problem`] of the object.
    Upsert(Fact),
    /// An object of this cluster is gone, and with it what was wrong with it.
    Delete(ObjectKey),
    /// The newest version of an object cannot be used: its last good fact, if any, stands.
    Problem {
        /// The object.
        key: ObjectKey,
        /// What is wrong with it.
        problem: Problem,
    },
    /// What is known of a kind as a whole. Every kind is [`KindState::Pending`] in a new World.
    Kind {
        /// The kind.
        kind: Kind,
        /// Its state from now on. [`KindState::Absent`] also drops every fact of the kind.
        state: KindState,
    },
    /// The settings of this cluster.
    Settings(MeshSettings),
    /// Where the definitions of Gateway API's kinds come from: those that are there, by name, each with what
    /// it says of its release. Without this change they are built in.
    Definitions(std::collections::BTreeMap<String, Option<String>>),
    /// Roots of this cluster's own trust domain, as DER. Before the first one proxies are told of none.
    Roots(Vec<bytes::Bytes>),
    /// A peer, new or changed.
    Peer(PeerFact),
    /// A peer has left, and all that it exported.
    PeerGone {
        /// Its cluster id.
        cluster: Arc<str>,
    },
    /// All that a peer exports. What is not in it is gone. Before the first one nothing of the peer is
    /// used.
    PeerSnapshot {
        /// The peer's cluster id.
        cluster: Arc<str>,
        /// Its exports; those that name another cluster are ignored.
        services: Vec<Arc<ExportedService>>,
    },
    /// An edit of what a peer exports.
    PeerExports {
        /// The peer's cluster id.
        cluster: Arc<str>,
        /// New and changed exports; those that name another cluster are ignored.
        upserts: Vec<Arc<ExportedService>>,
        /// Exports that are gone, by namespace and name of the service.
        removed: Vec<ObjectRef>,
    },
    /// What a proxy says, or that it is gone.
    Proxy {
        /// The scope that it serves: `gateway/<namespace>/<name>` or `east-west`.
        scope: Name,
        /// Its id.
        proxy: Arc<str>,
        /// None when it is no longer connected.
        report: Option<ProxyReport>,
    },
}
