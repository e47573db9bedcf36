//! The control plane's port for proxies: TCP connections become authenticated streams, with or without a
//! certificate of the caller.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use isthmus_ir::SpiffeId;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::Instant,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, wrappers::TcpListenerStream};

use crate::accept::{self, Admission, Bounds};

/// A proxy has a stream, and now and then a connection for a certificate or for evidence.
const BOUNDS: Bounds =
    Bounds { port: "proxies", connections: 16 << 10, guests: 512, patience: Duration::from_secs(10) };

/// Who is at the other end of a connection, as far as TLS says. It is in the extensions of every request
/// that comes by [`incoming`].
#[derive(Clone, Debug)]
pub struct Peer {
    /// The identity that its certificate proves; none when it has shown none.
    pub id: Option<SpiffeId>,
    /// What it has shown, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Where it calls from.
    pub address: SocketAddr,
    admission: Admission,
}

impl Peer {
    /// Whoever calls from `address` and proves to be `id` by `chain`.
    pub fn new(id: Option<SpiffeId>, chain: Vec<CertificateDer<'static>>, address: SocketAddr) -> Self {
        Self { id, chain, address, admission: Admission::default() }
    }

    /// It may stay until its certificate ends: it has proved to be a proxy. Others are hung up on after 10
    /// seconds.
    pub(crate) fn admit(&self) {
        self.admission.admit();
    }
}

/// What comes in on `listener`, once it has shaken hands by the settings of that moment
/// ([`server_config`](super::server_config)). Connections that are open outlive a change of these. To be
/// called within a tokio runtime; it goes on until the stream is dropped.
pub fn incoming(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
) -> impl Stream<Item = io::Result<accept::Connection<TlsStream<TcpStream>, Peer>>> {
    let accepted = TcpListenerStream::new(listener);
    let (connections, accepting) = accept::connections(accepted, BOUNDS, move |io, admission| {
        shake_hands(io, Arc::clone(&config.borrow()), admission)
    });
    tokio::spawn(accepting);
    connections
}

async fn shake_hands(
    io: TcpStream,
    config: Arc<ServerConfig>,
    admission: Admission,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    io.set_nodelay(true)?;
    let address = io.peer_addr()?;
    let stream = TlsAcceptor::from(config).accept(io).await?;
    let (_, tls) = stream.get_ref();
    let shown = tls.peer_certificates().unwrap_or_default();
    let chain: Vec<_> = shown.iter().map(|shown| shown.clone().into_owned()).collect();
    let id = chain.first().map(isthmus_identity::identity).transpose();
    let id = id.map_err(io::Error::other)?;
    if let Some(leaf) = chain.first() {
        let end = isthmus_identity::not_after(leaf).map_err(io::Error::other)?;
        let life = end.as_secs().saturating_sub(UnixTime::now().as_secs());
        admission.ends(Instant::now() + Duration::from_secs(life));
    }
    Ok((stream, Peer { id, chain, address, admission }))
}
