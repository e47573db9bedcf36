//! What happens to a peer, what it says, and what is to be done about it.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use isthmus_ir::ObjectRef;
use isthmus_world::fact::{ExportedService, PeerFact};

use super::{MAX_ENDPOINTS, MAX_ROOT_BYTES, MAX_ROOTS, MAX_SERVICES};

/// What happens to a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A stream to it is open. Streams are numbered upwards, also over restarts of the peer; an older
    /// one's messages are ignored from now on.
    Opened {
        /// Its number.
        stream: u64,
        /// Whether it tells only what has changed since [`Peer::exports`](super::Peer::exports), which
        /// [`Peer::may_resume`](super::Peer::may_resume) allowed; else it tells everything.
        resumed: bool,
    },
    /// A stream has ended.
    Closed {
        /// Its number.
        stream: u64,
    },
    /// It said something.
    Said {
        /// On which stream.
        stream: u64,
        /// What.
        message: Message,
    },
    /// One of our proxies, or our probe, got an answer through one of its gateways.
    Reached,
    /// One of our proxies, or our probe, got none.
    Unreached,
}

/// What a peer says, as far as the delta machine of the stream has found it whole and sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Its gateways and roots, whole, new or changed.
    Identity {
        /// East-west gateways, in order of preference.
        gateways: Vec<SocketAddr>,
        /// Roots of its trust domain as DER.
        roots: Vec<Bytes>,
    },
    /// A commit: the edit from what it exported before to what it exports now. The first one of a stream
    /// that was not resumed tells everything.
    Commit {
        /// New and changed exports.
        upserts: Vec<Arc<ExportedService>>,
        /// Exports that are gone.
        removed: Vec<ObjectRef>,
    },
    /// It is alive.
    Heartbeat {
        /// Whether its checksum is that of what the delta machine holds.
        agrees: bool,
    },
    /// It leaves the ClusterSet, or wants us out of it.
    Leaving,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// What is known of the peer itself has changed ([`Peer::fact`](super::Peer::fact)).
    Fact(PeerFact),
    /// This is all that it exports.
    Snapshot(Vec<Arc<ExportedService>>),
    /// An edit of what it exports.
    Exports {
        /// New and changed exports.
        upserts: Vec<Arc<ExportedService>>,
        /// Exports that are gone.
        removed: Vec<ObjectRef>,
    },
    /// Probe its gateways, then say [`Event::Reached`] or [`Event::Unreached`].
    Probe,
    /// End the stream, and open a new one in time.
    Close {
        /// Its number.
        stream: u64,
        /// For logs and status.
        why: Close,
    },
    /// Tell it [`Message::Leaving`].
    SayLeaving {
        /// On which stream.
        stream: u64,
    },
    /// Its tombstone is over: nothing reminds of its exports any more. It is a member still.
    Buried,
    /// It is no member any more: drop its trust and everything that is kept of it.
    Gone,
}

/// Why a stream is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Close {
    /// What we hold is not what it says we should. The next stream tells everything.
    #[error("its exports are not the ones that its checksum says; everything is asked for again")]
    Diverged,
    /// It has no roots, or impossible ones.
    #[error(
        "its roots are not 1 to {MAX_ROOTS} of 1 to {MAX_ROOT_BYTES} bytes; the last good ones stay"
    )]
    Identity,
    /// It sends more than a peer may. What was committed before stands.
    #[error(
        "it exports more than {MAX_SERVICES} services or {MAX_ENDPOINTS} endpoints; what was before stands"
    )]
    Quota,
    /// A newer stream took its place, or it is leaving.
    #[error("a newer stream took its place, or it is leaving")]
    Replaced,
    /// It would tell only what has changed since something that is no longer known.
    #[error("it was resumed where everything has to be told")]
    Resumed,
}

/// Why a peer cannot leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaveError {
    /// It cannot be told.
    #[error("the peer cannot be told, as there is no connection to it; leave by force if it is dead")]
    Unreachable,
}
