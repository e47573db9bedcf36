//! Asks an instance, or a proxy's admin socket: one HTTP/1.1 request on a Unix socket, JSON both ways.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{Method, Request, header::HOST};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// For a whole exchange; joining a peer takes the longest.
const PATIENCE: Duration = Duration::from_mins(1);
/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no instance runs on the state directory {}", .0.display())]
    NoInstance(PathBuf, #[source] io::Error),
    /// The answer is no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        message: String,
    },
    /// The connection broke, or nothing came of it in time.
    #[error("the answer did not come: {0}")]
    Broken(String),
}

/// Asks for `path` with its query.
///
/// # Errors
/// When nobody listens, or the answer is none or no.
pub async fn get(socket: &Path, path: &str) -> Result<Value, ClientError> {
    exchange(socket, Method::GET, path, Bytes::new()).await
}

/// Asks for something to be done.
///
/// # Errors
/// As [`get`].
pub async fn post(socket: &Path, path: &str, body: &Value) -> Result<Value, ClientError> {
    exchange(socket, Method::POST, path, body.to_string().into()).await
}

/// The control socket of the instance on a state directory.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// Percent-encodes a value for a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Value, ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let directory = socket.parent().unwrap_or(socket).to_owned();
        ClientError::NoInstance(directory, error)
    })?;
    let answer = tokio::time::timeout(PATIENCE, ask(stream, method, path, body)).await;
    answer.unwrap_or_else(|_| Err(ClientError::Broken(format!("nothing within {PATIENCE:?}"))))
}

async fn ask(stream: UnixStream, method: Method, path: &str, body: Bytes) -> Result<Value, ClientError> {
    let broken = |error: &dyn std::error::Error| ClientError::Broken(error.to_string());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::builder().method(method).uri(path).header(HOST, "isthmus");
    let request = request.body(Full::new(body)).map_err(|e| broken(&e))?;
    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| broken(&e))?.to_bytes();
    let value = serde_json::from_slice::<Value>(&body);
    if status.is_success() {
        return value.map_err(|e| broken(&e));
    }
    let message = match value.as_ref().ok().and_then(|value| value.get("error")?.as_str()) {
        Some(error) => error.to_owned(),
        None => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    Err(ClientError::Refused { status: status.as_u16(), message })
}
