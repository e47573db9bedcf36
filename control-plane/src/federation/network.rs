//! Connections of this process to others, as far as federation makes and takes them: TCP, or whatever a
//! test puts in its place.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// Bytes in both directions.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub(super) type Io = Box<dyn Duplex>;

type Connecting = Pin<Box<dyn Future<Output = io::Result<Io>> + Send>>;

/// Dials.
#[derive(Clone)]
pub(super) struct Network(Arc<dyn Fn(SocketAddr) -> Connecting + Send + Sync>);

impl Network {
    pub(super) fn new<F>(connect: impl Fn(SocketAddr) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Io>> + Send + 'static,
    {
        Self(Arc::new(move |address| Box::pin(connect(address))))
    }

    pub(super) fn tcp() -> Self {
        Self::new(|address| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Io)
        })
    }

    pub(super) async fn connect(&self, address: SocketAddr) -> io::Result<Io> {
        match timeout(CONNECT, (self.0)(address)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// What comes in over TCP.
pub(super) fn accepted(listener: TcpListener) -> impl Stream<Item = io::Result<Io>> + Send {
    TcpListenerStream::new(listener).map(|stream| {
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream) as Io)
    })
}
