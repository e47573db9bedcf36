//! One peer: what it says on its streams, its leases, and its leaving.
//!
//! Decides what of it is believed to be exported (nothing before its first whole snapshot; only whole
//! commits, whose checksum is right), when its stream is to be closed and begun anew, and when it is gone.
//! Does no I/O: whoever drives it opens streams, sends and probes, and feeds what happens back in.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use isthmus_ir::ObjectRef;
use isthmus_world::fact::{ExportedService, PeerFact, PeerState};

use crate::{
    checksum::{Checksum, Digest, checksum, digest},
    lease::{self, Evidence, Lease, Timing},
};

/// How many services a peer may export to us (case H4).
pub const MAX_SERVICES: usize = 10_000;
/// How many endpoints all of them may have together.
pub const MAX_ENDPOINTS: usize = 100_000;
/// How long requests in flight may go on after a peer has left.
pub const DRAIN: Duration = Duration::from_secs(5);

/// What happens to a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A stream to it is open. Streams are numbered upwards, also over restarts of a peer; an older one's
    /// messages are ignored from now on.
    Opened {
        /// Its number.
        stream: u64,
        /// Whether it tells only what has changed since [`Peer::exports`]; else it tells everything.
        resumed: bool,
    },
    /// A stream has ended.
    Closed {
        /// Its number.
        stream: u64,
    },
    /// It said something.
    Said {
        /// On which stream.
        stream: u64,
        /// What.
        message: Message,
    },
    /// One of our proxies, or our probe, got an answer through one of its gateways.
    Reached,
    /// One of our proxies, or our probe, got none.
    Unreached,
}

/// What a peer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Its gateways and roots, whole, new or changed.
    Identity {
        /// East-west gateways, in order of preference.
        gateways: Vec<SocketAddr>,
        /// Roots of its trust domain as DER.
        roots: Vec<Bytes>,
    },
    /// An export, new or changed; in force at the next commit.
    Upsert(Arc<ExportedService>),
    /// An export is gone; in force at the next commit.
    Remove(ObjectRef),
    /// Everything so far is consistent.
    Commit {
        /// Of all that it exports to us.
        checksum: Checksum,
    },
    /// It is alive.
    Heartbeat {
        /// Of all that it has committed.
        checksum: Checksum,
    },
    /// It leaves the ClusterSet, or wants us out of it.
    Leaving,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// What is known of the peer itself has changed ([`Peer::fact`]).
    Fact(PeerFact),
    /// This is all that it exports.
    Snapshot(Vec<Arc<ExportedService>>),
    /// An edit of what it exports.
    Exports {
        /// New and changed exports.
        upserts: Vec<Arc<ExportedService>>,
        /// Exports that are gone.
        removed: Vec<ObjectRef>,
    },
    /// Probe its gateways, then say [`Event::Reached`] or [`Event::Unreached`].
    Probe,
    /// End the stream; open a new one that tells everything.
    Close {
        /// Its number.
        stream: u64,
        /// For logs and status.
        why: Close,
    },
    /// Tell it [`Message::Leaving`].
    SayLeaving {
        /// On which stream.
        stream: u64,
    },
    /// Its tombstone is over: nothing reminds of its exports any more. It is a member still.
    Buried,
    /// It is no member any more: drop its trust and everything that is kept of it.
    Gone,
}

/// Why a stream is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Close {
    /// What we hold is not what it says we should.
    #[error("its exports are not the ones that its checksum says; everything is asked for again")]
    Checksum,
    /// It sends more than a peer may. What was committed before stands.
    #[error("it exports more than {MAX_SERVICES} services or {MAX_ENDPOINTS} endpoints")]
    Quota,
    /// A newer stream took its place.
    #[error("a newer stream took its place")]
    Replaced,
}

/// Why a peer cannot leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaveError {
    /// It cannot be told.
    #[error("the peer cannot be told, as there is no connection to it; leave by force if it is dead")]
    Unreachable,
}

/// What of a peer outlives a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// The peer itself.
    pub fact: PeerFact,
    /// What it exported last.
    pub exports: Vec<Arc<ExportedService>>,
    /// Its leases.
    pub lease: lease::Saved,
}

/// A peer, from join to leave.
#[derive(Clone, Debug)]
pub struct Peer {
    fact: PeerFact,
    lease: Lease,
    stream: Option<Stream>,
    /// Streams up to this number are over.
    newest: u64,
    /// What is in force; none before the first whole snapshot.
    exports: Option<Exports>,
    /// Of `exports`, as it was committed.
    committed: Checksum,
    /// The end of the drain, once it is leaving.
    leaving: Option<Duration>,
    gone: bool,
}

type Exports = BTreeMap<ObjectRef, Held>;

/// One export with its digest, which is taken once.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    digest: Digest,
    export: Arc<ExportedService>,
}

impl Held {
    fn new(export: Arc<ExportedService>) -> Self {
        Self { digest: digest(&export), export }
    }
}

#[derive(Clone, Debug)]
struct Stream {
    number: u64,
    /// Whether it has delivered its snapshot.
    synced: bool,
    /// What will be in force at the next commit.
    staged: Exports,
    endpoints: usize,
}

impl Peer {
    /// A peer that has just joined. Feed the effects of the first event in; there are none before.
    pub fn joined(fact: PeerFact, timing: Timing, now: Duration) -> Self {
        let lease = Lease::new(timing, now);
        let fact = PeerFact { state: lease.state(), ..fact };
        let committed = Checksum::default();
        Self {
            fact,
            lease,
            stream: None,
            newest: 0,
            exports: None,
            committed,
            leaving: None,
            gone: false,
        }
    }

    /// A peer from before a restart, and what is in force at once: all that was before.
    pub fn restored(saved: Saved, timing: Timing, now: Duration) -> (Self, Vec<Effect>) {
        let mut peer = Self::joined(saved.fact, timing, now);
        peer.lease = Lease::restored(timing, saved.lease, now);
        peer.fact.state = peer.lease.state();
        let exports: Exports = saved.exports.into_iter().map(|e| (object(&e), Held::new(e))).collect();
        let all = shown(&exports);
        peer.exports = Some(exports);
        let effects = vec![Effect::Fact(peer.fact.clone()), Effect::Snapshot(all), Effect::Probe];
        (peer, effects)
    }

    /// What is to outlive a restart.
    pub fn save(&self) -> Saved {
        let exports = self.exports().cloned().collect();
        Saved { fact: self.fact.clone(), exports, lease: self.lease.save() }
    }

    /// The peer as the World knows it.
    pub fn fact(&self) -> &PeerFact {
        &self.fact
    }

    /// What its leases say.
    pub fn state(&self) -> PeerState {
        self.lease.state()
    }

    /// What it exports, in force; nothing before its first snapshot.
    pub fn exports(&self) -> impl Iterator<Item = &Arc<ExportedService>> {
        self.exports.iter().flat_map(BTreeMap::values).map(|held| &held.export)
    }

    /// When the next event is due at the latest.
    pub fn deadline(&self) -> Duration {
        let lease = self.lease.deadline();
        self.leaving.map_or(lease, |until| lease.min(until))
    }

    /// Whether it is no member any more.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Takes an event in at `now`. Call it at [`Peer::deadline`] at the latest.
    pub fn on_event(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        if self.gone {
            return Vec::new();
        }
        let mut effects = Vec::new();
        let evidence = self.take(now, event, &mut effects);
        for effect in self.lease.on_event(now, evidence) {
            self.on_lease(effect, &mut effects);
        }
        if self.leaving.is_some_and(|until| until <= now) {
            self.end(&mut effects);
        }
        effects
    }

    /// Ends the membership: its exports go at once, trust after [`DRAIN`], or at once by force.
    ///
    /// # Errors
    /// Without force, when it cannot be told.
    pub fn leave(&mut self, now: Duration, forced: bool) -> Result<Vec<Effect>, LeaveError> {
        let mut effects = Vec::new();
        match (&self.stream, forced) {
            (Some(stream), _) => effects.push(Effect::SayLeaving { stream: stream.number }),
            (None, false) => return Err(LeaveError::Unreachable),
            (None, true) => {}
        }
        self.drain(now, &mut effects);
        if forced {
            self.end(&mut effects);
        }
        Ok(effects)
    }

    fn take(&mut self, now: Duration, event: Event, effects: &mut Vec<Effect>) -> Evidence {
        match event {
            Event::Tick => Evidence::Tick,
            Event::Reached => Evidence::Reached,
            Event::Unreached => Evidence::Unreached,
            Event::Opened { stream, resumed } => {
                self.open(stream, resumed, effects);
                Evidence::Tick
            }
            Event::Closed { stream } => {
                self.stream.take_if(|open| open.number == stream);
                Evidence::Tick
            }
            Event::Said { stream, message } => self.said(now, stream, message, effects),
        }
    }

    fn open(&mut self, number: u64, resumed: bool, effects: &mut Vec<Effect>) {
        if number <= self.newest || self.leaving.is_some() {
            effects.push(Effect::Close { stream: number, why: Close::Replaced });
            return;
        }
        if let Some(old) = self.stream.take() {
            effects.push(Effect::Close { stream: old.number, why: Close::Replaced });
        }
        self.newest = number;
        let staged = self.exports.clone().filter(|_| resumed).unwrap_or_default();
        let endpoints = staged.values().map(weigh).sum();
        self.stream = Some(Stream { number, synced: false, staged, endpoints });
    }

    fn said(
        &mut self,
        now: Duration,
        number: u64,
        message: Message,
        effects: &mut Vec<Effect>,
    ) -> Evidence {
        let Some(stream) = self.stream.as_mut().filter(|open| open.number == number) else {
            return Evidence::Tick;
        };
        if self.leaving.is_some() {
            return Evidence::Tick;
        }
        match message {
            Message::Identity { gateways, roots } => self.identify(gateways, roots, effects),
            Message::Upsert(export) => {
                stream.stage(export);
                if stream.over_quota() {
                    self.close(Close::Quota, effects);
                }
            }
            Message::Remove(object) => stream.unstage(&object),
            Message::Commit { checksum } => return self.commit(checksum, effects),
            Message::Heartbeat { checksum } => return self.heartbeat(checksum, effects),
            Message::Leaving => self.drain(now, effects),
        }
        Evidence::Tick
    }

    fn identify(&mut self, gateways: Vec<SocketAddr>, roots: Vec<Bytes>, effects: &mut Vec<Effect>) {
        let roots = if roots.is_empty() { self.fact.roots.clone() } else { roots };
        let fact = PeerFact { gateways, roots, ..self.fact.clone() };
        if fact != self.fact {
            self.fact = fact;
            effects.push(Effect::Fact(self.fact.clone()));
        }
    }

    fn commit(&mut self, expected: Checksum, effects: &mut Vec<Effect>) -> Evidence {
        let Some(stream) = &mut self.stream else { return Evidence::Tick };
        if checksum(stream.staged.values().map(|held| held.digest)) != expected {
            self.close(Close::Checksum, effects);
            return Evidence::Tick;
        }
        stream.synced = true;
        self.committed = expected;
        let new = stream.staged.clone();
        match self.exports.replace(new.clone()) {
            None => effects.push(Effect::Snapshot(shown(&new))),
            Some(old) => effects.extend(difference(&old, &new)),
        }
        Evidence::Heartbeat
    }

    fn heartbeat(&mut self, expected: Checksum, effects: &mut Vec<Effect>) -> Evidence {
        let synced = self.stream.as_ref().is_some_and(|stream| stream.synced);
        if !synced {
            return Evidence::Tick;
        }
        if self.committed != expected {
            self.close(Close::Checksum, effects);
            return Evidence::Tick;
        }
        Evidence::Heartbeat
    }

    fn close(&mut self, why: Close, effects: &mut Vec<Effect>) {
        if let Some(stream) = self.stream.take() {
            effects.push(Effect::Close { stream: stream.number, why });
        }
    }

    fn on_lease(&mut self, effect: lease::Effect, effects: &mut Vec<Effect>) {
        match effect {
            lease::Effect::State(state) => {
                self.fact.state = state;
                effects.push(Effect::Fact(self.fact.clone()));
            }
            lease::Effect::Probe => effects.push(Effect::Probe),
            lease::Effect::Forget => {
                if self.exports.take().is_some() {
                    effects.push(Effect::Snapshot(Vec::new()));
                }
            }
            lease::Effect::Bury => effects.push(Effect::Buried),
        }
    }

    fn drain(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        if self.leaving.is_none() {
            self.leaving = Some(now + DRAIN);
            self.exports = None;
            effects.push(Effect::Snapshot(Vec::new()));
        }
    }

    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.gone = true;
        self.stream = None;
        effects.push(Effect::Gone);
    }
}

impl Stream {
    fn stage(&mut self, export: Arc<ExportedService>) {
        let held = Held::new(export);
        self.endpoints += weigh(&held);
        if let Some(old) = self.staged.insert(object(&held.export), held) {
            self.endpoints -= weigh(&old);
        }
    }

    fn unstage(&mut self, object: &ObjectRef) {
        if let Some(old) = self.staged.remove(object) {
            self.endpoints -= weigh(&old);
        }
    }

    fn over_quota(&self) -> bool {
        self.staged.len() > MAX_SERVICES || self.endpoints > MAX_ENDPOINTS
    }
}

fn object(export: &ExportedService) -> ObjectRef {
    ObjectRef::new(&export.namespace, &export.name)
}

fn shown(exports: &Exports) -> Vec<Arc<ExportedService>> {
    exports.values().map(|held| Arc::clone(&held.export)).collect()
}

fn weigh(held: &Held) -> usize {
    held.export.ports.iter().map(|port| port.endpoints.len() + 1).sum()
}

fn difference(old: &Exports, new: &Exports) -> Option<Effect> {
    let changed =
        |(object, held): &(&ObjectRef, &Held)| old.get(*object).map(|o| o.digest) != Some(held.digest);
    let upserts: Vec<_> = new.iter().filter(changed).map(|(_, held)| Arc::clone(&held.export)).collect();
    let removed: Vec<_> = old.keys().filter(|object| !new.contains_key(*object)).cloned().collect();
    (!upserts.is_empty() || !removed.is_empty()).then_some(Effect::Exports { upserts, removed })
}
