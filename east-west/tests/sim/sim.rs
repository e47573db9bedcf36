//! The event loop: true time, what is due, and what each control plane does about it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use isthmus_east_west::{
    invite::{Channel, JoinRequest, JoinResponse},
    peer::{Event, Peer},
};

use crate::{
    bug::Bug,
    check::{Check, Heard, Oracle},
    cluster::{Cluster, Member, Plane, timing},
    join::Join,
    net::{Net, Plane as Wire},
    rng::Rng,
    stream::{Conn, Message},
};

/// Milliseconds of faults.
pub(crate) const CHAOS: u64 = 200_000;
/// Milliseconds without any after that.
const CALM: u64 = 170_000;
/// Milliseconds of calm after which everything must be well.
const SETTLE: u64 = 130_000;

pub(crate) struct Sim {
    pub(crate) now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<Due>>,
    pub(crate) rng: Rng,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) net: Net,
    pub(crate) conns: BTreeMap<u64, Conn>,
    pub(crate) joins: Vec<Join>,
    pub(crate) bug: Option<Bug>,
    pub(crate) check: Check,
    /// A hash of all that happened, by which two runs are compared.
    pub(crate) trace: u64,
}

/// What happens to the world.
#[derive(Clone)]
pub(crate) enum Ev {
    /// Something reaches the control plane that ran when it was sent.
    Job(usize, u32, Job),
    /// A message is due at one end of a connection.
    Deliver {
        conn: u64,
        to: usize,
        message: Message,
    },
    Request(usize),
    Change(usize),
    Fault,
    Cut(Wire, usize, usize),
    Mend(Wire, usize, usize),
    Revive(usize, u32),
    Up(usize),
    Resume(usize),
    Heal,
    /// An operator runs `isthmus peer leave`, until it has worked.
    Leave {
        cluster: usize,
        peer: usize,
        forced: bool,
    },
    Join(usize),
    JoinRequest(usize, Channel, JoinRequest),
    JoinResponse(usize, Channel, JoinResponse),
}

/// What a control plane does.
#[derive(Clone)]
pub(crate) enum Job {
    Tick,
    Synced,
    Changed,
    Refresh,
    Heartbeat,
    Dial(usize),
    Arrive(u64),
    Unanswered(u64),
    Lost(u64),
    Said(u64, Message),
    Evidence { peer: usize, reached: bool },
}

struct Due {
    at: u64,
    sequence: u64,
    event: Ev,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl Sim {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = Rng::new(seed);
        let count = [2, 2, 3, 3, 3, 4][rng.index(6)];
        let liar = (count > 2 && rng.percent(25)).then(|| rng.index(count));
        let clusters = (0..count).map(|id| Cluster::new(id, &mut rng, liar == Some(id))).collect();
        let mut sim = Self {
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            rng,
            clusters,
            net: Net::new(count),
            conns: BTreeMap::new(),
            joins: Vec::new(),
            bug,
            check: Check::new(count),
            trace: seed,
        };
        for id in 0..count {
            sim.note_truth(id);
            sim.boot(id);
            sim.after(1000, Ev::Request(id));
            sim.after(5000, Ev::Change(id));
        }
        sim.after(10_000, Ev::Fault);
        sim.after(CHAOS, Ev::Heal);
        sim.plan_joins();
        sim
    }

    /// Runs to the end; the violation, if there was one.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > CHAOS + CALM || self.check.violation.is_some() {
                break;
            }
            self.now = due.at;
            self.trace = self.trace.rotate_left(5).wrapping_add(due.at ^ due.sequence);
            self.happen(due.event);
        }
        if self.check.violation.is_none() {
            self.check_end();
        }
        let now = self.now;
        self.check.violation.take().map_or(Ok(()), |what| Err(format!("at {now} ms: {what}")))
    }

    /// Whether faults are over for so long that nothing may go wrong any more.
    pub(crate) fn is_calm(&self) -> bool {
        self.now >= CHAOS + SETTLE
    }

    pub(crate) fn after(&mut self, delay: u64, event: Ev) {
        self.sequence += 1;
        self.queue.push(Reverse(Due { at: self.now + delay, sequence: self.sequence, event }));
    }

    /// Hands a job to the control plane that runs now.
    pub(crate) fn soon(&mut self, cluster: usize, job: Job) {
        self.later(cluster, 0, job);
    }

    pub(crate) fn later(&mut self, cluster: usize, delay: u64, job: Job) {
        let generation = self.clusters[cluster].generation;
        self.after(delay, Ev::Job(cluster, generation, job));
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::Job(cluster, generation, job) => self.job(cluster, generation, job),
            Ev::Deliver { conn, to, message } => self.deliver(conn, to, message),
            Ev::Request(cluster) => {
                self.request(cluster);
                let pause = self.rng.range(400, 1000);
                self.after(pause, Ev::Request(cluster));
            }
            Ev::Change(cluster) => self.change(cluster),
            Ev::Fault => self.fault(),
            Ev::Cut(plane, from, to) => self.net.cut(self.now, plane, from, to),
            Ev::Mend(plane, from, to) => self.net.mend(self.now, plane, from, to),
            Ev::Revive(cluster, number) => self.net.revive(self.now, cluster, number),
            Ev::Up(cluster) => self.boot(cluster),
            Ev::Resume(cluster) => self.resume(cluster),
            Ev::Heal => self.heal(),
            Ev::Leave { cluster, peer, forced } => self.leave(cluster, peer, forced),
            Ev::Join(join) => self.join(join),
            Ev::JoinRequest(join, channel, request) => self.join_request(join, &channel, &request),
            Ev::JoinResponse(join, channel, answer) => self.join_response(join, &channel, answer),
        }
    }

    fn job(&mut self, cluster: usize, generation: u32, job: Job) {
        let to = &mut self.clusters[cluster];
        if to.plane.is_none() || to.generation != generation {
            return;
        }
        if to.paused {
            to.mailbox.push((generation, job));
            return;
        }
        self.perform(cluster, job);
    }

    fn perform(&mut self, cluster: usize, job: Job) {
        match job {
            Job::Tick => self.tick(cluster),
            Job::Synced => {
                self.clusters[cluster].plane.as_mut().unwrap().synced = true;
                self.tell(cluster);
            }
            Job::Changed => {
                if self.clusters[cluster].plane.as_ref().unwrap().synced {
                    self.tell(cluster);
                }
            }
            Job::Refresh => self.refresh(cluster),
            Job::Heartbeat => self.heartbeat(cluster),
            Job::Dial(peer) => self.dial(cluster, peer),
            Job::Arrive(conn) => self.arrive(cluster, conn),
            Job::Unanswered(conn) => self.unanswered(cluster, conn),
            Job::Lost(conn) => self.lost(cluster, conn),
            Job::Said(conn, message) => self.said(cluster, conn, message),
            Job::Evidence { peer, reached } => {
                let reached = reached && self.bug != Some(Bug::DeafToEvidence);
                let event = if reached { Event::Reached } else { Event::Unreached };
                self.feed(cluster, peer, event, if reached { Heard::Answer } else { Heard::Nothing });
            }
        }
    }

    /// Reads the manifests, and tells peers and proxies what follows.
    fn tell(&mut self, cluster: usize) {
        self.clusters[cluster].read();
        let members = &self.clusters[cluster].plane.as_ref().unwrap().members;
        let conns: Vec<_> = members.values().filter_map(|member| member.conn).collect();
        for conn in conns {
            self.send_exports(cluster, conn);
        }
        self.touch(cluster);
    }

    fn tick(&mut self, cluster: usize) {
        let members: Vec<_> =
            self.clusters[cluster].plane.as_ref().unwrap().members.keys().copied().collect();
        for peer in members {
            self.feed(cluster, peer, Event::Tick, Heard::Nothing);
        }
        let it = &self.clusters[cluster];
        let plane = it.plane.as_ref().unwrap();
        let deadline = plane.members.values().map(|member| member.peer.deadline()).min();
        let wait = deadline.map_or(1000, |then| it.until(self.now, then)).clamp(20, 1000);
        let late = self.rng.range(0, 100);
        self.later(cluster, wait + late, Job::Tick);
    }

    /// Something is different: proxies are to be told soon.
    pub(crate) fn touch(&mut self, cluster: usize) {
        let plane = self.clusters[cluster].plane.as_mut().unwrap();
        if !plane.refresh_due {
            plane.refresh_due = true;
            self.later(cluster, 20, Job::Refresh);
        }
    }

    fn refresh(&mut self, cluster: usize) {
        let plane = self.clusters[cluster].plane.as_mut().unwrap();
        plane.refresh_due = false;
        if !plane.synced {
            return;
        }
        let snapshot = self.clusters[cluster].snapshot(self.bug);
        self.check_snapshot(cluster, &snapshot);
        self.clusters[cluster].told = Some(Arc::new(snapshot));
    }

    pub(crate) fn boot(&mut self, cluster: usize) {
        let now = self.now;
        let it = &mut self.clusters[cluster];
        it.generation += 1;
        it.plane = Some(Plane::new(now));
        let clock = it.clock(now);
        let saved: Vec<_> = it.disk.members.iter().map(|(id, saved)| (*id, saved.clone())).collect();
        for (peer, (mut saved, dialer)) in saved {
            if self.bug == Some(Bug::ForgetOnRestart) {
                saved.exports = None;
            }
            let oracle = Oracle::restored(clock, saved.lease);
            let (restored, effects) = Peer::restored(saved, timing(), clock);
            let member = Member::new(restored, dialer, oracle);
            self.clusters[cluster].plane.as_mut().unwrap().members.insert(peer, member);
            self.obey(cluster, peer, effects);
            if dialer {
                let delay = self.rng.range(100, 2000);
                self.later(cluster, delay, Job::Dial(peer));
            }
        }
        if self.bug == Some(Bug::PublishBeforeSynced) {
            self.clusters[cluster].plane.as_mut().unwrap().synced = true;
        }
        let delay = self.rng.range(50, 3000);
        self.later(cluster, delay, Job::Synced);
        self.later(cluster, 10, Job::Tick);
        self.later(cluster, 5000, Job::Heartbeat);
    }

    fn resume(&mut self, cluster: usize) {
        let it = &mut self.clusters[cluster];
        it.paused = false;
        let mut mail = std::mem::take(&mut it.mailbox);
        if self.bug == Some(Bug::CatchUpAfterPause) {
            self.catch_up(cluster);
        }
        if self.rng.percent(30) {
            mail.sort_by_key(|(_, job)| !matches!(job, Job::Tick));
        }
        for (generation, job) in mail {
            self.job(cluster, generation, job);
        }
    }

    /// What must not be done: the time that was missed is counted as if it had been lived through.
    fn catch_up(&mut self, cluster: usize) {
        let clock = self.clusters[cluster].clock(self.now);
        let Some(plane) = &self.clusters[cluster].plane else { return };
        let members: Vec<_> = plane.members.keys().copied().collect();
        for peer in members {
            while let Some(member) = self.clusters[cluster].member(peer) {
                let then = member.oracle.last + Duration::from_secs(1);
                if then > clock {
                    break;
                }
                member.oracle.last = then;
                let effects = member.peer.on_event(then, Event::Tick);
                self.obey(cluster, peer, effects);
            }
        }
    }
}
