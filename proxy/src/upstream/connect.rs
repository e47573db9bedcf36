//! Opens connections to endpoints: straight, or with mesh TLS through a peer's gateway.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{AlertDescription, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};

use super::Upstream;
use crate::{
    balance::{Endpoint, Gateway, Way},
    io::Io,
    tls::{MeshTls, TlsStream},
};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nothing answers at the endpoint's own addresses.
    #[error("the endpoint cannot be reached")]
    Endpoint(#[source] io::Error),
    /// Nothing answers at the gateway's address.
    #[error("the peer's gateway {address} cannot be reached", address = .0.address)]
    Gateway(Arc<Gateway>, #[source] io::Error),
    /// The gateway does not know the handle.
    #[error("the peer's gateway does not know the endpoint")]
    Unrecognized,
    /// Whoever answers is not who may, or does not take us for who we are.
    #[error("the peer's gateway was not authenticated")]
    Untrusted(#[source] io::Error),
    /// This proxy has no identity yet, or no way to the peer.
    #[error("there is no way to the peer")]
    NoWay,
}

/// Opens a connection to `endpoint`.
///
/// # Errors
/// See [`ConnectError`]; nothing of a request was sent.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    mesh: &MeshTls,
    within: Duration,
) -> Result<Upstream, ConnectError> {
    match &endpoint.way {
        Way::Direct(addresses) => {
            let tcp = direct(addresses, within).await.map_err(ConnectError::Endpoint)?;
            Ok(Upstream { io: Io::Plain(tcp), gateway: None, reused: false })
        }
        Way::Peer(_) => through_gateway(endpoint, mesh, within).await,
    }
}

/// A connection to the first of `addresses` that answers.
pub(super) async fn direct(addresses: &[SocketAddr], within: Duration) -> io::Result<TcpStream> {
    let mut error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match tcp(*address, within).await {
            Ok(tcp) => return Ok(tcp),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

async fn tcp(address: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let tcp = timeout(within, TcpStream::connect(address)).await??;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn through_gateway(
    endpoint: &Endpoint,
    mesh: &MeshTls,
    within: Duration,
) -> Result<Upstream, ConnectError> {
    let gateway = endpoint.gateway().ok_or(ConnectError::NoWay)?;
    let handle = endpoint.handle().ok_or(ConnectError::NoWay)?;
    let config = mesh.client().ok_or(ConnectError::NoWay)?;
    let name = ServerName::try_from(handle.as_str().to_owned()).map_err(|_| ConnectError::NoWay)?;
    let failed = |error| ConnectError::Gateway(Arc::clone(gateway), error);
    let tcp = tcp(gateway.address, within).await.map_err(failed)?;
    let mut tls = TlsStream::client(tcp, Arc::clone(config), name)
        .map_err(|error| ConnectError::Untrusted(io::Error::other(error)))?;
    let handshake = std::future::poll_fn(|cx| tls.poll_handshake(cx));
    match timeout(within, handshake).await {
        Err(late) => return Err(failed(late.into())),
        Ok(Err(error)) => return Err(handshake_error(error, gateway)),
        Ok(Ok(())) => {}
    }
    MeshTls::check_server(&tls, &endpoint.spec.reach)
        .map_err(|why| ConnectError::Untrusted(io::Error::new(io::ErrorKind::PermissionDenied, why)))?;
    Ok(Upstream { io: Io::Tls(Box::new(tls)), gateway: Some(Arc::clone(gateway)), reused: false })
}

fn handshake_error(error: io::Error, gateway: &Arc<Gateway>) -> ConnectError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)) => {
            ConnectError::Unrecognized
        }
        Some(_) => ConnectError::Untrusted(error),
        None => ConnectError::Gateway(Arc::clone(gateway), error),
    }
}
