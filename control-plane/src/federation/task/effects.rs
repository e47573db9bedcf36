//! What follows from an event, done.

use std::{sync::Arc, time::Duration};

use isthmus_east_west::peer::Effect;
use isthmus_world::{Change, fact::PeerState};
use tokio::time::Instant;

use super::Task;
use crate::federation::{
    FederationError,
    input::{Input, Who},
    membership::dialable,
    probe::probe,
};

impl Task {
    /// Does what is to be done, and tells the run loop at the end, of everything at once.
    pub(super) async fn carry_out(&mut self, who: &Who, effects: Vec<Effect>) {
        let mut changes = Vec::new();
        for effect in effects {
            self.one(who, effect, &mut changes).await;
        }
        if !changes.is_empty() {
            // Nobody listens any more only when the process ends.
            let _ = self.changes.send(changes).await;
        }
    }

    async fn one(&mut self, who: &Who, effect: Effect, changes: &mut Vec<Change>) {
        let cluster = Arc::clone(&who.cluster);
        let Some(peer) = self.peers.get_mut(&cluster) else { return };
        match effect {
            Effect::Fact(fact) => {
                if peer.peer.state() != PeerState::Connected {
                    tracing::warn!(peer = &*cluster, state = ?fact.state, "peer is not connected");
                }
                peer.retarget(&self.settings);
                changes.push(Change::Peer(fact));
            }
            Effect::Snapshot(services) => changes.push(Change::PeerSnapshot { cluster, services }),
            Effect::Exports { upserts, removed } => {
                changes.push(Change::PeerExports { cluster, upserts, removed });
            }
            Effect::Probe => return self.probe(&cluster),
            Effect::Close { why, .. } => return peer.close(why),
            Effect::SayLeaving { .. } => {
                peer.link.leave("it was told to by `isthmus peer leave`");
                return;
            }
            Effect::Buried => {
                tracing::warn!(peer = &*cluster, "peer is lost for long; it is a member still");
                return;
            }
            Effect::Gone => {
                self.forget(who).await;
                changes.push(Change::PeerGone { cluster });
                return;
            }
        }
        if let Some(peer) = self.peers.get_mut(&who.cluster) {
            peer.unsaved.get_or_insert_with(Instant::now);
        }
    }

    /// Asks the peer's gateways whether they live.
    pub(in crate::federation) fn probe(&mut self, cluster: &Arc<str>) {
        let Some(peer) = self.peers.get(cluster) else { return };
        let addresses = dialable(&peer.peer.fact().gateways, &self.settings);
        let limit: Duration = self.timing.probe * 9 / 10;
        let (network, svid, inputs) = (self.network.clone(), self.svid.clone(), self.inputs.clone());
        let cluster = Arc::clone(cluster);
        self.tasks.spawn(async move {
            let reached = probe(network, svid, addresses, limit).await;
            let _ = inputs.send(Input::Observed { cluster, reached });
        });
    }

    async fn forget(&mut self, who: &Who) {
        let Some(peer) = self.peers.remove(&who.cluster) else { return };
        tracing::info!(peer = &*who.cluster, "peer is gone");
        let mut forgotten = self.store.no_peer(Arc::clone(&who.cluster)).await;
        for reply in peer.waiting {
            let said = std::mem::replace(&mut forgotten, Ok(()));
            let _ = reply.send(said.map_err(FederationError::Store));
        }
        if let Err(error) = forgotten {
            tracing::warn!(%error, peer = &*who.cluster, "cannot delete the file of a peer that is gone");
        }
    }
}
