//! One running instance: everything that `isthmus run` starts, and the order in which it starts and ends.
//!
//! Nothing is decided here but that order, and who this cluster is: its id and trust domain are those of
//! its first start, whatever is read later.

mod door;
mod kept;
mod machine;
mod names;
mod peers;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use isthmus_compiler::Compiler;
use isthmus_world::{Change, Kind, KindState};
use isthmus_xds::{
    delta::server::Limits,
    evidence::Observation,
    server::{self as xds, Publisher, Reports},
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::UnixListenerStream;

use self::{
    door::Door,
    kept::{authority, claim, handle_key},
    machine::{Machine, Outputs},
    names::Names,
    peers::Peers,
};
pub use self::{kept::ClusterIdentity, machine::Readiness, names::NameSink};
use crate::{
    ca::{Authority, CaError},
    core::{self, Core, Input},
    federation::FederationError,
    files::{
        diagnostic::Diagnostic,
        kinds::ObjectId,
        set::Edit,
        source::{Batch, Given, Source},
    },
    settings::{InvalidInstall, Settings},
    socket::{SOCKET, Server},
    state_dir::{Journal, OpenError, StateDir},
    store::{StatusRecord, Store},
    supervisor::{Config, Supervisor},
    tokens::{TokenIssuer, Tokens},
};

const OBJECTS: &str = "objects.jsonl";
const STATUSES: &str = "statuses.jsonl";
const XDS: &str = "xds.sock";
/// Edits that may wait.
const QUEUE: usize = 256;

/// What an instance is started with.
#[derive(Debug)]
pub struct Options {
    /// Where manifests are.
    pub given: Vec<Given>,
    /// The state directory.
    pub state_dir: PathBuf,
    /// The proxy's program; found beside this one when not given.
    pub proxy: Option<PathBuf>,
}

/// Who hears of what happens.
pub trait Observer: Send + 'static {
    /// Something is wrong in a manifest.
    fn diagnostic(&mut self, diagnostic: &Diagnostic);

    /// Every accepted Gateway is programmed, or says why it cannot be. Called once.
    fn ready(&mut self, readiness: &Readiness);
}

/// Why an instance cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] OpenError),
    /// Something in it cannot be read or written.
    #[error("cannot use {} in the state directory", .0)]
    StateFile(&'static str, #[source] io::Error),
    /// The MeshInstall is wrong, so that nobody knows who this cluster is.
    #[error("the MeshInstall cannot be used: mend it and start again")]
    Install(#[source] Option<InvalidInstall>),
    /// The state directory is of another cluster.
    #[error(
        "the state directory {} is of cluster {:?} in trust domain {:?}, and the manifests declare \
         {:?} in {:?}: use another --state-dir, or take the old names back",
        path.display(), kept.cluster, kept.trust_domain, declared.cluster, declared.trust_domain
    )]
    AnotherCluster {
        /// The state directory.
        path: PathBuf,
        /// Whose it is.
        kept: ClusterIdentity,
        /// Whose it is to be.
        declared: ClusterIdentity,
    },
    /// What is kept of the CA cannot be used. With a new one in its place no peer would believe this cluster.
    #[error(
        "the CA in {} cannot be used: restore the file from a backup, or remove it to become a new cluster, \
         which every peer has to be joined with again", .0.display()
    )]
    Authority(PathBuf, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// No CA can be made.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// There is no proxy to run.
    #[error("the proxy's program {} is not there: set ISTHMUS_PROXY to where it is", .0.display())]
    NoProxy(PathBuf),
    /// Peers cannot be taken up.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// A socket cannot be bound.
    #[error("cannot listen on {0}")]
    Listen(String, #[source] io::Error),
    /// The east-west gateway's port is taken: its address, and what the system says.
    #[error(
        "the east-west gateway cannot listen on {0}: free the port, or choose another in \
         spec.gateways.eastWest of the MeshInstall"
    )]
    EastWest(String),
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
}

/// Runs an instance until `shutdown`, then drains it; at once when `hurry` is ready too.
///
/// # Errors
/// When it cannot start. Nothing is left running then.
pub async fn run(
    options: Options,
    mut observer: impl Observer,
    shutdown: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> Result<(), InstanceError> {
    let state = Arc::new(StateDir::open(&options.state_dir)?);
    let program = program(options.proxy)?;
    let mut source = Source::open(options.given, &state).map_err(file(OBJECTS))?;
    let first = source.next().await;
    report(&mut observer, &first);
    let settings = settings(&first)?;
    claim(&state, &options.state_dir, &settings)?;
    let instance = Instance::assemble(&state, program, settings).await?;
    instance.run(source, first, observer, shutdown, hurry).await
}

/// What is put together before anything runs.
struct Instance {
    state: Arc<StateDir>,
    core: Core<Machine>,
    door: Door,
    control: Server,
    listener: UnixListener,
    publisher: Publisher,
    reports: Reports,
    tokens: Tokens,
    authority: Arc<Authority>,
    peers: Peers,
    names: Names,
}

impl Instance {
    async fn assemble(
        state: &Arc<StateDir>,
        program: PathBuf,
        settings: Settings,
    ) -> Result<Self, InstanceError> {
        let authority = Arc::new(authority(state, &settings)?);
        let tokens = Tokens::default();
        let (publisher, reports) = Publisher::new(Limits::default());
        let listener = listen(state, XDS)?;
        let supervisor = Supervisor::new(Config {
            program,
            control: state.path(XDS),
            state: state.clone(),
            tokens: tokens.clone(),
        });
        let remembered = Journal::replay::<StatusRecord>(state, STATUSES).map_err(file(STATUSES))?;
        let store = Store::new(remembered);
        let statuses = Journal::begin(state, STATUSES, store.records()).map_err(file(STATUSES))?;
        let (news, heard) = mpsc::unbounded_channel();
        let store = Arc::new(RwLock::new(store));
        let peers = Peers::start(state, &authority, &settings, heard).await?;
        let (names, sink) = Names::new(settings.dns);
        let processes = supervisor.processes();
        let control = Server::bind(&state.path(SOCKET))
            .map_err(|e| InstanceError::Listen(state.path(SOCKET).display().to_string(), e))?;
        let outputs = Outputs { supervisor, store: store.clone(), statuses, news, names: sink };
        let federation = Some(peers.address);
        let mut compiler = Compiler::new(settings.mesh(federation), handle_key(state)?);
        compiler.apply(Change::Roots(authority.roots()));
        let machine = Machine::new(settings, federation, outputs);
        let core = Core::new(compiler, publisher.clone(), machine);
        let (state, federation) = (state.clone(), peers.federation.clone());
        let door = Door { store, processes, federation, closed: core.surroundings().closed() };
        Ok(Self {
            state,
            core,
            door,
            control,
            listener,
            publisher,
            reports,
            tokens,
            authority,
            peers,
            names,
        })
    }

    async fn run(
        mut self,
        source: Source,
        first: Batch,
        observer: impl Observer,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), InstanceError> {
        let ready = self.core.surroundings().ready();
        let closed = closed_at_start(self.core.surroundings().closed(), ready.clone());
        let (inputs, queue) = mpsc::channel(QUEUE);
        let (tell, observations) = mpsc::channel(QUEUE);
        let proxies =
            tokio::spawn(serve(self.listener, self.publisher, self.tokens, self.authority, tell));
        let evidence = tokio::spawn(peers::observe(observations, self.peers.federation.clone()));
        let reports = tokio::spawn(core::hear(self.reports, inputs.clone()));
        let (control, door) = (self.control, Arc::new(self.door));
        let door = tokio::spawn(async move { control.serve(door).await });
        // All objects are known at the start, as far as they are at all.
        let synced = Kind::ALL.map(|kind| Change::Kind { kind, state: KindState::Synced });
        let known = [Input::Changes(self.peers.known), Input::Told(first.edits)];
        self.core.prepare(known.into_iter().chain([Input::Changes(synced.into())]).collect());
        let changes = tokio::spawn(forward_changes(self.peers.changes, inputs.clone()));
        let news = tokio::spawn(peers::tell(
            self.peers.news,
            self.peers.federation.clone(),
            self.peers.address,
        ));
        let names = tokio::spawn(self.names.run());
        let core = tokio::spawn(self.core.run(queue));
        // In this order, so that what is said to be ready is not closed already.
        let outcome = tokio::select! {
            biased;
            why = closed => Err(InstanceError::EastWest(why)),
            () = shutdown => Ok(()),
            () = follow(source, observer, ready, inputs) => Ok(()),
        };
        tracing::info!("draining");
        // The core ends when nobody is left who could tell it anything.
        reports.abort();
        changes.abort();
        if let Ok(machine) = core.await {
            machine.into_supervisor().stop(hurry).await;
        }
        self.peers.federation.shut_down().await;
        let _ = names.await;
        news.abort();
        evidence.abort();
        proxies.abort();
        door.abort();
        let _ = std::fs::remove_file(self.state.path(XDS));
        outcome
    }
}

/// Why the east-west gateway cannot listen, when that is so before the instance is ready. Never ready when
/// it is not: a port that is taken later is tried again.
async fn closed_at_start(
    mut closed: watch::Receiver<Option<String>>,
    mut ready: watch::Receiver<Option<Readiness>>,
) -> String {
    let why = async { closed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()) };
    let announced = async { drop(ready.wait_for(Option::is_some).await) };
    let why = tokio::select! {
        biased;
        why = why => why,
        () = announced => None,
    };
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

/// Hands on what the directories say, and tells once when all is ready.
async fn follow(
    mut source: Source,
    mut observer: impl Observer,
    mut ready: watch::Receiver<Option<Readiness>>,
    inputs: mpsc::Sender<Input<Vec<Edit>>>,
) {
    let mut announced = false;
    loop {
        tokio::select! {
            batch = source.next() => {
                report(&mut observer, &batch);
                if inputs.send(Input::Told(batch.edits)).await.is_err() {
                    return;
                }
            }
            changed = ready.changed(), if !announced => {
                let readiness = ready.borrow_and_update().clone();
                if let (Ok(()), Some(readiness)) = (changed, readiness) {
                    observer.ready(&readiness);
                    announced = true;
                }
            }
        }
    }
}

async fn forward_changes(
    mut changes: mpsc::Receiver<Vec<Change>>,
    inputs: mpsc::Sender<Input<Vec<Edit>>>,
) {
    while let Some(changes) = changes.recv().await {
        if inputs.send(Input::Changes(changes)).await.is_err() {
            return;
        }
    }
}

async fn serve(
    listener: UnixListener,
    publisher: Publisher,
    tokens: Tokens,
    authority: Arc<Authority>,
    observations: mpsc::Sender<Vec<Observation>>,
) {
    let issuer = Arc::new(TokenIssuer { tokens: tokens.clone(), authority });
    let (incoming, tokens) = (UnixListenerStream::new(listener), Arc::new(tokens));
    let forever = std::future::pending();
    if let Err(error) = xds::serve(incoming, publisher, tokens, issuer, observations, forever).await {
        tracing::error!(%error, "no longer serving proxies");
    }
}

fn report(observer: &mut impl Observer, batch: &Batch) {
    batch.diagnostics.iter().for_each(|diagnostic| observer.diagnostic(diagnostic));
}

fn file(name: &'static str) -> impl FnOnce(io::Error) -> InstanceError {
    move |error| InstanceError::StateFile(name, error)
}

/// The proxy's program: as given, or beside this one.
fn program(given: Option<PathBuf>) -> Result<PathBuf, InstanceError> {
    let beside = || {
        let own = std::env::current_exe().unwrap_or_default();
        own.parent().unwrap_or(Path::new("")).join("isthmus-proxy")
    };
    let program = given.unwrap_or_else(beside);
    if program.is_file() { Ok(program) } else { Err(InstanceError::NoProxy(program)) }
}

/// The settings that the manifests declare. A MeshInstall that was never good is an error: with the
/// defaults in its place this would be another cluster.
fn settings(first: &Batch) -> Result<Settings, InstanceError> {
    let is_install = |id: &ObjectId| id.kind == "MeshInstall";
    let good = first.edits.iter().find_map(|edit| match edit {
        Edit::Upsert(id, object) if is_install(id) => Some(object),
        _ => None,
    });
    let refused =
        first.edits.iter().any(|edit| matches!(edit, Edit::Problem { id, .. } if is_install(id)));
    if good.is_none() && refused {
        return Err(InstanceError::Install(None));
    }
    Settings::of(good).map_err(|error| InstanceError::Install(Some(error)))
}

/// Listens on a socket of the state directory; what a crash left there is in the way, and goes.
fn listen(state: &StateDir, name: &str) -> Result<UnixListener, InstanceError> {
    let path = state.path(name);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|e| InstanceError::Listen(path.display().to_string(), e))
}
