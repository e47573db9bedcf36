//! The echo backend: answers with the body that it was sent and says who it is.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The response header that names the backend: `<cluster>/<backend>`.
pub const SERVED_BY: &str = "x-served-by";

const LARGEST_BODY: usize = 1 << 20;

/// Serves on `address` as `name` until the process ends.
///
/// # Errors
/// When the address cannot be bound, or `name` is no header value.
pub async fn serve(address: SocketAddr, name: &str) -> anyhow::Result<()> {
    let name = HeaderValue::from_str(name).context("the backend's name is no header value")?;
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("echo backend cannot bind {address}"))?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let name = name.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, name.clone()));
            if let Err(error) =
                http1::Builder::new().serve_connection(TokioIo::new(socket), service).await
            {
                tracing::debug!(%error, "echo connection ended");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    name: HeaderValue,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = match Limited::new(request.into_body(), LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(respond(413, name, Bytes::from_static(b"the body is larger than 1 MiB\n"))),
    };
    let body = if body.is_empty() { format!("hello from {name:?}, path {path}\n").into() } else { body };
    Ok(respond(200, name, body))
}

fn respond(status: u16, name: HeaderValue, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(SERVED_BY, name);
    response
}
