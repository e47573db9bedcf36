//! The task that owns the peers. It takes in what happens, one thing at a time, asks the state machines of
//! `east-west` what follows, and does it.

mod admission;
mod effects;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use isthmus_compiler::ExportChange;
use isthmus_east_west::{
    invite::{Invitation, InvitationId, Member},
    lease::Timing,
    peer::{Event, Message},
};
use isthmus_ir::TrustBundle;
use isthmus_world::{Change, fact::MeshSettings};
use isthmus_xds::federation::{Closed, Cluster, FederationChange, FederationResource, Hello};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Clock, FederationError,
    bridge::trouble,
    exported,
    input::{Input, Inputs, Reply, Who},
    membership::{Membership, OwnExports},
    network::Network,
    store::Store,
    svid::Svid,
};
use crate::ca::Authority;

/// How long something may be unwritten that can be learnt again.
const UNSAVED: Duration = Duration::from_secs(1);

/// Everything that is known of peers.
pub(super) struct Task {
    pub(super) settings: MeshSettings,
    /// Where peers are told that this cluster's gateways are.
    pub(super) advertise: Vec<SocketAddr>,
    pub(super) authority: Arc<Authority>,
    pub(super) svid: Svid,
    pub(super) clock: Clock,
    pub(super) timing: Timing,
    pub(super) version: String,
    pub(super) network: Network,
    pub(super) store: Store,
    pub(super) changes: mpsc::Sender<Vec<Change>>,
    pub(super) inputs: Inputs,
    pub(super) invitations: BTreeMap<InvitationId, Invitation>,
    pub(super) peers: BTreeMap<Arc<str>, Membership>,
    /// None before the compiler has said what they are (case E3).
    pub(super) exports: Option<OwnExports>,
    pub(super) begun: Instant,
    pub(super) memberships: u64,
    pub(super) renewal: Instant,
    pub(super) tasks: JoinSet<()>,
}

impl Task {
    /// Runs until it is told to end.
    pub(super) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        loop {
            let deadline = self.deadline();
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Stop(reply)) => return self.stop(reply).await,
                    Some(input) => self.take(input).await,
                    None => return,
                },
                () = sleep_until(deadline) => self.tick().await,
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    fn deadline(&self) -> Instant {
        let of = |peer: &Membership| {
            let next = self.begun + peer.peer.deadline();
            peer.unsaved.map_or(next, |since| next.min(since + UNSAVED))
        };
        self.peers.values().map(of).fold(self.renewal, Instant::min)
    }

    /// Monotonic time, as the state machines count it.
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn tick(&mut self) {
        let now = self.now();
        if self.renewal <= Instant::now() {
            self.renewal = self.svid.renew();
        }
        let due = self.peers.values().filter(|peer| peer.peer.deadline() <= now);
        for who in due.map(|peer| peer.who.clone()).collect::<Vec<_>>() {
            self.event(&who, Event::Tick).await;
        }
        self.save_later().await;
    }

    async fn save_later(&mut self) {
        let now = Instant::now();
        for peer in self.peers.values_mut() {
            if peer.unsaved.is_some_and(|since| since + UNSAVED <= now) {
                let begun = self.store.try_peer(peer.peer.save()).await;
                peer.unsaved = (!begun).then_some(now);
            }
        }
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::Invite(reply) => drop(reply.send(self.invite().await)),
            Input::BeginJoin(token, reply) => drop(reply.send(self.begin_join(token))),
            Input::FinishJoin(member, reply) => drop(reply.send(self.finish_join(member).await)),
            Input::List(reply) => {
                drop(reply.send(self.peers.values().map(Membership::status).collect()));
            }
            Input::Leave { cluster, force, reply } => self.leave(&cluster, force, reply).await,
            Input::Publish(edits) => self.publish(&edits),
            Input::Configure(settings, advertise) => self.configure(settings, advertise),
            Input::Observed { cluster, reached } => self.observed(&cluster, reached).await,
            Input::Join(caller, request, reply) => {
                drop(reply.send(self.let_in(&caller, &request).await));
            }
            Input::Admit(caller, hello, reply) => drop(reply.send(self.admit(&caller, &hello))),
            Input::Opened { who, stream, resumed } => {
                self.event(&who, Event::Opened { stream, resumed }).await;
            }
            Input::Committed { who, committed, reply } => {
                let now = self.now();
                let Some(peer) = self.find(&who) else { return };
                let (effects, refused) = peer.on_commit(now, committed);
                self.carry_out(&who, effects).await;
                let _ = reply.send(refused);
            }
            Input::Heartbeat { who, stream } => self.heartbeat(&who, stream).await,
            Input::Closed { who, stream, why } => self.closed(&who, stream, &why).await,
            Input::Trouble { who, why } => {
                if let Some(peer) = self.find(&who) {
                    peer.trouble = Some(why);
                }
            }
            // Seen to before.
            Input::Stop(_) => {}
        }
    }

    /// The peer, if it is the same that it was.
    fn find(&mut self, who: &Who) -> Option<&mut Membership> {
        self.peers.get_mut(&who.cluster).filter(|peer| peer.who == *who)
    }

    async fn event(&mut self, who: &Who, event: Event) {
        let now = self.now();
        if let Some(peer) = self.find(who) {
            let effects = peer.on_event(now, event);
            self.carry_out(who, effects).await;
        }
    }

    async fn observed(&mut self, cluster: &Arc<str>, reached: bool) {
        if let Some(who) = self.peers.get(cluster).map(|peer| peer.who.clone()) {
            self.event(&who, if reached { Event::Reached } else { Event::Unreached }).await;
        }
    }

    /// The delta machine has compared checksums: who is still talking agrees.
    async fn heartbeat(&mut self, who: &Who, stream: u64) {
        if let Some(peer) = self.find(who) {
            peer.beat.store(false, std::sync::atomic::Ordering::Release);
            let message = Message::Heartbeat { agrees: true };
            self.event(who, Event::Said { stream, message }).await;
        }
    }

    async fn closed(&mut self, who: &Who, stream: u64, why: &Closed) {
        tracing::info!(peer = &*who.cluster, stream, reason = %why, "federation stream is closed");
        let last = match why {
            Closed::Left(_) => Some(Message::Leaving),
            Closed::Diverged => Some(Message::Heartbeat { agrees: false }),
            _ => None,
        };
        if let Some(peer) = self.find(who) {
            peer.trouble = trouble(why).or(peer.trouble.take());
        }
        if let Some(message) = last {
            self.event(who, Event::Said { stream, message }).await;
        }
        self.event(who, Event::Closed { stream }).await;
        if let Some(peer) = self.peers.get(&who.cluster) {
            peer.retarget(&self.settings);
        }
    }

    async fn leave(&mut self, cluster: &str, force: bool, reply: Reply<()>) {
        let now = self.now();
        let Some(peer) = self.peers.get_mut(cluster) else {
            drop(reply.send(Err(FederationError::UnknownPeer(cluster.to_owned()))));
            return;
        };
        if peer.peer.is_leaving() && !force {
            peer.waiting.push(reply);
            return;
        }
        match peer.peer.leave(now, force) {
            Ok(effects) => {
                peer.waiting.push(reply);
                peer.retarget(&self.settings);
                let who = peer.who.clone();
                self.carry_out(&who, effects).await;
            }
            Err(source) => {
                let cluster = cluster.to_owned();
                drop(reply.send(Err(FederationError::Leave { cluster, source })));
            }
        }
    }

    fn publish(&mut self, edits: &[ExportChange]) {
        let first = self.exports.is_none();
        let exports = self.exports.get_or_insert_default();
        for edit in edits {
            match edit {
                ExportChange::Upsert(service) => {
                    exports.insert(exported::object(service), Arc::clone(service));
                }
                ExportChange::Remove(object) => drop(exports.remove(object)),
            }
        }
        if first {
            for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
                self.tell_all(&peer);
            }
            return;
        }
        for peer in self.peers.values_mut() {
            let told = edits.iter().map(|edit| match edit {
                ExportChange::Upsert(service) => peer.tell_export(service),
                ExportChange::Remove(object) => FederationChange::Remove(exported::key(object)),
            });
            let told: Vec<_> = told.collect();
            peer.tell(&told);
        }
    }

    /// Tells a peer everything, if that is known.
    pub(super) fn tell_all(&mut self, cluster: &str) {
        let own = self.own_resources();
        if let (Some(exports), Some(peer)) = (&self.exports, self.peers.get_mut(cluster)) {
            let services = exports.values().map(|service| peer.tell_export(service));
            let all: Vec<_> = services.chain(own).collect();
            peer.tell(&all);
        }
    }

    fn configure(&mut self, settings: MeshSettings, advertise: Vec<SocketAddr>) {
        (self.settings, self.advertise) = (settings, advertise);
        let own = self.own_resources();
        for peer in self.peers.values_mut() {
            peer.retarget(&self.settings);
            if self.exports.is_some() {
                peer.tell(&own);
            }
        }
    }

    /// What every peer is told of this cluster itself.
    fn own_resources(&self) -> [FederationChange; 2] {
        let Member { roots, trust_domain, gateways, .. } = self.own();
        let cluster = Cluster {
            cluster: self.settings.cluster.clone(),
            gateways,
            network: self.settings.network.clone(),
            zone: self.settings.zone.clone(),
        };
        let bundle = TrustBundle { trust_domain, roots };
        [FederationResource::Cluster(cluster), FederationResource::TrustBundle(bundle)]
            .map(FederationChange::Upsert)
    }

    /// What this cluster says of itself.
    fn own(&self) -> Member {
        let dialable = |a: &&SocketAddr| a.port() != 0 && !a.ip().is_unspecified();
        Member {
            cluster: self.settings.cluster.as_ref().to_owned(),
            trust_domain: self.settings.trust_domain.clone(),
            roots: self.authority.roots(),
            gateways: self.advertise.iter().filter(dialable).copied().collect(),
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            cluster: self.settings.cluster.clone(),
            trust_domain: self.settings.trust_domain.clone(),
            version: self.version.clone(),
        }
    }

    /// Streams end; peers see their leases run out, and resume when this process is back.
    async fn stop(mut self, reply: oneshot::Sender<()>) {
        for peer in self.peers.values() {
            peer.link.close();
            if let Err(error) = self.store.peer(peer.peer.save()).await {
                tracing::warn!(%error, peer = &*peer.who.cluster, "cannot write a peer down");
            }
        }
        self.tasks.shutdown().await;
        let _ = reply.send(());
    }
}
