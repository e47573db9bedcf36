//! Another cluster of the ClusterSet, as far as proxies need to know it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Name, TrustDomain};

/// The way into a peer. Its health is kept once for each gateway address, not for each endpoint behind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// The peer's cluster id.
    pub name: Name,
    /// The trust domain that its gateways and workloads authenticate in.
    pub trust_domain: TrustDomain,
    /// East-west gateways, in order of preference. Empty: not reachable from here.
    pub gateways: Vec<SocketAddr>,
    /// False when its data lease has run out: its endpoints are out of load balancing.
    pub usable: bool,
}
