//! The connection to an API server.
//!
//! A server that is gone without a word is noticed: by the operating system's keep-alive when its machine
//! is gone, and by silence when only its process is stuck, as a healthy server sends a bookmark to every
//! watch about once a minute (case F2).

use std::{path::Path, time::Duration};

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::ServiceBuilder;

use crate::retry::Retry;

const CONNECT: Duration = Duration::from_secs(5);
/// Longer than the time between two bookmarks.
const SILENCE: Duration = Duration::from_secs(90);
/// An idle connection is probed after so long, and given up after three probes without an answer.
const PROBE_AFTER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// Why there is no client for an API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used")]
    Kubeconfig(#[from] KubeconfigError),
    /// There is neither a kubeconfig nor a service account of a pod.
    #[error(
        "no Kubernetes cluster is configured: set KUBECONFIG, or run in a pod with a service account"
    )]
    Nowhere(#[source] Box<kube::config::InferConfigError>),
    /// What the configuration says about keys or certificates cannot be used.
    #[error("the credentials for the API server cannot be used")]
    Credentials(#[source] Box<kube::Error>),
}

/// A client for the cluster of `context` in `kubeconfig`; without the one, its current context, and without
/// the other, what `KUBECONFIG` or `~/.kube/config` says, or the service account of this pod.
///
/// Nothing is sent yet: an API server that is away is no error here (case F4).
///
/// # Errors
/// When the configuration cannot be read or makes no sense.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Client, ConnectError> {
    connect_within(SILENCE, kubeconfig, context).await
}

/// As [`connect`] does; a connection on which nothing comes for as long as `silence` is given up.
///
/// # Errors
/// When the configuration cannot be read or makes no sense.
pub async fn connect_within(
    silence: Duration,
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Client, ConnectError> {
    let config = match (kubeconfig, context) {
        (None, None) => Config::infer().await.map_err(|e| ConnectError::Nowhere(Box::new(e)))?,
        (file, context) => {
            let kubeconfig = match file {
                Some(path) => Kubeconfig::read_from(path)?,
                None => Kubeconfig::read()?,
            };
            let context = context.map(str::to_owned);
            let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(kubeconfig, &options).await?
        }
    };
    client(&config, silence).map_err(|e| ConnectError::Credentials(Box::new(e)))
}

fn client(config: &Config, silence: Duration) -> kube::Result<Client> {
    // Only the first call counts, and whichever comes first installs the same one (case D20).
    let _ = (*isthmus_identity::crypto_provider()).clone().install_default();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(PROBE_AFTER));
    tcp.set_keepalive_interval(Some(PROBE_EVERY));
    tcp.set_keepalive_retries(Some(PROBES));
    let tls = config.rustls_https_connector_with_connector(tcp)?;
    let mut connector = TimeoutConnector::new(tls);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_read_timeout(Some(silence));
    connector.set_write_timeout(Some(silence));
    let hyper = HyperClient::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(tower::retry::RetryLayer::new(Retry::default()))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(tower::BoxError::from)
        .service(hyper);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}
