//! What of a peer's words was not believed, for its status and for logs.

use std::{fmt, net::SocketAddr, sync::Arc};

/// Something that a peer said and that was left out, while the rest was taken.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Refusal {
    /// The peer.
    pub cluster: Arc<str>,
    /// The service it was about, as `namespace/name`; none when it was about the peer itself.
    pub service: Option<String>,
    /// What was refused.
    pub why: Why,
}

/// Why something that a peer said was left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Why {
    /// Its cluster id is ours, or it speaks for a cluster that it is not.
    #[error("it speaks for cluster {0:?}, which it is not")]
    ForeignCluster(String),
    /// Its trust domain is ours, or that of another peer.
    #[error("trust domain {0:?} is already taken; every cluster needs one of its own")]
    TakenTrustDomain(String),
    /// The import rules of this cluster do not let it speak for the namespace (case H2).
    #[error("the import rules of this cluster do not accept namespace {0:?} from it")]
    Namespace(String),
    /// A name that is no DNS label.
    #[error("{0} {1:?} is no DNS label")]
    Name(&'static str, String),
    /// A port that cannot be served, or that repeats another one of the same service.
    #[error("port {0}: {1}")]
    Port(String, &'static str),
    /// An endpoint whose handle no gateway could know.
    #[error("handle {0:?} is not usable")]
    Handle(String),
    /// An endpoint that names nobody, or an identity outside the peer's trust domain (case D3).
    #[error("endpoint {handle} may be served by {identity}, which is not of the peer's trust domain")]
    ForeignIdentity {
        /// The endpoint.
        handle: String,
        /// The identity; "nobody" when the endpoint names none.
        identity: String,
    },
    /// More than one peer may bring (case H4).
    #[error("{count} {what} are over the limit of {limit}; the rest is left out")]
    Quota {
        /// What there is too much of.
        what: &'static str,
        /// How many there were.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// Too much is wrong to list.
    #[error("{0} more things were refused")]
    More(usize),
    /// A gateway address that must not be dialled from here (case H3).
    #[error("gateway address {0} is refused: {1}")]
    Address(SocketAddr, &'static str),
    /// It sent no root, or one of no use.
    #[error("it has no trust bundle")]
    NoRoots,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(f, "peer {}, service {service}: {}", self.cluster, self.why),
            None => write!(f, "peer {}: {}", self.cluster, self.why),
        }
    }
}
