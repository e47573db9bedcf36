//! The federation port: strangers' connections become authenticated streams.
//!
//! It is reached through the east-west gateway, which does not open what it passes on; so here is where
//! strangers are first met. They have 10 seconds to shake hands, and as many again to be admitted.

use std::{
    future::Future as _,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use isthmus_east_west::invite::Channel;
use isthmus_ir::SpiffeId;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::server::Connected;

use super::{network::Io, svid::Svid, trust::digest};

/// How long a stranger may take for each of its two steps.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: usize = 256;
/// A pause after the operating system refused to accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Who called, as far as TLS says: it holds the key of a certificate that claims to be a control plane's.
pub(super) struct Caller {
    /// Whom it claims to be.
    pub(super) id: SpiffeId,
    /// Leaf first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// What identifies the connection.
    pub(super) channel: Channel,
    admitted: AtomicBool,
}

impl Caller {
    /// It is a peer: its connection may live on.
    pub(super) fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
    }
}

/// A connection of a [`Caller`].
pub(super) struct Connection {
    stream: TlsStream<Io>,
    caller: Arc<Caller>,
    /// When a stranger is hung up on; none once it is admitted.
    deadline: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

/// Connections that have shaken hands. `accepted` never ends but with the process.
pub(super) fn connections(
    accepted: impl Stream<Item = io::Result<Io>> + Send + 'static,
    svid: Svid,
) -> (impl Stream<Item = io::Result<Connection>>, impl Future<Output = ()> + Send) {
    let (ready, connections) = mpsc::channel(1);
    let accepting = async move {
        let mut accepted = pin!(accepted);
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        while let Some(io) = accepted.next().await {
            match (io, Arc::clone(&permits).try_acquire_owned()) {
                (Ok(io), Ok(permit)) => {
                    tokio::spawn(greet(io, permit, svid.clone(), ready.clone()));
                }
                (Ok(_), Err(_)) => tracing::warn!("too many connections to the federation port"),
                (Err(error), _) => {
                    tracing::warn!(%error, "cannot accept on the federation port");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    (ReceiverStream::new(connections), accepting)
}

async fn greet(
    io: Io,
    permit: OwnedSemaphorePermit,
    svid: Svid,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    match timeout(PATIENCE, handshake(io, permit, &svid)).await {
        Ok(Ok(connection)) => drop(ready.send(Ok(connection)).await),
        Ok(Err(error)) => tracing::debug!(%error, "federation handshake failed"),
        Err(_) => tracing::debug!("federation handshake took too long"),
    }
}

async fn handshake(io: Io, permit: OwnedSemaphorePermit, svid: &Svid) -> io::Result<Connection> {
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
    let caller = Arc::new(Caller { id, chain, channel, admitted: AtomicBool::new(false) });
    let deadline = Some(Box::pin(sleep(PATIENCE)));
    Ok(Connection { stream, caller, deadline, _permit: permit })
}

impl Connected for Connection {
    type ConnectInfo = Arc<Caller>;

    fn connect_info(&self) -> Arc<Caller> {
        Arc::clone(&self.caller)
    }
}

impl Connection {
    fn check_deadline(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let Some(deadline) = &mut self.deadline else { return Ok(()) };
        if self.caller.admitted.load(Ordering::Relaxed) {
            self.deadline = None;
            return Ok(());
        }
        match deadline.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_deadline(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
