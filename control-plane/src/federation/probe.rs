//! Whether anything lives at a gateway's address: a `ClientHello` is answered by some byte of TLS. A frozen
//! process still completes TCP handshakes; so connecting proves nothing.
//!
//! The server name is no handle: a gateway that lives says so by its alert, whatever has become of the
//! control plane behind it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::{FutureExt as _, select_ok};
use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{network::Network, svid::Svid, trust::ControlPlane};

/// The server name, which no handle has: handles are longer.
const NAME: &str = "probe";

/// Whether one of `addresses` answers within `limit`.
pub(super) async fn probe(
    network: Network,
    svid: Svid,
    addresses: Vec<SocketAddr>,
    limit: Duration,
) -> bool {
    let Ok(hello) = hello(&svid) else { return false };
    let attempts = addresses.iter().map(|address| ask(&network, *address, &hello).boxed());
    let attempts: Vec<_> = attempts.collect();
    if attempts.is_empty() {
        return false;
    }
    matches!(timeout(limit, select_ok(attempts)).await, Ok(Ok(_)))
}

async fn ask(network: &Network, address: SocketAddr, hello: &[u8]) -> std::io::Result<()> {
    let mut io = network.connect(address).await?;
    io.write_all(hello).await?;
    io.read_u8().await.map(drop)
}

fn hello(svid: &Svid) -> Result<Vec<u8>, rustls::Error> {
    let name = ServerName::try_from(NAME).map_err(|_| rustls::Error::General(NAME.to_owned()))?;
    let config = svid.current().client(ControlPlane)?;
    let mut tls = ClientConnection::new(Arc::clone(&config), name)?;
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(hello)
}
