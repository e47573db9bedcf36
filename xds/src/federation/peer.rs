//! One other cluster, from stream to stream: which of its streams counts, and what they share.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{self, oneshot, watch};

use super::{Exports, FederationChange, FederationKey, FederationResource, Hello, SCHEMA, wire};
use crate::delta::client::{self, Machine, Weigh as _};

/// What a peer may make us hold (case H4). A stream that exceeds it is ended; what was committed before
/// stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Exported services and reports together.
    pub resources: usize,
    /// Endpoints and ports of all services.
    pub endpoints: usize,
    /// Bytes of what is on its way.
    pub staged_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { resources: 20_000, endpoints: 200_000, staged_bytes: 64 << 20 }
    }
}

/// What becomes of what a peer tells.
pub trait Import: Send + 'static {
    /// A snapshot is whole: put it in force. What is returned is not in force, and the peer is told why.
    /// To be done within seconds: nothing else is said or heard meanwhile, heartbeats included.
    fn commit(
        &mut self,
        committed: Committed,
    ) -> impl Future<Output = Vec<(FederationKey, String)>> + Send;

    /// Something else has happened on the stream of this number. Streams are numbered upwards.
    fn event(&mut self, stream: u64, event: Event);
}

/// A snapshot of what a peer tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// On which stream.
    pub stream: u64,
    /// The peer's name for it.
    pub revision: u64,
    /// What the peer gave to [`Exports::publish`].
    pub digest: Bytes,
    /// Whether it replaces all that was in force; else it edits that.
    pub whole: bool,
    /// Each key once; a whole snapshot has no removals. What was refused is not in it.
    pub changes: Vec<FederationChange>,
}

/// What else happens on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is open, and takes the place of any other.
    Opened {
        /// Who is at the other end.
        hello: Hello,
        /// Whether the first commit edits what is in force; else it is whole.
        resumed: bool,
    },
    /// The peer lives.
    Heartbeat {
        /// What the peer gave to [`Exports::publish`]; none when newer exports are on their way.
        digest: Option<Bytes>,
    },
    /// What the peer made of our exports.
    Acked {
        /// The revision that is in force there, but for what it refused.
        revision: u64,
        /// What it refused, and why.
        refused: Vec<(FederationKey, String)>,
    },
    /// It has ended.
    Closed(Closed),
}

/// Why a stream ended, or never began.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Closed {
    /// Nobody answers at the other end.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The peer does not want us.
    #[error("the peer refuses: {0}")]
    Refused(String),
    /// Who answers is not the peer.
    #[error("cluster {cluster:?} in trust domain {trust_domain:?} answers in its place")]
    Impostor {
        /// The cluster id that it says.
        cluster: String,
        /// The trust domain that it says.
        trust_domain: String,
    },
    /// Another stream with the peer is open, and is the one that counts.
    #[error("another stream with the peer is open")]
    Duplicate,
    /// A newer stream took its place.
    #[error("a newer stream took its place")]
    Replaced,
    /// [`Peer::restart`], [`Peer::close`].
    #[error("it was ended here")]
    Ended,
    /// Nothing was heard for too long.
    #[error("the peer has fallen silent")]
    Silent,
    /// What is held is not what the peer says. The next stream begins from nothing.
    #[error("what is held is not what the peer says; everything is asked for anew")]
    Diverged,
    /// The peer breaks the protocol, or says more than it may.
    #[error("the peer breaks the rules: {0}")]
    Violation(String),
    /// The peer leaves the ClusterSet.
    #[error("the peer leaves: {0}")]
    Left(String),
    /// [`Peer::leave`].
    #[error("this cluster leaves")]
    Leaving,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Another cluster. Cloning copies a pointer.
#[derive(Debug)]
pub struct Peer<I> {
    inner: Arc<Inner<I>>,
}

impl<I> Clone for Peer<I> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

#[derive(Debug)]
pub(super) struct Inner<I> {
    pub(super) local: Hello,
    /// Its version is nothing to go by.
    pub(super) remote: Hello,
    pub(super) exports: Exports,
    /// Held by the one stream that counts.
    pub(super) importer: sync::Mutex<Importer<I>>,
    streams: Mutex<Streams>,
    vacant: watch::Sender<bool>,
}

#[derive(Debug)]
pub(super) struct Importer<I> {
    pub(super) machine: Machine<FederationResource>,
    pub(super) import: I,
}

#[derive(Debug, Default)]
struct Streams {
    count: u64,
    live: Option<Live>,
    /// Whether the next stream is to begin from nothing.
    anew: bool,
}

#[derive(Debug)]
struct Live {
    stream: u64,
    dialer: Arc<str>,
    order: oneshot::Sender<Order>,
}

/// What a stream is told from outside.
#[derive(Debug)]
pub(super) enum Order {
    Replaced,
    End,
    Leave(String),
}

/// The right to be the one stream that counts.
pub(super) struct Claim<I> {
    peer: Arc<Inner<I>>,
    pub(super) stream: u64,
    pub(super) anew: bool,
}

impl<I: Import> Peer<I> {
    /// The cluster `remote`, as `local` knows it. Nothing is held of it yet.
    pub fn new(local: Hello, remote: Hello, exports: Exports, import: I, limits: Limits) -> Self {
        let Limits { resources, endpoints: weight, staged_bytes } = limits;
        let limits = client::Limits { resources, staged_bytes, weight };
        let machine = Machine::new(&SCHEMA, wire::types(), limits);
        let inner = Inner {
            local,
            remote,
            exports,
            importer: sync::Mutex::new(Importer { machine, import }),
            streams: Mutex::default(),
            vacant: watch::Sender::new(true),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says that these are in force already, from before a restart; only what has changed since is asked
    /// for. To be called before the first stream.
    pub async fn resume(&self, resources: impl IntoIterator<Item = &FederationResource>) {
        let held = resources.into_iter();
        let held = held.map(|r| (wire::id(r.key()), wire::encode(r).version, r.weight()));
        self.inner.importer.lock().await.machine.hold(held);
    }

    /// Waits until no stream is open, so that one may be dialled.
    pub async fn vacant(&self) {
        // Never an error: the sender is `self.inner`.
        let _ = self.inner.vacant.subscribe().wait_for(|vacant| *vacant).await;
    }

    /// Whether a stream is open.
    pub fn is_open(&self) -> bool {
        !*self.inner.vacant.borrow()
    }

    /// Ends the stream. The next one resumes where it ended.
    pub fn close(&self) {
        self.inner.order(Order::End);
    }

    /// Ends the stream and forgets what was told; the next stream's first commit is whole.
    pub fn restart(&self) {
        self.inner.streams().anew = true;
        self.inner.order(Order::End);
    }

    /// Tells the peer that this cluster leaves, and ends the stream. False when there is none.
    pub fn leave(&self, reason: impl Into<String>) -> bool {
        self.inner.order(Order::Leave(reason.into()))
    }

    pub(super) fn inner(&self) -> &Arc<Inner<I>> {
        &self.inner
    }
}

impl<I> Inner<I> {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) -> bool {
        let live = self.streams().live.take();
        live.is_some_and(|live| live.order.send(order).is_ok())
    }

    /// Whether `hello` is of this peer.
    pub(super) fn check(&self, hello: &Hello) -> Result<(), Closed> {
        let Hello { cluster, trust_domain, .. } = hello;
        if (cluster, trust_domain) == (&self.remote.cluster, &self.remote.trust_domain) {
            return Ok(());
        }
        let (cluster, trust_domain) = (cluster.as_ref().to_owned(), trust_domain.to_string());
        Err(Closed::Impostor { cluster, trust_domain })
    }

    /// Makes a new stream the one that counts, or says that it does not. Where both sides have dialled,
    /// the stream that counts is that of the lower cluster id; so both sides keep the same one. A side
    /// dials only when it has no stream: then an older one that it dialled is dead.
    pub(super) fn claim(
        self: &Arc<Self>,
        dialer: &Arc<str>,
    ) -> Result<(Claim<I>, oneshot::Receiver<Order>), Closed> {
        let mut streams = self.streams();
        if streams.live.as_ref().is_some_and(|live| live.dialer < *dialer) {
            return Err(Closed::Duplicate);
        }
        let (order, orders) = oneshot::channel();
        streams.count += 1;
        let stream = streams.count;
        let anew = std::mem::take(&mut streams.anew);
        let old = streams.live.replace(Live { stream, dialer: dialer.clone(), order });
        self.vacant.send_replace(false);
        drop(streams);
        if let Some(old) = old {
            let _ = old.order.send(Order::Replaced);
        }
        Ok((Claim { peer: self.clone(), stream, anew }, orders))
    }
}

impl<I> Drop for Claim<I> {
    fn drop(&mut self) {
        let mut streams = self.peer.streams();
        if streams.live.as_ref().is_some_and(|live| live.stream == self.stream) {
            streams.live = None;
        }
        if streams.live.is_none() {
            self.peer.vacant.send_replace(true);
        }
    }
}
