//! How a control plane drives the state machine of a peer: what it tells it, and what it does about the
//! effects.

use std::time::Duration;

use isthmus_east_west::{
    peer::{Close, Effect, Event},
    trust::usable,
};
use isthmus_world::fact::{PeerFact, PeerState};

use crate::{
    bug::Bug,
    check::Heard,
    cluster::{Held, keyed, timing},
    sim::{Ev, Job, Sim},
};

impl Sim {
    /// Tells the state machine of a peer what has happened, and does what it says.
    pub(crate) fn feed(&mut self, cluster: usize, peer: usize, event: Event, heard: Heard) {
        let clock = self.clusters[cluster].clock(self.now);
        let shown = match self.bug {
            // Every 50 seconds somebody sets the clock back by 40.
            Some(Bug::WallClock) => clock.saturating_sub(Duration::from_secs(40 * (self.now / 50_000))),
            _ => clock,
        };
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        let (before, deaf) = (member.peer.state(), member.peer.is_leaving());
        let effects = member.peer.on_event(shown, event);
        let gone = member.peer.is_gone();
        let closed = effects.iter().any(|effect| matches!(effect, Effect::Close { .. }));
        let ignored = closed || (deaf && heard == Heard::Heartbeat);
        let heard = if ignored { Heard::Nothing } else { heard };
        let found = member.oracle.observe(&timing(), clock, heard, (before, member.peer.state()));
        if let Err(what) = found.or_else(|what| if gone { Ok(()) } else { Err(what) }) {
            self.fail(format!("cluster {cluster} on peer {peer}: {what}"));
        }
        self.obey(cluster, peer, effects);
    }

    pub(crate) fn obey(&mut self, cluster: usize, peer: usize, effects: Vec<Effect>) {
        if !effects.is_empty() {
            self.save(cluster, peer);
        }
        for effect in effects {
            self.obey_one(cluster, peer, effect);
        }
    }

    /// What is in force is on disk first.
    fn save(&mut self, cluster: usize, peer: usize) {
        if self.bug == Some(Bug::SaveLate) && self.rng.percent(70) {
            return;
        }
        if let Some(member) = self.clusters[cluster].member(peer) {
            let saved = (member.peer.save(), member.dialer);
            self.clusters[cluster].disk.members.insert(peer, saved);
        }
    }

    fn obey_one(&mut self, cluster: usize, peer: usize, effect: Effect) {
        match effect {
            Effect::Fact(fact) => self.learn_fact(cluster, peer, fact),
            Effect::Snapshot(all) => self.learn(cluster, peer, keyed(all)),
            Effect::Exports { upserts, removed } => {
                let world = self.clusters[cluster].member(peer).and_then(|m| m.world.clone());
                let mut world = world.unwrap_or_default();
                for object in removed {
                    world.remove(&object);
                }
                world.extend(keyed(upserts));
                self.learn(cluster, peer, world);
            }
            Effect::Probe => {
                let (reached, delay) = self.probe(cluster, peer);
                self.later(cluster, delay, Job::Evidence { peer, reached });
            }
            Effect::Close { stream, why } => {
                if why == Close::Replaced {
                    self.check.seen.insert("a stream that takes another one's place");
                }
                self.close(cluster, peer, stream);
            }
            Effect::SayLeaving { .. } => self.say_leaving(cluster, peer),
            Effect::Buried => {}
            Effect::Gone => self.gone(cluster, peer),
        }
    }

    fn learn_fact(&mut self, cluster: usize, peer: usize, fact: PeerFact) {
        let state = fact.state;
        let drop = self.bug == Some(Bug::DropOnControlLoss) && state != PeerState::Connected;
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        let fell = usable(member.fact.state) && !usable(state);
        member.fact = fact;
        if drop {
            member.world = None;
        }
        if fell {
            self.check_fall(cluster, peer);
        }
        self.check.seen.insert(match state {
            PeerState::Connected => "a peer that is connected",
            PeerState::ControlLost => "a peer whose control link is lost",
            PeerState::DataLost => "a peer whose data path is lost",
            PeerState::Lost => "a peer that is lost",
        });
        self.touch(cluster);
    }

    fn learn(&mut self, cluster: usize, peer: usize, world: Held) {
        let keep_machine = self.bug == Some(Bug::AlwaysResume);
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        member.world = Some(world);
        let forgotten = !member.peer.may_resume() && !member.peer.is_leaving();
        let works = forgotten && usable(member.peer.state());
        if forgotten && !keep_machine {
            member.held = None;
        }
        if forgotten {
            self.check.seen.insert("a peer that is forgotten");
            self.check.forgotten.insert((cluster, peer));
        }
        if works {
            self.fail(format!("invariant 1: cluster {cluster} forgets peer {peer}, which works"));
        }
        self.touch(cluster);
    }

    pub(crate) fn leave(&mut self, cluster: usize, peer: usize, forced: bool) {
        let it = &mut self.clusters[cluster];
        if it.plane.is_none() || it.paused {
            self.after(1000, Ev::Leave { cluster, peer, forced });
            return;
        }
        let clock = it.clock(self.now);
        let Some(member) = it.member(peer) else { return };
        match member.peer.leave(clock, forced) {
            Ok(effects) => {
                self.clusters[cluster].left.insert(peer);
                self.clusters[peer].left.insert(cluster);
                self.obey(cluster, peer, effects);
                // The other side's operator leaves too, whether the message has come through or not.
                self.after(40_000, Ev::Leave { cluster: peer, peer: cluster, forced: true });
            }
            Err(_) => self.after(5000, Ev::Leave { cluster, peer, forced: true }),
        }
    }

    fn gone(&mut self, cluster: usize, peer: usize) {
        self.check.seen.insert("a peer that is gone");
        self.clusters[cluster].disk.members.remove(&peer);
        if let Some(conn) = self.clusters[cluster].member(peer).and_then(|m| m.conn) {
            self.drop_conn(cluster, conn);
        }
        if self.bug != Some(Bug::KeepTrustAfterLeave) {
            self.clusters[cluster].plane.as_mut().unwrap().members.remove(&peer);
        }
        self.soon(cluster, Job::Changed);
    }
}
