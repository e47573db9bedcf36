//! The endpoints of a service, of this cluster and of peers alike.

use std::{net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Name, SpiffeId};

/// All endpoints that one [`Service`](crate::Service) may be balanced over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// The name of the service that these belong to, and of this resource.
    pub service: Name,
    /// In order of `id`. Empty: the service has no ready endpoint, and requests for it get 503.
    pub endpoints: Vec<Endpoint>,
}

/// One workload that serves a service's port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Unique in its [`Endpoints`] and stable over edits: health records are kept by it. An address for
    /// local endpoints, `<cluster>/<handle>` for those of peers.
    pub id: Arc<str>,
    /// The cluster that it runs in.
    pub cluster: Arc<str>,
    /// Its zone, when known (`topology.kubernetes.io/zone`).
    pub zone: Option<Arc<str>>,
    /// 0 is tried first; a higher one takes what spills over.
    pub priority: u8,
    /// Its share among endpoints of the same priority; at least 1.
    pub weight: u32,
    /// Whether new requests may go to it.
    pub state: EndpointState,
    /// How a proxy gets there.
    pub reach: Reach,
}

/// Whether new requests may go to an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EndpointState {
    /// Ready.
    Ready,
    /// Terminating but still serving: used only when no ready endpoint is left (KEP-1669).
    Draining,
}

/// How a proxy gets to an endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reach {
    /// In clear text to one of these addresses, which are one workload's (dual stack).
    Direct {
        /// In order of preference; never empty.
        addresses: Vec<SocketAddr>,
    },
    /// Mesh TLS through a gateway of a [`Peer`](crate::Peer).
    Peer {
        /// The name of the peer resource.
        peer: Name,
        /// The SNI by which the peer's gateway knows the endpoint: a
        /// [`Handle`](crate::Handle)'s name in the peer's cluster.
        handle: Name,
        /// Who may answer; never empty. A certificate of any other identity is refused.
        identities: Vec<SpiffeId>,
    },
}
