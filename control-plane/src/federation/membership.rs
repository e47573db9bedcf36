//! One peer as this process holds it: its state machine, its streams, and what it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use isthmus_east_west::{
    export::view,
    peer::{Close, Effect, Event, Message, Peer},
    trust::undialable,
};
use isthmus_identity::Anchors;
use isthmus_ir::ObjectRef;
use isthmus_world::fact::{ExportedService, MeshSettings};
use isthmus_xds::federation::{
    self, Committed, Exports, FederationChange, FederationKey, FederationResource, Hello, Limits,
};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    bridge::Bridge,
    dial::Target,
    exported,
    input::{Inputs, Reply, Who},
    status::{PeerStatus, word},
};

/// What this cluster exports, by service.
pub(super) type OwnExports = BTreeMap<ObjectRef, Arc<ExportedService>>;

/// A peer, from join to leave.
pub(super) struct Membership {
    pub(super) who: Who,
    pub(super) peer: Peer,
    pub(super) link: federation::Peer<Bridge>,
    pub(super) target: watch::Sender<Target>,
    pub(super) beat: Arc<AtomicBool>,
    /// What went wrong last; none while a stream is open.
    pub(super) trouble: Option<String>,
    /// Who waits for its first snapshot.
    pub(super) first: Option<oneshot::Sender<()>>,
    /// Who waits for it to be gone.
    pub(super) waiting: Vec<Reply<()>>,
    /// Since when something is not written down.
    pub(super) unsaved: Option<Instant>,
    exports: Exports,
    revision: u64,
    resumable: bool,
    stream: Option<u64>,
}

impl Membership {
    /// `peer`, to which nothing is connected yet.
    pub(super) fn new(
        who: Who,
        peer: Peer,
        local: Hello,
        settings: &MeshSettings,
        inputs: Inputs,
    ) -> Self {
        let exports = Exports::default();
        let beat = Arc::new(AtomicBool::new(false));
        let fact = peer.fact();
        let remote = Hello {
            cluster: fact.cluster.clone(),
            trust_domain: fact.trust_domain.clone(),
            version: String::new(),
        };
        let bridge = Bridge::new(who.clone(), inputs, Arc::clone(&beat));
        let link = federation::Peer::new(local, remote, exports.clone(), bridge, Limits::default());
        let target = watch::Sender::new(target(&peer, settings));
        Self {
            who,
            resumable: peer.may_resume(),
            peer,
            link,
            target,
            beat,
            trouble: Some("no stream has been opened yet".to_owned()),
            first: None,
            waiting: Vec::new(),
            unsaved: None,
            exports,
            revision: 0,
            stream: None,
        }
    }

    /// Says to the streams what is in force from before a restart.
    pub(super) async fn resume(&self) {
        let fact = self.peer.fact();
        let (trust_domain, roots) = (fact.trust_domain.clone(), fact.roots.clone());
        let bundle = isthmus_ir::TrustBundle { trust_domain, roots };
        let services = self.peer.exports().map(|exported| exported::resource(exported));
        let held: Vec<_> = services.chain([FederationResource::TrustBundle(bundle)]).collect();
        if self.resumable {
            self.link.resume(&held).await;
        }
    }

    /// Dials where the peer is now.
    pub(super) fn retarget(&self, settings: &MeshSettings) {
        let mut target = target(&self.peer, settings);
        if self.peer.is_leaving() {
            target.addresses.clear();
        }
        self.target.send_if_modified(|old| {
            let differs = *old != target;
            *old = target;
            differs
        });
    }

    /// Tells the peer of `edits`; nothing when there are none.
    pub(super) fn tell(&mut self, edits: &[FederationChange]) {
        if !edits.is_empty() {
            self.revision += 1;
            self.exports.publish(self.revision, Bytes::new(), edits);
        }
    }

    /// Tells the peer of what is exported, as far as it is for this one.
    pub(super) fn tell_export(&self, exported: &Arc<ExportedService>) -> FederationChange {
        FederationChange::Upsert(exported::resource(&view(exported, &self.who.cluster)))
    }

    /// Takes an event in.
    pub(super) fn on_event(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        match &event {
            Event::Opened { stream, .. } => {
                self.stream = Some(*stream);
                self.trouble = None;
            }
            Event::Closed { stream } => drop(self.stream.take_if(|open| open == stream)),
            _ => {}
        }
        let effects = self.peer.on_event(now, event);
        self.follow();
        effects
    }

    /// Asks for everything anew once nothing can be resumed any more; tells who waits for a snapshot.
    fn follow(&mut self) {
        let resumable = self.peer.may_resume();
        if self.resumable && !resumable {
            self.link.restart();
        }
        self.resumable = resumable;
        if let Some(first) = self.first.take_if(|_| resumable) {
            let _ = first.send(());
        }
    }

    /// A snapshot of what the peer says. What is answered is refused.
    pub(super) fn on_commit(
        &mut self,
        now: Duration,
        committed: Committed,
    ) -> (Vec<Effect>, Vec<(FederationKey, String)>) {
        let Committed { stream, changes, .. } = committed;
        let (mut upserts, mut removed, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let fact = self.peer.fact();
        let (mut gateways, mut roots) = (fact.gateways.clone(), fact.roots.clone());
        for change in changes {
            match change {
                FederationChange::Upsert(FederationResource::Service(service)) => {
                    upserts.push(Arc::new(exported::fact(&self.who.cluster, service)));
                }
                FederationChange::Upsert(FederationResource::Cluster(cluster)) => {
                    gateways = cluster.gateways;
                }
                FederationChange::Upsert(FederationResource::TrustBundle(bundle)) => {
                    match Anchors::new(&bundle.trust_domain, &bundle.roots) {
                        Ok(_) => roots = bundle.roots,
                        Err(error) => {
                            let key = FederationResource::TrustBundle(bundle).key();
                            refused.push((key, format!("{error}: {}", error.source)));
                        }
                    }
                }
                // What a peer made of our exports has no reader yet.
                FederationChange::Upsert(FederationResource::ImportReport(_)) => {}
                FederationChange::Remove(key) => removed.extend(exported::named(&key)),
            }
        }
        let mut effects = Vec::new();
        for message in [Message::Identity { gateways, roots }, Message::Commit { upserts, removed }] {
            effects.extend(self.on_event(now, Event::Said { stream, message }));
        }
        (effects, refused)
    }

    /// Ends the stream, so that the next one is in order.
    pub(super) fn close(&mut self, why: Close) {
        tracing::warn!(peer = &*self.who.cluster, reason = %why, "federation stream is closed");
        self.trouble = Some(why.to_string());
        match why {
            Close::Diverged | Close::Quota | Close::Resumed => self.link.restart(),
            Close::Identity => self.link.close(),
            // The streams have seen to that themselves, but for one that opens as the peer leaves.
            Close::Replaced if self.peer.is_leaving() => self.link.close(),
            Close::Replaced => {}
        }
    }

    pub(super) fn status(&self) -> PeerStatus {
        let fact = self.peer.fact();
        let stream = self.stream.is_some();
        PeerStatus {
            cluster: fact.cluster.as_ref().to_owned(),
            trust_domain: fact.trust_domain.to_string(),
            state: if self.peer.is_leaving() { "Leaving" } else { word(fact.state) }.to_owned(),
            stream,
            gateways: fact.gateways.clone(),
            services: self.peer.may_resume().then(|| self.peer.exports().count()),
            trouble: self.trouble.clone().filter(|_| !stream),
        }
    }
}

/// Where a peer may be dialled (case H3).
fn target(peer: &Peer, settings: &MeshSettings) -> Target {
    let fact = peer.fact();
    Target {
        addresses: dialable(&fact.gateways, settings),
        trust_domain: fact.trust_domain.clone(),
        roots: fact.roots.clone(),
    }
}

pub(super) fn dialable(gateways: &[SocketAddr], settings: &MeshSettings) -> Vec<SocketAddr> {
    gateways.iter().copied().filter(|gateway| undialable(settings, *gateway).is_none()).collect()
}
