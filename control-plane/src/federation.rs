//! Federation at run time: joining, keeping a stream to every peer, and what each one says and is told.
//!
//! Decides nothing of its own: who may join, what of a peer is in force and when it is lost is decided by
//! the state machines of `isthmus_east_west`, what is sent by `isthmus_xds::federation`, who is believed by
//! `isthmus_identity`. What follows for traffic goes into the run loop's queue as
//! [`Change`]s, a batch at a time; a batch is to be applied before one refresh, never in two.
//!
//! A peer that is down holds nothing up: what it exported last is in force from the start. Peers and
//! invitations are in the state directory before anybody is told of them.

mod bridge;
mod dial;
mod error;
mod exported;
mod input;
mod join;
mod listener;
mod membership;
mod network;
mod probe;
mod status;
mod store;
mod stored;
mod svid;
mod task;
#[cfg(test)]
mod tests;
mod trust;

pub use self::{error::FederationError, status::PeerStatus};

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use isthmus_compiler::ExportChange;
use isthmus_east_west::{
    invite::Token,
    lease::Timing,
    peer::{Effect, Peer},
};
use isthmus_ir::Redacted;
use isthmus_world::{Change, fact::MeshSettings};
use isthmus_xds::federation;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_stream::Stream;

use self::{
    bridge::Door,
    input::{Input, Inputs, Reply},
    network::{Io, Network},
    store::Store,
    svid::Svid,
    task::Task,
};
use crate::{ca::Authority, state_dir::StateDir};

/// How long a join waits for the new peer to say what it exports.
const FIRST_SNAPSHOT: Duration = Duration::from_secs(5);

/// Seconds since 1970.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What federation runs on.
pub struct Setup {
    /// Where peers and invitations are kept.
    pub state: Arc<StateDir>,
    /// This cluster's CA.
    pub authority: Arc<Authority>,
    /// This cluster. Its id and trust domain stay what they are.
    pub settings: MeshSettings,
    /// Where peers are told that this cluster's east-west gateways are.
    pub advertise: Vec<SocketAddr>,
    /// Where news of peers goes: each batch is to be applied at once. Whoever drains it must not wait for
    /// an answer of [`Federation`] meanwhile.
    pub changes: mpsc::Sender<Vec<Change>>,
    /// Lengths of leases.
    pub timing: Timing,
    /// Wall-clock time.
    pub clock: Clock,
}

/// The system's wall clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Peers of this cluster. Cloning copies pointers.
#[derive(Clone)]
pub struct Federation {
    inputs: Inputs,
    settings: Arc<std::sync::Mutex<MeshSettings>>,
    network: Network,
    svid: Svid,
}

/// What came of a join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The new peer.
    pub cluster: String,
    /// Its trust domain.
    pub trust_domain: String,
}

/// Takes up what was kept, and begins to serve and to dial. What is answered besides is in force already
/// and belongs into the World before its first refresh, so that a peer that is down is used as before.
///
/// # Errors
/// When the state directory cannot be read, or there can be no certificate.
pub async fn start(
    setup: Setup,
    listener: TcpListener,
) -> Result<(Federation, Vec<Change>), FederationError> {
    start_over(setup, Network::tcp(), network::accepted(listener)).await
}

async fn start_over(
    setup: Setup,
    network: Network,
    accepted: impl Stream<Item = io::Result<Io>> + Send + 'static,
) -> Result<(Federation, Vec<Change>), FederationError> {
    let Setup { state, authority, settings, advertise, changes, timing, clock } = setup;
    let svid = Svid::new(Arc::clone(&authority), Arc::clone(&clock))?;
    let (inputs, received) = mpsc::unbounded_channel();
    let federation = Federation {
        inputs: inputs.clone(),
        settings: Arc::new(std::sync::Mutex::new(settings.clone())),
        network: network.clone(),
        svid: svid.clone(),
    };
    let store = Store::new(state);
    let (peers, invitations) = store.load()?;
    let mut tasks = JoinSet::new();
    serve(accepted, svid.clone(), inputs.clone(), &mut tasks);
    let mut task = Task {
        settings,
        advertise,
        authority,
        svid,
        clock,
        timing,
        version: format!("isthmus {}", env!("CARGO_PKG_VERSION")),
        network,
        store,
        changes,
        inputs,
        invitations: invitations.into_iter().map(|i| (i.id.clone(), i)).collect(),
        peers: BTreeMap::new(),
        exports: None,
        begun: Instant::now(),
        memberships: 0,
        renewal: Svid::due(),
        tasks,
    };
    let mut initial = Vec::new();
    for saved in peers {
        let (peer, effects) = Peer::restored(saved, timing, Duration::ZERO);
        let cluster = Arc::clone(&peer.fact().cluster);
        task.insert(peer, Duration::ZERO).await;
        initial.extend(effects.into_iter().filter_map(|effect| task.at_once(&cluster, effect)));
    }
    tokio::spawn(task.run(received));
    Ok((federation, initial))
}

/// Answers peers, until the tasks are ended.
fn serve(
    accepted: impl Stream<Item = io::Result<Io>> + Send + 'static,
    svid: Svid,
    inputs: Inputs,
    tasks: &mut JoinSet<()>,
) {
    let (connections, accepting) = listener::connections(accepted, svid);
    let (alive, ended) = oneshot::channel::<()>();
    tasks.spawn(async move {
        accepting.await;
        drop(alive);
    });
    // Not among the tasks: it ends streams in order once accepting has been ended.
    tokio::spawn(async move {
        let ended = async { drop(ended.await) };
        if let Err(error) = federation::serve(connections, Arc::new(Door { inputs }), ended).await {
            tracing::error!(%error, "the federation port is closed");
        }
    });
}

impl Task {
    /// The change that follows from an effect of a restart.
    fn at_once(&mut self, cluster: &Arc<str>, effect: Effect) -> Option<Change> {
        match effect {
            Effect::Fact(fact) => Some(Change::Peer(fact)),
            Effect::Snapshot(services) => {
                Some(Change::PeerSnapshot { cluster: Arc::clone(cluster), services })
            }
            Effect::Probe => {
                self.probe(cluster);
                None
            }
            _ => None,
        }
    }
}

impl Federation {
    /// A new token, to be carried to the other cluster. It is a secret for 15 minutes.
    ///
    /// # Errors
    /// When this cluster has no gateway, or the invitation cannot be written down.
    pub async fn invite(&self) -> Result<Redacted<String>, FederationError> {
        self.ask(Input::Invite).await
    }

    /// Joins the cluster that made `token`, and waits a little for what it exports. Goes on to its end even
    /// if it is not waited for.
    ///
    /// # Errors
    /// When nothing came of it; nothing is kept then on this side, and on the other for 15 minutes at most.
    pub async fn join(&self, token: &str) -> Result<Joined, FederationError> {
        let token: Token = token.parse()?;
        let federation = self.clone();
        let joining = tokio::spawn(async move { federation.join_with(token).await });
        joining.await.unwrap_or(Err(FederationError::Ended))
    }

    async fn join_with(&self, token: Token) -> Result<Joined, FederationError> {
        let joining = self.ask(|reply| Input::BeginJoin(token.clone(), reply)).await?;
        let settings = self.settings();
        let member = join::redeem(&token, &joining, &settings, &self.network, &self.svid).await?;
        let joined =
            Joined { cluster: member.cluster.clone(), trust_domain: member.trust_domain.to_string() };
        let first = self.ask(|reply| Input::FinishJoin(member, reply)).await?;
        let _ = timeout(FIRST_SNAPSHOT, first).await;
        Ok(joined)
    }

    /// The peers, in order of cluster id.
    ///
    /// # Errors
    /// When the control plane is ending.
    pub async fn list(&self) -> Result<Vec<PeerStatus>, FederationError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(Input::List(reply));
        answer.await.map_err(|_| FederationError::Ended)
    }

    /// Leaves `cluster`, in 5 seconds; by force at once, and also when it cannot be told.
    ///
    /// # Errors
    /// When there is no such peer, or without force when it cannot be told.
    pub async fn leave(&self, cluster: &str, force: bool) -> Result<(), FederationError> {
        let cluster = cluster.to_owned();
        self.ask(|reply| Input::Leave { cluster, force, reply }).await
    }

    /// Tells peers of edits of what this cluster exports. The first call has to bring all of it, and must
    /// not come before the compiler knows: peers are told nothing before (case E3). Never waits.
    pub fn publish(&self, edits: Vec<ExportChange>) {
        let _ = self.inputs.send(Input::Publish(edits));
    }

    /// New settings of this cluster, and addresses of its gateways. Never waits.
    pub fn configure(&self, settings: MeshSettings, advertise: Vec<SocketAddr>) {
        settings.clone_into(&mut self.lock());
        let _ = self.inputs.send(Input::Configure(settings, advertise));
    }

    /// What a proxy of this cluster has seen: whether a gateway of the peer answered. To be told once a
    /// second at most for each peer and outcome. Never waits.
    pub fn observed(&self, cluster: &str, reached: bool) {
        let _ = self.inputs.send(Input::Observed { cluster: cluster.into(), reached });
    }

    /// Writes everything down and ends. Peers are not left.
    pub async fn shut_down(&self) {
        let (reply, ended) = oneshot::channel();
        let _ = self.inputs.send(Input::Stop(reply));
        let _ = ended.await;
    }

    async fn ask<T>(&self, input: impl FnOnce(Reply<T>) -> Input) -> Result<T, FederationError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(input(reply));
        answer.await.unwrap_or(Err(FederationError::Ended))
    }

    fn settings(&self) -> MeshSettings {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, MeshSettings> {
        self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
