//! One peer: what it says on its streams, its leases, and its leaving.
//!
//! Decides what of it is in force (nothing before its first whole snapshot; nothing over its quota), when
//! its stream is to be closed and begun anew, and when it is gone. Checksums are the delta machine's, which
//! hands over whole commits only. Does no I/O: whoever drives it opens streams, sends and probes, and feeds
//! what happens back in.
//!
//! [`Peer::save`] belongs on disk with the effects that it comes with: what was told and not written down is
//! taken out by a crash, until the peer tells it anew on its next stream.

mod event;
mod exports;

pub use event::{Close, Effect, Event, LeaveError, Message};

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use isthmus_ir::ObjectRef;
use isthmus_world::fact::{ExportedService, PeerFact, PeerState};

use self::exports::Exports;
use crate::lease::{self, Evidence, Lease, Timing};

/// How many services a peer may export to us (case H4).
pub const MAX_SERVICES: usize = 10_000;
/// How many endpoints all of them may have together.
pub const MAX_ENDPOINTS: usize = 100_000;
/// How long a joiner may take to come back once it was let in.
pub const AWAIT: Duration = Duration::from_mins(15);
/// How many roots a trust domain may have.
pub const MAX_ROOTS: usize = 16;
/// How many bytes a root may have.
pub const MAX_ROOT_BYTES: usize = 16 * 1024;
/// How long requests in flight may go on after a peer has left.
pub const DRAIN: Duration = Duration::from_secs(5);

/// What of a peer outlives a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// The peer itself.
    pub fact: PeerFact,
    /// What it exported last; none before its first snapshot.
    pub exports: Option<Vec<Arc<ExportedService>>>,
    /// Whether it has never opened a stream since it was let in.
    pub awaited: bool,
    /// Whether it was leaving.
    pub leaving: bool,
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
    /// Whether the next stream has to tell everything, as the last one went wrong.
    distrusted: bool,
    /// When it is given up, if it has never opened a stream.
    awaited: Option<Duration>,
    /// The end of the drain, once it is leaving.
    leaving: Option<Duration>,
    gone: bool,
}

/// A stream to a peer.
#[derive(Clone, Copy, Debug)]
struct Stream {
    number: u64,
    /// Whether its next commit tells everything.
    whole: bool,
    /// Whether it has delivered its snapshot.
    synced: bool,
}

impl Peer {
    /// A peer that has joined, on the joiner's side; its fact goes into the World.
    pub fn joined(fact: PeerFact, timing: Timing, now: Duration) -> Self {
        let lease = Lease::new(timing, now);
        Self {
            fact: PeerFact { state: lease.state(), ..fact },
            lease,
            stream: None,
            newest: 0,
            exports: None,
            distrusted: false,
            awaited: None,
            leaving: None,
            gone: false,
        }
    }

    /// A peer that was let in, on the inviter's side: it is given up after [`AWAIT`] if no stream to it
    /// has opened until then, since the joiner may never have got the answer.
    pub fn invited(fact: PeerFact, timing: Timing, now: Duration) -> Self {
        Self { awaited: Some(now + AWAIT), ..Self::joined(fact, timing, now) }
    }

    /// A peer from before a restart, and what is in force at once: all that was before.
    pub fn restored(saved: Saved, timing: Timing, now: Duration) -> (Self, Vec<Effect>) {
        let mut peer = Self::joined(saved.fact, timing, now);
        peer.lease = Lease::restored(timing, saved.lease, now);
        peer.fact.state = peer.lease.state();
        peer.awaited = saved.awaited.then_some(now + AWAIT);
        peer.leaving = saved.leaving.then_some(now + DRAIN);
        let mut effects = vec![Effect::Fact(peer.fact.clone())];
        if let Some(exports) = saved.exports {
            peer.exports = Some(Exports::new(exports));
            effects.push(Effect::Snapshot(peer.exports().cloned().collect()));
        }
        (peer, effects)
    }

    /// What is to outlive a restart.
    pub fn save(&self) -> Saved {
        Saved {
            fact: self.fact.clone(),
            exports: self.exports.as_ref().map(|exports| exports.all().cloned().collect()),
            awaited: self.awaited.is_some(),
            leaving: self.leaving.is_some(),
            lease: self.lease.save(),
        }
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
        self.exports.iter().flat_map(Exports::all)
    }

    /// Whether the next stream may tell only what has changed since [`Peer::exports`].
    pub fn may_resume(&self) -> bool {
        self.exports.is_some() && !self.distrusted
    }

    /// When the next event is due at the latest.
    pub fn deadline(&self) -> Duration {
        [self.leaving, self.awaited].into_iter().flatten().fold(self.lease.deadline(), Duration::min)
    }

    /// Whether it is on its way out: it still drains, and is heard no more.
    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
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
        let over = |end: Option<Duration>| end.is_some_and(|until| until <= now);
        if over(self.leaving) || over(self.awaited) {
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
        self.awaited = None;
        self.stream = Some(Stream { number, whole: !resumed, synced: false });
        if resumed && !self.may_resume() {
            self.close(Close::Resumed, effects);
        }
    }

    fn said(
        &mut self,
        now: Duration,
        number: u64,
        message: Message,
        effects: &mut Vec<Effect>,
    ) -> Evidence {
        let open = self.stream.as_ref().is_some_and(|open| open.number == number);
        if !open || self.leaving.is_some() {
            return Evidence::Tick;
        }
        match message {
            Message::Identity { gateways, roots } => self.identify(gateways, roots, effects),
            Message::Commit { upserts, removed } => return self.commit(upserts, &removed, effects),
            Message::Heartbeat { agrees } => return self.heartbeat(agrees, effects),
            Message::Leaving => self.drain(now, effects),
        }
        Evidence::Tick
    }

    fn identify(&mut self, gateways: Vec<SocketAddr>, roots: Vec<Bytes>, effects: &mut Vec<Effect>) {
        let sound = |root: &Bytes| !root.is_empty() && root.len() <= MAX_ROOT_BYTES;
        if roots.is_empty() || roots.len() > MAX_ROOTS || !roots.iter().all(sound) {
            return self.close(Close::Identity, effects);
        }
        let fact = PeerFact { gateways, roots, ..self.fact.clone() };
        if fact != self.fact {
            self.fact = fact;
            effects.push(Effect::Fact(self.fact.clone()));
        }
    }

    fn commit(
        &mut self,
        upserts: Vec<Arc<ExportedService>>,
        removed: &[ObjectRef],
        effects: &mut Vec<Effect>,
    ) -> Evidence {
        let Some(stream) = &mut self.stream else { return Evidence::Tick };
        let nothing = Exports::default();
        let base = if stream.whole { Some(&nothing) } else { self.exports.as_ref() };
        let Some(base) = base else {
            self.close(Close::Resumed, effects);
            return Evidence::Tick;
        };
        let new = base.edited(upserts, removed);
        if new.over_quota() {
            self.close(Close::Quota, effects);
            return Evidence::Tick;
        }
        (stream.whole, stream.synced, self.distrusted) = (false, true, false);
        match &self.exports {
            None => effects.push(Effect::Snapshot(new.all().cloned().collect())),
            Some(old) => effects.extend(old.difference(&new)),
        }
        self.exports = Some(new);
        Evidence::Heartbeat
    }

    fn heartbeat(&mut self, agrees: bool, effects: &mut Vec<Effect>) -> Evidence {
        let synced = self.stream.as_ref().is_some_and(|stream| stream.synced);
        if synced && !agrees {
            self.close(Close::Diverged, effects);
        }
        if synced && agrees { Evidence::Heartbeat } else { Evidence::Tick }
    }

    fn close(&mut self, why: Close, effects: &mut Vec<Effect>) {
        self.distrusted |= matches!(why, Close::Diverged | Close::Quota);
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
