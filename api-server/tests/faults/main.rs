//! What becomes of watches and Leases when an API server, or the way to it, fails: a real API server behind
//! a proxy that makes the faults.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod lease;
mod watch;

use std::time::Duration;

use isthmus_api_server::{Client, connect_within};
use isthmus_e2e::{api_server::ApiServer, faults::Proxy};

/// A real API server, started where waiting is allowed.
async fn api_server() -> ApiServer {
    tokio::task::spawn_blocking(|| ApiServer::start().unwrap()).await.unwrap()
}

/// How long a connection may be silent: longer than the time between two bookmarks, for most tests.
const SILENCE: Duration = Duration::from_secs(90);

/// A proxy in front of `server`, and a client by way of it.
async fn proxy(server: &ApiServer, silence: Duration) -> (Proxy, Client) {
    let proxy = Proxy::before(server).await.unwrap();
    let kubeconfig = proxy.kubeconfig(server, None).unwrap();
    let client = connect_within(silence, Some(&kubeconfig), None).await.unwrap();
    (proxy, client)
}
