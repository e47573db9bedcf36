//! What the task that owns the peers is told, by people, by peers and by this process.
//!
//! The queue has no bound of its own, and needs none: a stream waits for each commit to be taken in, tells
//! of one heartbeat at a time, and opens and closes once; people wait for their answers; edits of exports
//! come at the compiler's pace.

use std::{net::SocketAddr, sync::Arc};

use isthmus_compiler::ExportChange;
use isthmus_east_west::invite::{JoinRequest, JoinResponse, Joining, Member, Token};
use isthmus_ir::Redacted;
use isthmus_world::fact::MeshSettings;
use isthmus_xds::federation::{self, Closed, Committed, FederationKey, Hello};
use tokio::sync::{mpsc, oneshot};

use super::{FederationError, PeerStatus, bridge::Bridge, error::Rejected, listener::Caller};

pub(super) type Inputs = mpsc::UnboundedSender<Input>;

/// An answer to whoever asked.
pub(super) type Reply<T, E = FederationError> = oneshot::Sender<Result<T, E>>;

/// One membership of a peer. One that has left and joined again is another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Who {
    pub(super) cluster: Arc<str>,
    pub(super) membership: u64,
}

/// Something to be taken in.
pub(super) enum Input {
    /// `isthmus peer invite`.
    Invite(Reply<Redacted<String>>),
    /// `isthmus peer join`, before the other cluster is dialled.
    BeginJoin(Token, Reply<Joining>),
    /// `isthmus peer join`, after it has let us in.
    FinishJoin(Member, Reply<oneshot::Receiver<()>>),
    /// `isthmus peer list`.
    List(oneshot::Sender<Vec<PeerStatus>>),
    /// `isthmus peer leave`.
    Leave { cluster: String, force: bool, reply: Reply<()> },
    /// Edits of what this cluster exports; the first ones are all of it.
    Publish(Vec<ExportChange>),
    /// This cluster's settings, and where peers are told that its gateways are.
    Configure(MeshSettings, Vec<SocketAddr>),
    /// A proxy, or a probe, has or has not got an answer from a gateway of the peer.
    Observed { cluster: Arc<str>, reached: bool },
    /// A cluster asks to be let in.
    Join(Arc<Caller>, JoinRequest, oneshot::Sender<Result<JoinResponse, Rejected>>),
    /// A control plane opens a stream, and says that it is a peer's.
    Admit(Arc<Caller>, Hello, oneshot::Sender<Option<federation::Peer<Bridge>>>),
    /// A stream is open.
    Opened { who: Who, stream: u64, resumed: bool },
    /// A snapshot is whole. What is answered is refused.
    Committed { who: Who, committed: Committed, reply: oneshot::Sender<Vec<(FederationKey, String)>> },
    /// The peer's control plane lives.
    Heartbeat { who: Who, stream: u64 },
    /// A stream has ended.
    Closed { who: Who, stream: u64, why: Closed },
    /// The peer could not be dialled.
    Trouble { who: Who, why: String },
    /// Write everything down and end.
    Stop(oneshot::Sender<()>),
}
