//! The control plane's end of the streams to its proxies.

use std::{collections::BTreeMap, future::Future};

use isthmus_ir::{Key, Name};

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
