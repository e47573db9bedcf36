//! One running instance: everything that `isthmus run` starts, and the order in which it starts and ends.
//!
//! Nothing is decided here but that order, and who this cluster is: its id and trust domain are those of
//! its first start, whatever is read later.

mod door;
mod names;
mod peers;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use isthmus_east_west::handle::HandleKey;
use isthmus_world::Change;
use isthmus_xds::{
    delta::server::Limits,
    evidence::Observation,
    server::{self as xds, Publisher, Reports},
};
use serde::{Deserialize, Serialize};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
};
use tokio_stream::wrappers::UnixListenerStream;

pub use self::names::NameSink;
use self::{door::Door, names::Names, peers::Peers};
use crate::{
    ca::{Authority, CaError, StoredAuthority},
    core::{Core, Input, Outputs, Readiness},
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
    tokens::{TokenIssuer, Tokens, now},
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
    /// The CA cannot be used.
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
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
}

/// Who a state directory belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIdentity {
    /// The cluster's id.
    pub cluster: String,
    /// Its trust domain.
    pub trust_domain: String,
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
    instance.run(source, first, observer, shutdown, hurry).await;
    Ok(())
}

/// What is put together before anything runs.
struct Instance {
    state: Arc<StateDir>,
    core: Core,
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
        let outputs = Outputs {
            publisher: publisher.clone(),
            supervisor,
            store: store.clone(),
            statuses,
            news,
            names: sink,
        };
        let federation = Some(peers.address);
        let core = Core::new(settings, federation, handle_key(state)?, authority.roots(), outputs);
        let (state, federation) = (state.clone(), peers.federation.clone());
        let door = Door { store, processes, federation, closed: core.closed() };
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
        self,
        source: Source,
        first: Batch,
        observer: impl Observer,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) {
        let ready = self.core.ready();
        let (inputs, queue) = mpsc::channel(QUEUE);
        let (tell, observations) = mpsc::channel(QUEUE);
        let proxies =
            tokio::spawn(serve(self.listener, self.publisher, self.tokens, self.authority, tell));
        let evidence = tokio::spawn(peers::observe(observations, self.peers.federation.clone()));
        let reports = tokio::spawn(forward(self.reports, inputs.clone()));
        let (control, door) = (self.control, Arc::new(self.door));
        let door = tokio::spawn(async move { control.serve(door).await });
        let known = vec![Input::Changes(self.peers.known), Input::Edits(first.edits)];
        let changes = tokio::spawn(forward_changes(self.peers.changes, inputs.clone()));
        let news = tokio::spawn(peers::tell(
            self.peers.news,
            self.peers.federation.clone(),
            self.peers.address,
        ));
        let names = tokio::spawn(self.names.run());
        let core = tokio::spawn(self.core.run(known, queue));
        tokio::select! {
            () = follow(source, observer, ready, inputs) => {}
            () = shutdown => {}
        }
        tracing::info!("draining");
        // The core ends when nobody is left who could tell it anything.
        reports.abort();
        changes.abort();
        if let Ok(supervisor) = core.await {
            supervisor.stop(hurry).await;
        }
        self.peers.federation.shut_down().await;
        let _ = names.await;
        news.abort();
        evidence.abort();
        proxies.abort();
        door.abort();
        let _ = std::fs::remove_file(self.state.path(XDS));
    }
}

/// Hands on what the directories say, and tells once when all is ready.
async fn follow(
    mut source: Source,
    mut observer: impl Observer,
    mut ready: watch::Receiver<Option<Readiness>>,
    inputs: mpsc::Sender<Input>,
) {
    let mut announced = false;
    loop {
        tokio::select! {
            batch = source.next() => {
                report(&mut observer, &batch);
                if inputs.send(Input::Edits(batch.edits)).await.is_err() {
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

async fn forward(mut reports: Reports, inputs: mpsc::Sender<Input>) {
    while inputs.send(Input::Proxy(reports.next().await)).await.is_ok() {}
}

async fn forward_changes(mut changes: mpsc::Receiver<Vec<Change>>, inputs: mpsc::Sender<Input>) {
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

/// Makes the state directory this cluster's, or checks that it is.
fn claim(state: &StateDir, path: &Path, settings: &Settings) -> Result<(), InstanceError> {
    const FILE: &str = "cluster.json";
    let declared = ClusterIdentity {
        cluster: settings.cluster.as_ref().to_owned(),
        trust_domain: settings.trust_domain.to_string(),
    };
    match state.load::<ClusterIdentity>(FILE).map_err(file(FILE))? {
        None => state.store(FILE, &declared).map_err(file(FILE)),
        Some(kept) if kept == declared => Ok(()),
        Some(kept) => Err(InstanceError::AnotherCluster { path: path.to_owned(), kept, declared }),
    }
}

/// This cluster's CA, made at its first start.
fn authority(state: &StateDir, settings: &Settings) -> Result<Authority, InstanceError> {
    const FILE: &str = "ca.json";
    if let Some(stored) = state.load::<StoredAuthority>(FILE).map_err(file(FILE))? {
        return Ok(Authority::restore(settings.trust_domain.clone(), &stored)?);
    }
    let authority = Authority::generate(settings.trust_domain.clone(), now())?;
    state.store(FILE, &authority.store()).map_err(file(FILE))?;
    Ok(authority)
}

/// What names of handles are made from, the same for as long as the state directory lives.
fn handle_key(state: &StateDir) -> Result<HandleKey, InstanceError> {
    const FILE: &str = "handles.json";
    let kept = state.load::<String>(FILE).map_err(file(FILE))?;
    let kept = kept.and_then(|text| BASE64_STANDARD.decode(text).ok()?.try_into().ok());
    if let Some(bytes) = kept {
        return Ok(HandleKey::new(bytes));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(InstanceError::Random)?;
    state.store(FILE, &BASE64_STANDARD.encode(bytes)).map_err(file(FILE))?;
    Ok(HandleKey::new(bytes))
}

/// Listens on a socket of the state directory; what a crash left there is in the way, and goes.
fn listen(state: &StateDir, name: &str) -> Result<UnixListener, InstanceError> {
    let path = state.path(name);
    let _ = std::fs::remove_file(&path);
    UnixListener::bind(&path).map_err(|e| InstanceError::Listen(path.display().to_string(), e))
}
