//! Handles: the names by which an east-west gateway lets peers in.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Name, TrustDomain};

/// An opaque random name that peers put into the SNI. A name that no handle has is refused with the TLS
/// alert `unrecognized_name`; so the gateway is no open relay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handle {
    /// The SNI: one DNS label, lower case.
    pub name: Name,
    /// Trust domains of the peers that may use it.
    pub callers: Vec<TrustDomain>,
    /// Where it leads.
    pub target: HandleTarget,
}

/// Where a [`Handle`] leads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HandleTarget {
    /// To one endpoint, which has no proxy: the gateway ends mesh TLS itself and forwards HTTP.
    Endpoint {
        /// The [`Service`](crate::Service) resource whose protocol and health records apply.
        service: Name,
        /// The [`Endpoint`](crate::Endpoint)'s id in it.
        endpoint: Arc<str>,
    },
    /// To whichever endpoint of the service the gateway chooses.
    Service {
        /// The [`Service`](crate::Service) resource.
        service: Name,
    },
    /// Bytes are copied unopened (TLS ends behind the gateway): the control plane's federation port.
    Passthrough {
        /// Where to connect.
        address: SocketAddr,
    },
}
