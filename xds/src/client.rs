//! A proxy's end of the stream to its control plane: it connects, again and again, stages what comes, and
//! hands it over as a whole when a commit says so. What a snapshot does is [`Apply`]'s.
//!
//! Losing the stream changes nothing that is in force.

mod backoff;

use std::{convert::Infallible, future::Future, io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use isthmus_ir::{Change, Key, Kind, Name, Resource};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::{
    channel,
    delta::{
        TypeIndex, Unbound, Version,
        client::{Commit, Limits, Machine, Step, Violation},
        message,
    },
    proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    wire,
};

pub use self::backoff::Backoff;

pub use crate::{
    channel::{ChannelError, with_causes},
    proof::{Proof, ProofError},
};

/// How long the control plane may take to find out who we are.
const ANSWER: Duration = Duration::from_secs(10);

/// Puts snapshots in force.
pub trait Apply: Send {
    /// Puts `staged` in force, all of it at once, and binds listeners; it is acked when this returns.
    /// Each key occurs once. What is in [`Outcome::refused`] must have been left at its last good version.
    fn apply(&mut self, staged: Vec<Change>, revision: u64) -> impl Future<Output = Outcome> + Send;

    /// The stream came up, or went down and will be tried again. Nothing has to be done about it.
    fn link(&mut self, link: Link) {
        let _ = link;
    }
}

/// What came of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Resources that could not be put in force, with reasons.
    pub refused: Vec<(Key, String)>,
    /// Every listener that is not bound now, with the operating system's reasons.
    pub unbound: Vec<(Name, String)>,
}

/// The state of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// The control plane takes us for who we are.
    Up,
    /// It cannot be reached, or does not want us: why.
    Down(String),
}

/// Opens connections to the control plane.
pub trait Connect: Clone + Send + Sync + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens one.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

/// Connects to a Unix socket. Whoever may open it is trusted to be the control plane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixSocket(Arc<PathBuf>);

impl UnixSocket {
    /// The socket at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(path.into()))
    }
}

impl Connect for UnixSocket {
    type Io = UnixStream;

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&*self.0).await
    }
}

/// Who connects, and for what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the proxy proves who it is.
    pub proof: Proof,
    /// The program and its version, for the control plane's logs.
    pub user_agent: String,
    /// What its role needs.
    pub kinds: Vec<Kind>,
}

/// Says which listeners are not bound, when that changes between snapshots.
#[derive(Clone, Debug)]
pub struct Reporter(watch::Sender<Vec<(Name, String)>>);

impl Reporter {
    /// Every listener that is not bound now, with the operating system's reasons.
    pub fn unbound(&self, unbound: Vec<(Name, String)>) {
        self.0.send_if_modified(|old| {
            let changed = *old != unbound;
            *old = unbound;
            changed
        });
    }
}

/// A proxy's end of the stream.
#[derive(Debug)]
pub struct Client<C> {
    connect: C,
    settings: Settings,
    machine: Machine<Resource>,
    reporter: Reporter,
    unbound: watch::Receiver<Vec<(Name, String)>>,
    backoff: Backoff,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{}", with_causes(.0))]
    Channel(#[from] ChannelError),
    #[error("{}", with_causes(.0))]
    Proof(#[from] ProofError),
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("the control plane has ended the stream")]
    Ended,
    #[error("the control plane does not answer")]
    TimedOut,
}

impl<C: Connect> Client<C> {
    /// A client that holds nothing yet and is not connected.
    pub fn new(connect: C, settings: Settings) -> Self {
        let types = settings.kinds.iter().copied().map(wire::index);
        let machine = Machine::new(&wire::SCHEMA, types, Limits::default());
        let (sender, unbound) = watch::channel(Vec::new());
        let backoff = Backoff::new();
        Self { connect, settings, machine, reporter: Reporter(sender), unbound, backoff }
    }

    /// Says that these are in force already (see [`wire::snapshot`]); they are not sent again unless they
    /// have changed.
    #[must_use]
    pub fn holding(mut self, versions: impl IntoIterator<Item = (Key, Version)>) -> Self {
        self.machine.hold(versions.into_iter().map(|(key, version)| (wire::id(&key), version, 0)));
        self
    }

    /// Where to say that listeners were bound, or no longer are, between snapshots.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Keeps `apply` up to date, for ever.
    pub async fn run(mut self, apply: &mut impl Apply) -> Infallible {
        let mut said = String::new();
        loop {
            let mut up = false;
            let Err(broken) = self.stream(apply, &mut up).await;
            let reason = broken.to_string();
            // It is tried again and again, and said once until it changes.
            if up || reason != said {
                tracing::warn!(reason, "stream to the control plane is down");
            }
            apply.link(Link::Down(reason.clone()));
            said = reason;
            tokio::time::sleep(self.backoff.wait()).await;
        }
    }

    /// One stream, to its end; it was `up` when it came to be.
    async fn stream(&mut self, apply: &mut impl Apply, up: &mut bool) -> Result<Infallible, Broken> {
        let (sender, mut responses) = self.open().await?;
        *up = true;
        tracing::info!("stream to the control plane is up");
        apply.link(Link::Up);
        loop {
            let request = tokio::select! {
                response = responses.message() => {
                    let response = response?.ok_or(Broken::Ended)?;
                    self.take(response, apply).await?
                }
                // Never an error: the sender is `self.reporter`.
                _ = self.unbound.changed() => self.answer(Vec::new()),
            };
            if let Some(request) = request {
                sender.send(request).map_err(|_| Broken::Ended)?;
            }
        }
    }

    /// Opens a stream and subscribes. The queue of requests holds an answer for each response at most.
    async fn open(
        &mut self,
    ) -> Result<(mpsc::UnboundedSender<message::Request>, Streaming<message::Response>), Broken> {
        let channel = channel::open(&self.connect).await?;
        let (sender, requests) = mpsc::unbounded_channel();
        let user_agent_name = self.settings.user_agent.clone();
        let node = message::Node { user_agent_name, ..Default::default() };
        for request in self.machine.connect(&node) {
            sender.send(request).map_err(|_| Broken::Ended)?;
        }
        let mut request = Request::new(UnboundedReceiverStream::new(requests));
        self.settings.proof.put(&mut request).await?;
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let answer = timeout(ANSWER, client.delta_aggregated_resources(request)).await;
        let responses = answer.map_err(|_| Broken::TimedOut)??.into_inner();
        Ok((sender, responses))
    }

    /// Takes in a response; what to answer.
    async fn take(
        &mut self,
        response: message::Response,
        apply: &mut impl Apply,
    ) -> Result<Option<message::Request>, Broken> {
        let Commit { revision, changes, .. } = match self.machine.on_response(response, decode)? {
            Step::Reply(request) => return Ok(Some(*request)),
            Step::Commit(commit) => commit,
        };
        let staged = changes.into_iter().filter_map(|(id, resource)| match resource {
            Some(resource) => Some(Change::Upsert(resource)),
            None => wire::key(&id).map(Change::Remove),
        });
        let outcome = apply.apply(staged.collect(), revision).await;
        self.backoff.reset();
        // Newer than whatever was reported until now.
        self.reporter.0.send_replace(outcome.unbound);
        self.unbound.mark_unchanged();
        Ok(self.answer(outcome.refused))
    }

    fn answer(&mut self, refused: Vec<(Key, String)>) -> Option<message::Request> {
        let unbound = self.unbound.borrow_and_update().clone().into_iter();
        let unbound = unbound.map(|(name, reason)| Unbound { name, reason }).collect();
        let refused = refused.into_iter().map(|(key, reason)| (wire::id(&key), reason));
        self.machine.answer(refused, unbound)
    }
}

fn decode(kind: TypeIndex, name: &Name, value: &Bytes) -> Result<Resource, String> {
    let kind = wire::kind(kind).ok_or_else(|| "its type is unknown".to_owned())?;
    wire::decode(kind, name, value).map_err(|refusal| refusal.to_string())
}
