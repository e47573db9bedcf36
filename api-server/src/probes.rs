//! What the kubelet asks of a pod: `/live` while the process answers at all, `/ready` once it is.
//!
//! Losing the API server makes neither false: to restart or to leave the Service would help nobody
//! (case F4).

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

/// Connections at a time.
const CONNECTIONS: usize = 32;
/// How long one may live.
const LIFE: Duration = Duration::from_secs(10);

/// Answers for ever, whether `ready` is true.
pub async fn answer_probes(listener: TcpListener, ready: watch::Receiver<bool>) {
    let permits = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = std::sync::Arc::clone(&permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a probe");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let ready = ready.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, *ready.borrow());
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(LIFE)
                .serve_connection(TokioIo::new(stream), service);
            let _ = timeout(LIFE, connection).await;
            drop(permit);
        });
    }
}

fn answer(request: &Request<Incoming>, ready: bool) -> Response<Full<Bytes>> {
    let (status, text) = match (request.uri().path(), ready) {
        ("/live", _) | ("/ready", true) => (StatusCode::OK, "ok\n"),
        ("/ready", false) => (StatusCode::SERVICE_UNAVAILABLE, "not everything is known yet\n"),
        _ => (StatusCode::NOT_FOUND, "there is /live and /ready\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}
