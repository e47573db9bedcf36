//! The federation port: strangers' connections become authenticated streams.
//!
//! It is reached through the east-west gateway, which does not open what it passes on; so here is where
//! strangers are first met. They have 10 seconds to shake hands, and as many again to be admitted.

use std::{future::Future, io, sync::Arc, time::Duration};

use isthmus_east_west::invite::Channel;
use isthmus_ir::SpiffeId;
use isthmus_xds::accept::{self, Admission, Bounds};
use rustls_pki_types::CertificateDer;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;

use super::{network::Io, svid::Svid, trust::digest};

/// There are few peers, so that strangers need no bound of their own.
const BOUNDS: Bounds =
    Bounds { port: "federation", connections: 256, guests: 256, patience: Duration::from_secs(10) };

/// Who called, as far as TLS says: it holds the key of a certificate that claims to be a control plane's.
pub(super) struct Caller {
    /// Whom it claims to be.
    pub(super) id: SpiffeId,
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// What identifies the connection.
    pub(super) channel: Channel,
    admission: Admission,
}

impl Caller {
    /// It is a peer: its connection may live on.
    pub(super) fn admit(&self) {
        self.admission.admit();
    }
}

/// A connection of a [`Caller`].
type Connection = accept::Connection<TlsStream<Io>, Arc<Caller>>;

/// Connections that have shaken hands. `accepted` never ends but with the process.
pub(super) fn connections(
    accepted: impl Stream<Item = io::Result<Io>> + Send + 'static,
    svid: Svid,
) -> (impl Stream<Item = io::Result<Connection>>, impl Future<Output = ()> + Send) {
    accept::connections(accepted, BOUNDS, move |io, admission| shake_hands(io, admission, svid.clone()))
}

async fn shake_hands(
    io: Io,
    admission: Admission,
    svid: Svid,
) -> io::Result<(TlsStream<Io>, Arc<Caller>)> {
    let credentials = svid.current();
    let acceptor = TlsAcceptor::from(Arc::clone(&credentials.server));
    let stream = acceptor.accept(io).await?;
    let (_, tls) = stream.get_ref();
    let chain: Vec<_> =
        tls.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
    let leaf = chain.first().ok_or(io::ErrorKind::PermissionDenied)?;
    let id = isthmus_identity::identity(leaf).map_err(io::Error::other)?;
    let exporter =
        tls.export_keying_material([0; 32], Channel::LABEL, None).map_err(io::Error::other)?;
    let channel = Channel { exporter, inviter: credentials.leaf, joiner: digest(leaf) };
    let caller = Caller { id, chain, channel, admission };
    Ok((stream, Arc::new(caller)))
}
