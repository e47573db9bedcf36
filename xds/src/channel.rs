//! Connections to a control plane, for every service that is called on it.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::client::Connect;

/// A connection that does not answer for so long is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// For opening a connection, however many steps it takes, and for beginning HTTP/2 on it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It could not be opened.
    #[error("no connection")]
    Connect(#[from] io::Error),
    /// Its other end speaks no HTTP/2.
    #[error("the connection cannot be used")]
    Protocol(#[from] tonic::transport::Error),
    /// Nothing came of it in time.
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    TimedOut,
}

/// Opens one connection. It is not opened again when it breaks.
pub(crate) async fn open(connect: &impl Connect) -> Result<Channel, ChannelError> {
    let io = timeout(CONNECT_TIMEOUT, connect.connect()).await;
    over(io.map_err(|_| ChannelError::TimedOut)??).await
}

/// HTTP/2 over a connection that is open.
pub(crate) async fn over<IO>(io: IO) -> Result<Channel, ChannelError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let once = Arc::new(Mutex::new(Some(TokioIo::new(io))));
    let connector = service_fn(move |_: Uri| {
        let io = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { io.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let endpoint = Endpoint::from_static("http://control-plane")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let opened = timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connector)).await;
    Ok(opened.map_err(|_| ChannelError::TimedOut)??)
}

/// An error in one line, with its causes.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
