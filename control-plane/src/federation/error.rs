//! What can go wrong when clusters become peers or part, and what whoever asked is told.

use std::{fmt::Write as _, io, net::SocketAddr};

use isthmus_east_west::{
    invite::{JoinError, JoinRefusal, TokenError},
    peer::LeaveError,
};

use isthmus_ir::InvalidIdentity;

use crate::ca::CaError;

/// Why something about peers was not done. Nothing was changed. Each says in one line what to do.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// The text is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// This side does not join.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The other cluster does not let us in, in its words.
    #[error("cluster {cluster} refuses: {reason}")]
    Refused {
        /// The inviter.
        cluster: String,
        /// Its words.
        reason: String,
    },
    /// Nobody answers.
    #[error(
        "cluster {cluster} cannot be reached ({}); check that its east-west gateway runs, and that these \
         addresses lead to it from here", attempts(.tried)
    )]
    Unreachable {
        /// The inviter.
        cluster: String,
        /// What was dialled, and what came of it.
        tried: Vec<(SocketAddr, String)>,
    },
    /// There is nothing that a joiner could dial.
    #[error(
        "this cluster has no east-west gateway that others could reach: it needs a MeshInstall in which \
         spec.gateways.eastWest is enabled, with the addresses to tell peers in `advertise`"
    )]
    NoGateway,
    /// There is no such peer.
    #[error("there is no peer {0}; `isthmus peer list` shows those that there are")]
    UnknownPeer(String),
    /// It cannot be left in good order.
    #[error("cluster {cluster} is not left")]
    Leave {
        /// The peer.
        cluster: String,
        /// Why not.
        source: LeaveError,
    },
    /// It could not be written down.
    #[error("cannot write to the state directory")]
    Store(#[source] io::Error),
    /// The cryptography failed.
    #[error("cannot make a certificate for the control plane")]
    Certificate(#[from] CaError),
    /// The TLS library does not take our settings.
    #[error("cannot set TLS up")]
    Tls(#[from] rustls::Error),
    /// Our own trust domain is none.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// The control plane is ending.
    #[error("the control plane is ending")]
    Ended,
}

impl FederationError {
    /// What `isthmus peer` exits with: 1 when what was asked for makes no sense here, 4 when a peer or the
    /// token stands against it, 5 when we failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownPeer(_) | Self::NoGateway => 1,
            Self::Token(_)
            | Self::Join(_)
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Leave { .. } => 4,
            Self::Store(_)
            | Self::Certificate(_)
            | Self::Tls(_)
            | Self::Identity(_)
            | Self::Random
            | Self::Ended => 5,
        }
    }
}

fn attempts(tried: &[(SocketAddr, String)]) -> String {
    let mut text = String::new();
    for (address, why) in tried {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{address}: {why}");
    }
    text
}

/// Why a joiner is not let in: in its words to the joiner, or because we failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejected {
    #[error(transparent)]
    Refusal(#[from] JoinRefusal),
    #[error("the invited cluster cannot write its peers down: {0}")]
    Store(io::Error),
}

impl From<io::Error> for FederationError {
    fn from(error: io::Error) -> Self {
        Self::Store(error)
    }
}
