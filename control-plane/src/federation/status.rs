//! What `isthmus peer list` shows of a peer.

use std::net::SocketAddr;

use isthmus_world::fact::PeerState;
use serde::{Deserialize, Serialize};

/// A peer, as people are shown it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its cluster id.
    pub cluster: String,
    /// Its trust domain.
    pub trust_domain: String,
    /// `Connected`, `ControlLost`, `DataLost` or `Lost` (its two leases), or `Leaving`.
    pub state: String,
    /// Whether a stream to its control plane is open.
    pub stream: bool,
    /// Its east-west gateways.
    pub gateways: Vec<SocketAddr>,
    /// How many services it exports to this cluster; none before its first snapshot.
    pub services: Option<usize>,
    /// The last thing that went wrong with its stream, while none is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The word for a state.
pub(super) fn word(state: PeerState) -> &'static str {
    match state {
        PeerState::Connected => "Connected",
        PeerState::ControlLost => "ControlLost",
        PeerState::DataLost => "DataLost",
        PeerState::Lost => "Lost",
    }
}
