//! Where a proxy accepts connections, and what it expects on them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{HostPattern, Name, ObjectRef};

/// One listener of a Gateway (or of the east-west gateway).
///
/// Listeners of one proxy may share an address and a port; then the hostname decides between them
/// (Gateway API, `Listener` distinctness), by SNI and by host.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// `<namespace>/<gateway>/<section>`.
    pub name: Name,
    /// The Gateway that declares it.
    pub gateway: ObjectRef,
    /// The listener's own name in its Gateway (`sectionName`).
    pub section: String,
    /// Addresses to bind; empty means every address of the machine, of both families.
    pub addresses: Vec<IpAddr>,
    /// The port to bind.
    pub port: u16,
    /// Hosts that this listener serves.
    pub hostname: HostPattern,
    /// What is spoken on it.
    pub protocol: Protocol,
}

impl Listener {
    /// The resource name of listener `section` of `gateway`.
    pub fn name(gateway: &ObjectRef, section: &str) -> Name {
        format!("{gateway}/{section}").into()
    }
}

/// What is spoken on a listener.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Protocol {
    /// Clear-text HTTP/1.1, or HTTP/2 with prior knowledge.
    Http,
    /// HTTP inside TLS that this listener ends.
    Https {
        /// Names of [`Certificate`](crate::Certificate) resources, in the user's order; never empty.
        certificates: Vec<Name>,
    },
    /// Mesh TLS 1.3 from peers: the SNI is a [`Handle`](crate::Handle), and nothing else is routed.
    EastWest,
}
