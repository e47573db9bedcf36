//! Two leases on a peer, and its state from both.
//!
//! *Control* is renewed by the heartbeats of a stream that has delivered its snapshot; *data* by anybody
//! of this cluster who got an answer through one of the peer's gateways (proxies' reports, our probes).
//! Proxies act on what they see themselves, within a second; leases only aggregate, slowly. So:
//!
//! | what | bound, from the last evidence |
//! |---|---|
//! | a dead control link is marked | `control` + `tick` |
//! | an unreachable peer is out of load balancing | `data` + `probe` + `tick` |
//! | a peer that answered within `data` is in | always, unless it is still proving itself after a loss |
//! | one that answers steadily again is back | `hold` (doubled with each loss, `max_hold` at most) + `probe` |
//! | a lost peer's exports are forgotten | not before `grace` of observed loss; `grace` + `tick` at most |
//! | its tombstone | twice `grace` after that |
//!
//! Nothing is dropped without having been probed: for the last third of the data lease, and once more after
//! its end, the peer is probed every `probe`; silence of reports is no evidence. Time that this process did
//! not live through (a pause, a restart) counts for no lease, and at least a third of the data lease, with
//! its probes, is left after it. Time is monotonic and the receiver's own; a peer's clock has no say.

use std::time::Duration;

use isthmus_world::fact::PeerState;
use serde::{Deserialize, Serialize};

/// Lengths of everything. [`Timing::default`] is what clusters run with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The longest time between two calls of [`Lease::on_event`].
    pub tick: Duration,
    /// How often a peer's heartbeat is sent.
    pub heartbeat: Duration,
    /// Life of the control lease.
    pub control: Duration,
    /// Life of the data lease.
    pub data: Duration,
    /// How long a probe may take, and the time between two.
    pub probe: Duration,
    /// Steady evidence that a peer needs for its first return.
    pub hold: Duration,
    /// The most that is asked of one that came and went many times.
    pub max_hold: Duration,
    /// Time in load balancing after which earlier losses no longer count.
    pub calm: Duration,
    /// From `Lost` to forgotten.
    pub grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(1),
            heartbeat: Duration::from_secs(5),
            control: Duration::from_secs(15),
            data: Duration::from_secs(15),
            probe: Duration::from_secs(1),
            hold: Duration::from_secs(1),
            max_hold: Duration::from_mins(1),
            calm: Duration::from_mins(5),
            grace: Duration::from_hours(1),
        }
    }
}

impl Timing {
    /// A gap between two events that means that this process did not run.
    pub fn pause(&self) -> Duration {
        self.tick * 3
    }
}

/// What a lease is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// Time has passed.
    Tick,
    /// A heartbeat of a stream that has delivered its snapshot, or that snapshot itself.
    Heartbeat,
    /// A proxy, or a probe of ours, got an answer through a gateway of the peer.
    Reached,
    /// A proxy, or a probe of ours, got none.
    Unreached,
}

/// What is to be done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The state has changed.
    State(PeerState),
    /// Probe the peer's gateways; say [`Evidence::Reached`] or [`Evidence::Unreached`].
    Probe,
    /// The grace period is over: drop what the peer exported.
    Forget,
    /// The tombstone is over too.
    Bury,
}

/// What of a lease outlives a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Whether the control lease was live.
    pub control: bool,
    /// Whether the data lease was live.
    pub data: bool,
    /// Losses that still count.
    pub losses: u32,
    /// Observed time in `Lost`.
    pub lost: Option<Duration>,
}

/// The leases on one peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    timing: Timing,
    /// When the last event came.
    now: Duration,
    /// The end of the control lease; none when it has run out.
    control: Option<Duration>,
    data: Data,
    /// Losses of the data lease since the last calm time.
    losses: u32,
    /// Time lived through in `Lost`.
    lost: Option<Duration>,
    grave: Grave,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Data {
    /// In load balancing since `since`; the lease ends at `until`, and is probed for from `probe` on.
    Live { since: Duration, until: Duration, probe: Duration },
    /// In load balancing still; the last probe is under way and ends at `until`.
    Doubted { since: Duration, until: Duration },
    /// Out; the next probe is due at `probe`; it has answered steadily since `answers`, last at `last`.
    Out { probe: Duration, answers: Option<(Duration, Duration)> },
}

impl Data {
    /// A lease that begins at `now`, of a peer in load balancing since `since`.
    fn live(since: Duration, now: Duration, timing: &Timing) -> Self {
        Self::Live { since, until: now + timing.data, probe: now + timing.data * 2 / 3 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grave {
    None,
    Dug,
    Closed,
}

impl Lease {
    /// The leases on a peer that has just joined: both begin.
    pub fn new(timing: Timing, now: Duration) -> Self {
        Self {
            timing,
            now,
            control: Some(now + timing.control),
            data: Data::live(now, now, &timing),
            losses: 0,
            lost: None,
            grave: Grave::None,
        }
    }

    /// Picks up after a restart: a lease that was live is given its whole life again, one that was not
    /// has to prove itself. It is probed at the first event.
    pub fn restored(timing: Timing, saved: Saved, now: Duration) -> Self {
        let mut lease = Self::new(timing, now);
        lease.losses = saved.losses;
        if !saved.control {
            lease.control = None;
        }
        match &mut lease.data {
            Data::Live { probe, .. } if saved.data => *probe = now,
            data => *data = Data::Out { probe: now, answers: None },
        }
        lease.lost = saved.lost.filter(|_| lease.state() == PeerState::Lost);
        lease
    }

    /// What is to outlive a restart.
    pub fn save(&self) -> Saved {
        Saved {
            control: self.control.is_some(),
            data: self.data_live(),
            losses: self.losses,
            lost: self.lost,
        }
    }

    /// The state that follows from both leases.
    pub fn state(&self) -> PeerState {
        match (self.control.is_some(), self.data_live()) {
            (true, true) => PeerState::Connected,
            (false, true) => PeerState::ControlLost,
            (true, false) => PeerState::DataLost,
            (false, false) => PeerState::Lost,
        }
    }

    fn data_live(&self) -> bool {
        !matches!(self.data, Data::Out { .. })
    }

    /// Takes `evidence` in at `now`. Call it at [`Lease::deadline`] at the latest.
    pub fn on_event(&mut self, now: Duration, evidence: Evidence) -> Vec<Effect> {
        let before = self.state();
        let mut effects = Vec::new();
        let lived = self.advance(now);
        match evidence {
            Evidence::Tick => {}
            Evidence::Heartbeat => self.control = Some(self.now + self.timing.control),
            Evidence::Reached => self.reached(),
            Evidence::Unreached => self.unreached(),
        }
        self.expire(&mut effects);
        let state = self.state();
        if state != before {
            effects.push(Effect::State(state));
        }
        self.mourn(lived, &mut effects);
        effects
    }

    /// When the next event is due at the latest.
    pub fn deadline(&self) -> Duration {
        let data = match self.data {
            Data::Doubted { until, .. } => until,
            Data::Live { until, probe, .. } => probe.min(until),
            Data::Out { probe, .. } => probe,
        };
        let tick = self.now + self.timing.tick;
        tick.min(data).min(self.control.unwrap_or(tick))
    }

    /// Moves time on; answers how much of it this process lived through.
    fn advance(&mut self, now: Duration) -> Duration {
        let gap = now.saturating_sub(self.now);
        self.now += gap;
        if gap <= self.timing.pause() {
            return gap;
        }
        let missed = gap.saturating_sub(self.timing.tick);
        self.control = self.control.map(|_| self.now + self.timing.control);
        // Whoever doubted a peer before a pause has to doubt it afresh.
        let third = self.now + self.timing.data / 3;
        self.data = match self.data {
            Data::Live { since, until, .. } | Data::Doubted { since, until } => {
                let until = third.max(until + missed);
                Data::Live { since: since + missed, until, probe: self.now }
            }
            Data::Out { .. } => Data::Out { probe: self.now, answers: None },
        };
        self.timing.tick
    }

    fn reached(&mut self) {
        self.data = match self.data {
            Data::Live { since, .. } | Data::Doubted { since, .. } => {
                Data::live(since, self.now, &self.timing)
            }
            Data::Out { probe, answers } => {
                let first = match answers {
                    Some((first, last)) if self.now.saturating_sub(last) <= self.steady() => first,
                    _ => self.now,
                };
                if self.now.saturating_sub(first) >= self.hold() {
                    Data::live(self.now, self.now, &self.timing)
                } else {
                    Data::Out { probe, answers: Some((first, self.now)) }
                }
            }
        };
    }

    fn unreached(&mut self) {
        if let Data::Out { answers, .. } = &mut self.data {
            *answers = None;
        }
    }

    fn expire(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        self.control = self.control.filter(|until| *until > now);
        match &mut self.data {
            Data::Live { since, until, .. } if *until <= now => {
                self.data = Data::Doubted { since: *since, until: now + self.timing.probe };
                effects.push(Effect::Probe);
            }
            Data::Doubted { since, until } if *until <= now => {
                let calm = now.saturating_sub(*since) >= self.timing.calm;
                self.losses = if calm { 1 } else { self.losses.saturating_add(1) };
                self.data = Data::Out { probe: now + self.timing.probe, answers: None };
            }
            Data::Live { probe, .. } | Data::Out { probe, .. } if *probe <= now => {
                *probe = now + self.timing.probe;
                effects.push(Effect::Probe);
            }
            _ => {}
        }
    }

    fn mourn(&mut self, lived: Duration, effects: &mut Vec<Effect>) {
        if self.state() != PeerState::Lost {
            (self.lost, self.grave) = (None, Grave::None);
            return;
        }
        let lost = self.lost.map_or(Duration::ZERO, |lost| lost + lived);
        self.lost = Some(lost);
        if lost >= self.timing.grace && self.grave == Grave::None {
            self.grave = Grave::Dug;
            effects.push(Effect::Forget);
        }
        if lost >= self.timing.grace * 3 && self.grave == Grave::Dug {
            self.grave = Grave::Closed;
            effects.push(Effect::Bury);
        }
    }

    /// How long a peer that came and went has to answer steadily before it is used again.
    fn hold(&self) -> Duration {
        let doublings = self.losses.saturating_sub(1).min(16);
        (self.timing.hold * 2_u32.pow(doublings)).min(self.timing.max_hold)
    }

    /// The longest silence between two answers that is steady still.
    fn steady(&self) -> Duration {
        self.timing.probe * 2 + self.timing.tick
    }
}
