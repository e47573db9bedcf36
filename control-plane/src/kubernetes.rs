//! A control plane in a Kubernetes cluster: what `isthmus control-plane` runs.
//!
//! Decides nothing but the order in which things start and end. Objects come by watches, statuses go back
//! to the API server, and proxies are pods that call in by TLS; which pods there are is the operator's to
//! say. Losing the API server changes nothing that proxies do (design, invariant 1): what is known stands,
//! and everything is tried again.
//!
//! Of several replicas one leads: it serves all proxies, so that it knows what is in force everywhere, and
//! writes statuses. The others know all that it knows, and wait. One that does not know everything yet does
//! not stand for election: it would take the proxies away from another that does.

mod cluster;
mod door;
mod endpoint;
mod install;
mod kept;
mod owners;
mod proof;
mod roots;
mod secrets;
mod sources;
mod statuses;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use isthmus_api_server::{Client, ConnectError, Elector, answer_probes};
use isthmus_compiler::Compiler;
use isthmus_crds::names::control_plane;
use isthmus_identity::InvalidRoot;
use isthmus_ir::InvalidIdentity;
use isthmus_world::Change;
use isthmus_xds::{delta::server::Limits, server::Publisher};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::timeout,
};

use self::{
    cluster::{Cluster, Outlets},
    door::Door,
    kept::KeptError,
    proof::{Gateways, Proof, Served},
    secrets::Secrets,
    statuses::Statuses,
};
use crate::{
    ca::CaError,
    core::{self, Core},
};

/// Edits that may wait.
const QUEUE: usize = 1024;

/// What a control plane in a cluster is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The MeshInstall that says what the mesh is.
    pub install: String,
    /// The MeshRevision that this is the control plane of; none for the MeshInstall's own.
    pub revision: Option<String>,
    /// The namespace of this pod.
    pub namespace: String,
    /// The name of this pod, by which it holds its Lease.
    pub pod: String,
    /// The address of this pod, to which proxies are sent while it leads.
    pub address: Option<IpAddr>,
    /// Where proxies call in.
    pub listen: SocketAddr,
    /// Where `/ready` and `/live` are answered.
    pub ready: SocketAddr,
}

/// Why a control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// There is no API server to talk to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What the cluster keeps for us cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A port cannot be bound.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The trust domain leaves no room for our own name in it.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    /// The root of our own CA cannot be used.
    #[error("the root of the CA cannot be used")]
    Root(#[from] InvalidRoot),
    /// The certificate cannot be used for TLS.
    #[error("cannot serve TLS")]
    Tls(#[from] rustls::Error),
    /// A part of it ended by an error of its own: another process is to begin anew.
    #[error("a part of the control plane failed, which is an error of isthmus")]
    Task(#[source] JoinError),
}

/// Runs a control plane until `shutdown`.
///
/// # Errors
/// When it cannot start: a port is taken, or what is kept of its CA cannot be used. An API server that is
/// away is waited for.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), KubernetesError> {
    let client = isthmus_api_server::connect(None, None).await?;
    // It is bound while this replica leads; that it never can be is to be said at once.
    drop(bind(options.listen).await?);
    let (ready, is_ready) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(answer_probes(bind(options.ready).await?, is_ready));
    let mut shutdown = std::pin::pin!(shutdown);
    let started = tokio::select! {
        started = start(client, options, ready, &mut tasks) => started?,
        () = &mut shutdown => return Ok(()),
    };
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        error = failed(&mut tasks) => Err(KubernetesError::Task(error)),
    };
    tracing::info!("ending");
    started.end().await;
    ended
}

/// The first task that fails.
async fn failed(tasks: &mut JoinSet<()>) -> JoinError {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            return error;
        }
    }
    std::future::pending().await
}

/// What is to be ended in order.
struct Started {
    elector: tokio::task::JoinHandle<()>,
    resign: watch::Sender<bool>,
}

impl Started {
    /// Gives the Lease back, so that another replica takes over at once.
    async fn end(self) {
        self.resign.send_replace(true);
        let _ = self.elector.await;
    }
}

async fn start(
    client: Client,
    options: Options,
    ready: watch::Sender<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<Started, KubernetesError> {
    let (settings, installs) = install::first(client.clone(), &options.install).await;
    let kept = kept::take(&client, &options.namespace, &settings, &installs.owner()).await?;
    let authority = Arc::new(kept.authority);
    let name = control_plane(options.revision.as_deref());
    let owner = match &options.revision {
        Some(revision) => owners::owner(&client, revision).await,
        None => installs.owner(),
    };
    let elector = Elector::new(client.clone(), &options.namespace, &name, &options.pod);
    let elector = elector.owned_by(owner.clone());
    let (resign, resigned) = watch::channel(false);

    let (publisher, reports) = Publisher::new(Limits::default());
    let (inputs, queue) = mpsc::channel(QUEUE);
    let statuses = Statuses::new(client.clone(), elector.leadership(), options.revision.clone());
    tasks.spawn(owners::follow(client.clone(), options.install.clone(), statuses.clone()));
    let gateways = Gateways::default();
    let (wanted, wanted_secrets) = watch::channel(std::collections::BTreeSet::new());
    let (namespaces, rooted) = watch::channel(std::collections::BTreeSet::new());

    tasks.spawn(roots::publish(
        client.clone(),
        elector.leadership(),
        options.namespace.clone(),
        installs.owner(),
        authority.roots(),
        rooted,
    ));
    if let Some(address) = options.address {
        let address = SocketAddr::new(address, options.listen.port());
        let endpoint = endpoint::Endpoint::new(&options.namespace, &name, address, owner);
        tasks.spawn(endpoint.keep(client.clone(), elector.leadership()));
    }
    let (leadership, tenure) = (elector.leadership(), elector.tenure());
    let elector = tokio::spawn(stand(elector, ready.subscribe(), resigned));
    tasks.spawn(statuses.clone().write());
    tasks.spawn(Secrets::new(client.clone(), inputs.clone()).follow(wanted_secrets));
    sources::follow(&client, &inputs, tasks);
    tasks.spawn(install::follow(installs, inputs.clone()));
    tasks.spawn(core::hear(reports, inputs));

    let mut compiler = Compiler::new(settings.mesh_of_pods(), kept.handles);
    compiler.apply(Change::Roots(authority.roots()));
    let outlets = Outlets { statuses, gateways: gateways.clone(), wanted, namespaces, ready };
    let core = Core::new(compiler, publisher.clone(), Cluster::new(settings, outlets));
    tasks.spawn(async move { drop(core.run(queue).await) });

    let (config, renewals) = proof::server(Arc::clone(&authority), options.namespace)?;
    tasks.spawn(renewals);
    let proof = Arc::new(Proof::new(client, gateways.clone(), Arc::clone(&authority)));
    let door =
        Door { listen: options.listen, config, publisher, served: Arc::new(Served(gateways)), proof };
    tasks.spawn(door.open(tenure, leadership));
    Ok(Started { elector, resign })
}

/// Stands for election once everything is known, until `resigned`.
async fn stand(elector: Elector, mut ready: watch::Receiver<bool>, resigned: watch::Receiver<bool>) {
    let known = async { ready.wait_for(|ready| *ready).await.is_ok() };
    let stands = tokio::select! {
        known = known => known,
        () = wait(resigned.clone()) => false,
    };
    if stands {
        elector.run(wait(resigned)).await;
    }
}

/// What `asking` an API server comes to, if it does so in time.
async fn within<T>(time: Duration, asking: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let late = || kube::Error::Service("no answer in time".into());
    timeout(time, asking).await.unwrap_or_else(|_| Err(late()))
}

async fn wait(mut ended: watch::Receiver<bool>) {
    // Whoever could say so is gone: that is an end too.
    let _ = ended.wait_for(|ended| *ended).await;
}

async fn bind(address: SocketAddr) -> Result<TcpListener, KubernetesError> {
    TcpListener::bind(address).await.map_err(|error| KubernetesError::Listen(address, error))
}
