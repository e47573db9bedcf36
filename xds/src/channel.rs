//! Connections to a control plane, for every service that is called on it.

use std::{io, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use isthmus_ir::Redacted;
use tonic::{
    Request,
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::client::Connect;

/// A connection that does not answer for so long is dead.
const KEEPALIVE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// It could not be opened, or its other end speaks no HTTP/2.
    #[error("no connection")]
    Connect(#[from] tonic::transport::Error),
    /// Nothing came of it in time.
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    TimedOut,
}

/// Opens one connection. It is not opened again when it breaks.
pub(crate) async fn open(connect: &impl Connect) -> Result<Channel, ChannelError> {
    let connect = connect.clone();
    let connector = service_fn(move |_: Uri| {
        let connect = connect.clone();
        async move { Ok::<_, io::Error>(TokioIo::new(connect.connect().await?)) }
    });
    let endpoint = Endpoint::from_static("http://control-plane")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let opening = endpoint.connect_with_connector(connector);
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
    Ok(opened.map_err(|_| ChannelError::TimedOut)??)
}

/// Puts the proof of who asks into the request. A token that cannot stand in a header proves nothing, and
/// the other end will say so.
pub(crate) fn authorize<T>(request: &mut Request<T>, token: &Redacted<String>) {
    if let Ok(mut value) = AsciiMetadataValue::try_from(format!("Bearer {}", token.expose())) {
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
    }
}
