//! One HTTP/1.1 exchange over a Unix socket, from the asking side: for commands, and for proxies' admin
//! sockets.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

/// The longest answer that is read.
const LARGEST: usize = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// Nobody listens.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The exchange broke off.
    #[error("the exchange broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
}

/// Sends a request to the socket at `path`, and reads the whole answer.
pub(super) async fn exchange(
    path: &Path,
    request: Request<Full<Bytes>>,
    patience: Duration,
) -> Result<(StatusCode, Bytes), ExchangeError> {
    let all = async {
        let stream = UnixStream::connect(path).await.map_err(ExchangeError::Connect)?;
        let broken = |error: hyper::Error| ExchangeError::Broken(error.into());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST);
            let body = body.collect().await.map_err(ExchangeError::Broken)?;
            Ok((status, body.to_bytes()))
        };
        tokio::pin!(connection, answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            ended = &mut connection => {
                ended.map_err(broken)?;
                answer.await
            }
        }
    };
    timeout(patience, all).await.unwrap_or(Err(ExchangeError::Slow(patience)))
}
