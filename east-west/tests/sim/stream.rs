//! Connections between control planes: in order, until they break. The delta machine is modelled: it tells
//! differences, ends them with a commit, and resumes where the other side says that it stands.

use std::sync::Arc;

use isthmus_east_west::peer::{Event, Message as Said};
use isthmus_ir::ObjectRef;
use isthmus_world::fact::ExportedService;

use crate::{
    bug::Bug,
    check::Heard,
    cluster::Held,
    sim::{Ev, Job, Sim},
};

#[derive(Clone)]
pub(crate) enum Message {
    /// What the sender holds of the receiver; none: nothing.
    Hello(Option<Held>),
    Identity,
    Upsert(Arc<ExportedService>),
    Remove(ObjectRef),
    /// With all that the receiver must hold now, as its checksum.
    Commit(Arc<Held>),
    Heartbeat(Arc<Held>),
    Leaving,
}

pub(crate) struct Conn {
    /// The dialer, then the acceptor.
    ends: [usize; 2],
    sides: [Side; 2],
    broken: bool,
}

#[derive(Default)]
struct Side {
    /// The control plane that opened it; 0: not open yet.
    generation: u32,
    /// Its number there.
    stream: u64,
    /// When the last message arrives here.
    last: u64,
    /// What was sent from here.
    sent: Option<Arc<Held>>,
}

impl Conn {
    fn side(&self, cluster: usize) -> usize {
        usize::from(self.ends[1] == cluster)
    }

    fn other(&self, cluster: usize) -> usize {
        self.ends[1 - self.side(cluster)]
    }
}

impl Sim {
    pub(crate) fn dial(&mut self, cluster: usize, peer: usize) {
        let idle = self.clusters[cluster].member(peer).is_some_and(|member| member.conn.is_none());
        if !idle {
            return;
        }
        let id = self.conns.len() as u64 + 1;
        self.conns.insert(id, Conn { ends: [cluster, peer], sides: <_>::default(), broken: false });
        let delay = self.net.delay(&mut self.rng);
        self.later(peer, delay, Job::Arrive(id));
        self.later(cluster, 5000, Job::Unanswered(id));
    }

    pub(crate) fn arrive(&mut self, cluster: usize, id: u64) {
        let dialer = self.conns[&id].other(cluster);
        let known = self.clusters[cluster].member(dialer).is_some();
        let passes =
            self.net.control(dialer, cluster, cluster) && self.net.control(cluster, dialer, cluster);
        if known && passes && !self.conns[&id].broken {
            self.open(cluster, id);
        }
    }

    pub(crate) fn unanswered(&mut self, cluster: usize, id: u64) {
        let conn = self.conns.get_mut(&id).unwrap();
        let side = conn.side(cluster);
        if conn.sides[side].generation == 0 {
            let peer = conn.other(cluster);
            self.break_conn(id);
            self.dial(cluster, peer);
        }
    }

    fn open(&mut self, cluster: usize, id: u64) {
        let generation = self.clusters[cluster].generation;
        let peer = self.conns[&id].other(cluster);
        let always = self.bug == Some(Bug::AlwaysResume);
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        if !(member.peer.may_resume() || always) {
            member.held = None;
        }
        member.streams += 1;
        let (stream, held) = (member.streams, member.held.clone());
        member.staged = held.clone().unwrap_or_default();
        let old = member.conn.replace(id);
        if let Some(old) = old {
            self.break_conn(old);
        }
        self.check.seen.insert(if held.is_some() {
            "a stream that resumes"
        } else {
            "a stream that begins"
        });
        let conn = self.conns.get_mut(&id).unwrap();
        let side = conn.side(cluster);
        (conn.sides[side].generation, conn.sides[side].stream) = (generation, stream);
        self.send(cluster, id, Message::Hello(held.clone()));
        self.feed(cluster, peer, Event::Opened { stream, resumed: held.is_some() }, Heard::Nothing);
    }

    fn send(&mut self, from: usize, id: u64, message: Message) {
        let delay = self.net.delay(&mut self.rng);
        let conn = self.conns.get_mut(&id).unwrap();
        let to = 1 - conn.side(from);
        let at = conn.sides[to].last.max(self.now + delay);
        conn.sides[to].last = at;
        let delay = at - self.now;
        self.after(delay, Ev::Deliver { conn: id, to, message });
    }

    pub(crate) fn deliver(&mut self, id: u64, to: usize, message: Message) {
        let conn = &self.conns[&id];
        let (from, cluster) = (conn.ends[1 - to], conn.ends[to]);
        let (generation, acceptor) = (conn.sides[to].generation, conn.ends[1]);
        if conn.broken {
            return;
        }
        if !self.net.control(from, cluster, acceptor) {
            self.break_conn(id);
            return;
        }
        // A dialer's side opens with the acceptor's first word.
        let generation = if generation == 0 { self.clusters[cluster].generation } else { generation };
        self.after(0, Ev::Job(cluster, generation, Job::Said(id, message)));
    }

    pub(crate) fn said(&mut self, cluster: usize, id: u64, message: Message) {
        let conn = &self.conns[&id];
        let (side, peer) = (conn.side(cluster), conn.other(cluster));
        if conn.sides[side].generation == 0 {
            self.open(cluster, id);
        }
        let current = self.clusters[cluster].member(peer).is_some_and(|member| member.conn == Some(id));
        let stream = self.conns[&id].sides[side].stream;
        match message {
            Message::Hello(held) => {
                let conn = self.conns.get_mut(&id).unwrap();
                conn.sides[side].sent = Some(Arc::new(held.unwrap_or_default()));
                self.send(cluster, id, Message::Identity);
                self.send_exports(cluster, id);
            }
            Message::Identity => {
                let identity = self.clusters[peer].identity();
                let message = Said::Identity { gateways: identity.gateways, roots: identity.roots };
                self.feed(cluster, peer, Event::Said { stream, message }, Heard::Nothing);
            }
            Message::Upsert(export) if current => {
                let object = ObjectRef::new(&export.namespace, &export.name);
                self.stage(cluster, peer, &object, Some(&export));
            }
            Message::Remove(object) if current => self.stage(cluster, peer, &object, None),
            Message::Commit(all) if current => self.commit(cluster, peer, id, &all),
            Message::Heartbeat(all) => {
                let member = self.clusters[cluster].member(peer);
                let agrees = member.is_some_and(|m| !current || m.held.as_ref() == Some(&all));
                let synced =
                    self.clusters[cluster].member(peer).is_some_and(|m| m.oracle.synced == Some(id));
                let heard = if agrees && current && synced { Heard::Heartbeat } else { Heard::Nothing };
                let message = Said::Heartbeat { agrees };
                self.feed(cluster, peer, Event::Said { stream, message }, heard);
            }
            Message::Leaving => {
                if current {
                    self.check.seen.insert("a leave that is told");
                    let message = Said::Leaving;
                    self.feed(cluster, peer, Event::Said { stream, message }, Heard::Nothing);
                }
            }
            Message::Upsert(_) | Message::Remove(_) | Message::Commit(_) => {}
        }
    }

    fn stage(
        &mut self,
        cluster: usize,
        peer: usize,
        object: &ObjectRef,
        export: Option<&Arc<ExportedService>>,
    ) {
        let apply = self.bug == Some(Bug::ApplyBeforeCommit);
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        let world = member.world.as_mut().filter(|_| apply);
        for held in [Some(&mut member.staged), world].into_iter().flatten() {
            match export {
                Some(export) => held.insert(object.clone(), Arc::clone(export)),
                None => held.remove(object),
            };
        }
        if apply {
            self.touch(cluster);
        }
    }

    fn commit(&mut self, cluster: usize, peer: usize, id: u64, all: &Held) {
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        if member.staged != *all {
            member.held = None;
            self.drop_conn(cluster, id);
            return;
        }
        let old = member.held.replace(member.staged.clone()).unwrap_or_default();
        let new = member.held.as_ref().unwrap();
        let changed = new.iter().filter(|(object, export)| old.get(*object) != Some(*export));
        let upserts = changed.map(|(_, export)| Arc::clone(export)).collect();
        let removed = old.keys().filter(|object| !new.contains_key(*object)).cloned().collect();
        member.oracle.synced = Some(id);
        let stream = {
            let conn = &self.conns[&id];
            conn.sides[conn.side(cluster)].stream
        };
        let message = Said::Commit { upserts, removed };
        self.feed(cluster, peer, Event::Said { stream, message }, Heard::Heartbeat);
    }

    /// Sends what is different from what was sent, and a commit.
    pub(crate) fn send_exports(&mut self, cluster: usize, id: u64) {
        let peer = self.conns[&id].other(cluster);
        let side = self.conns[&id].side(cluster);
        let synced = self.clusters[cluster].plane.as_ref().is_some_and(|plane| plane.synced);
        let Some(sent) = self.conns[&id].sides[side].sent.clone().filter(|_| synced) else { return };
        let view = Arc::new(self.clusters[cluster].view(peer));
        for (object, export) in view.iter() {
            if sent.get(object) != Some(export) {
                self.send(cluster, id, Message::Upsert(Arc::clone(export)));
            }
        }
        for object in sent.keys().filter(|object| !view.contains_key(*object)) {
            self.send(cluster, id, Message::Remove(object.clone()));
        }
        self.send(cluster, id, Message::Commit(Arc::clone(&view)));
        self.conns.get_mut(&id).unwrap().sides[side].sent = Some(view);
    }

    pub(crate) fn heartbeat(&mut self, cluster: usize) {
        let plane = self.clusters[cluster].plane.as_ref().unwrap();
        let conns: Vec<_> = plane.members.values().filter_map(|member| member.conn).collect();
        let synced = plane.synced;
        for id in conns.into_iter().filter(|_| synced) {
            let conn = &self.conns[&id];
            if let Some(sent) = conn.sides[conn.side(cluster)].sent.clone() {
                self.send(cluster, id, Message::Heartbeat(sent));
            }
        }
        self.later(cluster, 5000, Job::Heartbeat);
    }

    pub(crate) fn say_leaving(&mut self, cluster: usize, peer: usize) {
        if let Some(id) = self.clusters[cluster].member(peer).and_then(|member| member.conn) {
            self.send(cluster, id, Message::Leaving);
        }
    }

    /// A side closes the stream of this number.
    pub(crate) fn close(&mut self, cluster: usize, peer: usize, stream: u64) {
        let conn = self.clusters[cluster].member(peer).and_then(|member| member.conn);
        let conn = conn.filter(|id| {
            let conn = &self.conns[id];
            conn.sides[conn.side(cluster)].stream == stream
        });
        if let Some(id) = conn {
            self.drop_conn(cluster, id);
        }
    }

    /// A side ends a connection, of which the other one learns in time.
    pub(crate) fn drop_conn(&mut self, cluster: usize, id: u64) {
        self.break_conn(id);
        self.lost(cluster, id);
    }

    /// Nothing passes any more; both sides find out.
    pub(crate) fn break_conn(&mut self, id: u64) {
        let conn = self.conns.get_mut(&id).unwrap();
        if std::mem::replace(&mut conn.broken, true) {
            return;
        }
        for end in conn.ends {
            let delay =
                if self.rng.percent(50) { self.rng.range(1, 500) } else { self.rng.range(500, 20_000) };
            self.later(end, delay, Job::Lost(id));
        }
    }

    /// All connections of a control plane that died.
    pub(crate) fn break_all(&mut self, cluster: usize) {
        let ids: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.ends.contains(&cluster))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.break_conn(id);
        }
    }

    pub(crate) fn lost(&mut self, cluster: usize, id: u64) {
        let conn = &self.conns[&id];
        let (peer, stream) = (conn.other(cluster), conn.sides[conn.side(cluster)].stream);
        let Some(member) = self.clusters[cluster].member(peer) else { return };
        if member.conn != Some(id) {
            return;
        }
        member.conn = None;
        let dialer = member.dialer;
        self.feed(cluster, peer, Event::Closed { stream }, Heard::Nothing);
        if dialer {
            let delay = self.rng.range(200, 3000);
            self.later(cluster, delay, Job::Dial(peer));
        }
    }
}
