//! The control plane's end of the streams to its proxies: who may connect, what each one is told, and what
//! comes back. What is in force where is reported, never guessed.
//!
//! A proxy is told the resources of the scope that its proof stands for, whatever it asks for. Nothing is
//! sent before a scope has been published once.

mod publisher;
mod reports;
mod session;

use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

use isthmus_ir::{Key, Name};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
};
use tokio_stream::Stream;
use tonic::{
    metadata::MetadataMap,
    transport::server::{Connected, Server},
};

use self::session::Discovery;
use crate::{
    ca::{Authority, Issue},
    evidence::{Observation, Witness},
    proto::{
        ca::certificate_authority_server::CertificateAuthorityServer,
        discovery::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
        proxy::evidence_server::EvidenceServer,
    },
};

pub use self::{publisher::Publisher, reports::Reports};

/// A connection that does not answer for so long is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Streams of one connection: one for resources, a few for certificates and evidence.
const STREAMS: u32 = 8;
/// A token, and little else.
const HEADER_BYTES: u32 = 16 << 10;
/// What a proxy holds is listed in its first requests.
const REQUEST_BYTES: usize = 8 << 20;

/// What a proxy is there for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// At the edge.
    Ingress,
    /// Between clusters.
    EastWest,
    /// Beside a workload.
    Sidecar,
}

/// Who a proxy is, from its proof and never from what it says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Proxy {
    /// Unique among the proxies of a control plane; a second stream of the same id ends the first.
    pub id: Name,
    /// The set of resources that it is told, and no other.
    pub scope: Name,
    /// Its role.
    pub role: Role,
}

/// What is known of a caller before its proof was looked at.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The token of the metadata `authorization: Bearer <token>`.
    pub bearer: Option<&'a str>,
    /// What the connection knows of its peer: [`Connected::ConnectInfo`](tonic::transport::server::Connected)
    /// of its I/O, such as the certificates of a TLS stream.
    pub extensions: &'a http::Extensions,
}

/// The proof was missing, or is not good enough. The text goes to the caller.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// Tells who a caller is.
pub trait Authenticate: Send + Sync + 'static {
    /// The proxy that the caller has proved to be.
    ///
    /// # Errors
    /// When it has proved nothing that counts.
    fn authenticate(&self, caller: Caller<'_>) -> impl Future<Output = Result<Proxy, Denied>> + Send;
}

/// What one connected proxy has acked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProxyReport {
    /// The newest revision of its scope that is in force there; 0 before the first.
    pub revision: u64,
    /// Resources that it refused, with its reasons; their last good versions are in force.
    pub refused: BTreeMap<Key, String>,
    /// Listeners that it could not bind, with the operating system's reasons.
    pub unbound: BTreeMap<Name, String>,
}

/// News of a proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyEvent {
    /// Which one.
    pub proxy: Proxy,
    /// None when it is not connected any more.
    pub report: Option<ProxyReport>,
}

impl<'a> Caller<'a> {
    /// What a request says of its caller.
    pub(crate) fn new(metadata: &'a MetadataMap, extensions: &'a http::Extensions) -> Self {
        let authorization = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = authorization.and_then(|value| value.strip_prefix("Bearer "));
        Self { bearer, extensions }
    }
}

/// Serves proxies over `incoming` until `shutdown`; then streams are ended, and the last ones waited for.
/// What proxies see of peers goes to `observations`, as far as there is room. May be called again after it
/// has ended.
///
/// # Errors
/// When `incoming` fails for good.
pub async fn serve<IO>(
    incoming: impl Stream<Item = io::Result<IO>>,
    publisher: Publisher,
    authenticate: Arc<impl Authenticate>,
    issue: Arc<impl Issue>,
    observations: mpsc::Sender<Vec<Observation>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let evidence =
        EvidenceServer::new(Witness { authenticate: Arc::clone(&authenticate), observations });
    let (close, closed) = watch::channel(false);
    let discovery = Discovery { publisher, authenticate, closed };
    let discovery =
        AggregatedDiscoveryServiceServer::new(discovery).max_decoding_message_size(REQUEST_BYTES);
    let authority = CertificateAuthorityServer::new(Authority { issue });
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADER_BYTES)
        .add_service(discovery)
        .add_service(authority)
        .add_service(evidence)
        .serve_with_incoming_shutdown(incoming, async move {
            shutdown.await;
            close.send_replace(true);
        })
        .await
}
