//! What must never be: design invariants 1, 2 and 7, and the bounds of the leases.

use std::{collections::BTreeSet, time::Duration};

use isthmus_east_west::{
    import::Import,
    lease::{Saved, Timing},
};
use isthmus_ir::Reach;
use isthmus_world::fact::PeerState;

use crate::{
    cluster::{Seen, Snapshot, peer_number},
    sim::Sim,
    truth::{NAMES, SECRET, domain, number, object},
};

pub(crate) struct Check {
    pub(crate) violation: Option<String>,
    /// What the run has been through.
    pub(crate) seen: BTreeSet<&'static str>,
    /// Handles that lead somewhere, by cluster.
    present: Vec<BTreeSet<String>>,
    /// Handles that once led somewhere and then did not.
    vanished: BTreeSet<String>,
    /// Who has forgotten whom since proxies were told last, as the grace period was over.
    pub(crate) forgotten: BTreeSet<(usize, usize)>,
    /// What was ever exported.
    exported: BTreeSet<(usize, String)>,
}

impl Check {
    pub(crate) fn new(clusters: usize) -> Self {
        Self {
            violation: None,
            seen: BTreeSet::new(),
            present: vec![BTreeSet::new(); clusters],
            vanished: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            exported: BTreeSet::new(),
        }
    }
}

/// What a control plane has heard of a peer with an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    Nothing,
    Heartbeat,
    Answer,
}

/// The leases of one peer, by nothing but the times of the last evidence.
pub(crate) struct Oracle {
    heard: Option<Duration>,
    answered: Option<Duration>,
    pub(crate) last: Duration,
    /// The connection that has delivered its snapshot.
    pub(crate) synced: Option<u64>,
}

impl Oracle {
    pub(crate) fn new(now: Duration) -> Self {
        Self { heard: Some(now), answered: Some(now), last: now, synced: None }
    }

    pub(crate) fn restored(now: Duration, saved: Saved) -> Self {
        Self {
            heard: saved.control.then_some(now),
            answered: saved.data.then_some(now),
            last: now,
            synced: None,
        }
    }

    /// An event at `now` took the state from the first to the second of `states`.
    pub(crate) fn observe(
        &mut self,
        timing: &Timing,
        now: Duration,
        heard: Heard,
        (before, after): (PeerState, PeerState),
    ) -> Result<(), String> {
        let gap = now - self.last;
        self.last = now;
        if gap > timing.pause() {
            let missed = gap.saturating_sub(timing.tick);
            self.heard = self.heard.map(|_| now);
            let third = now.saturating_sub(timing.data * 2 / 3);
            self.answered = self.answered.map(|at| third.max(at + missed));
        }
        let silence = self.answered.map(|at| now - at);
        match heard {
            Heard::Nothing => {}
            Heard::Heartbeat => self.heard = Some(now),
            Heard::Answer => self.answered = Some(now),
        }
        let control = matches!(after, PeerState::Connected | PeerState::DataLost);
        let fresh = self.heard.is_some_and(|at| now - at < timing.control);
        if control != fresh {
            let what = if control { "is live" } else { "has ended" };
            return Err(format!("control {what} after {:?}", self.heard.map(|at| now - at)));
        }
        if !control {
            self.heard = None;
        }
        let data = |state| matches!(state, PeerState::Connected | PeerState::ControlLost);
        let least = timing.data + timing.probe;
        if data(before) && !data(after) && silence.is_none_or(|s| s < timing.data) {
            return Err(format!("data has ended after {silence:?}"));
        }
        let late = least + timing.pause() * 2;
        if data(after) && heard != Heard::Answer && silence.is_none_or(|s| s > late) {
            return Err(format!("data is live after {silence:?}"));
        }
        Ok(())
    }
}

impl Sim {
    pub(crate) fn fail(&mut self, what: String) {
        self.check.violation.get_or_insert(what);
    }

    /// Takes down what is true of a cluster now.
    pub(crate) fn note_truth(&mut self, cluster: usize) {
        let it = &self.clusters[cluster];
        let exports = it.truth.exports(&it.key, &[]);
        let handles = exports.values().flat_map(|export| &export.handles);
        let mut present: BTreeSet<_> = handles.map(|handle| handle.name.to_string()).collect();
        // A service without endpoints has its own handle still, but is not told of it.
        for export in exports.values().filter_map(|export| export.exported.as_ref()) {
            self.check.exported.insert((cluster, export.name.clone()));
            for port in export.ports.iter().filter(|port| port.fallback.is_none()) {
                present.remove(it.key.service(&object(&export.name), port.port).as_str());
            }
        }
        let old = std::mem::replace(&mut self.check.present[cluster], present);
        self.check.vanished.extend(old.difference(&self.check.present[cluster]).cloned());
    }

    /// A peer has just gone out of load balancing: there must have been a reason.
    pub(crate) fn check_fall(&mut self, cluster: usize, peer: usize) {
        let since = self.now.saturating_sub(40_000);
        let down = self.net.downtime(cluster, peer, since, self.now);
        if down < 2500 {
            self.fail(format!(
                "invariant 1: cluster {cluster} takes peer {peer} out, which was down for {down} ms"
            ));
        }
    }

    /// What proxies of `cluster` are about to be told.
    pub(crate) fn check_snapshot(&mut self, cluster: usize, new: &Snapshot) {
        let old = self.clusters[cluster].told.clone();
        for (peer, seen) in &new.peers {
            let before = old.as_ref().and_then(|old| old.peers.get(peer));
            if let Some(what) = self.wrong_with_peer(cluster, *peer, before, seen) {
                self.fail(format!("cluster {cluster} on peer {peer}: {what}"));
            }
        }
        self.check.forgotten.retain(|(who, _)| *who != cluster);
        for import in &new.imports {
            if let Some(what) = Self::wrong_with_import(cluster, import) {
                self.fail(format!("invariant 7: cluster {cluster}, {}: {what}", import.object));
            }
        }
        let Some(old) = old else { return };
        for peer in old.peers.keys() {
            if !new.peers.contains_key(peer) && !self.clusters[cluster].left.contains(peer) {
                self.fail(format!("invariant 2: cluster {cluster} has lost peer {peer}"));
            }
        }
        for handle in old.handles.keys().filter(|handle| !new.handles.contains_key(*handle)) {
            let emptied = self.is_service_handle(cluster, handle);
            if !self.check.vanished.contains(handle) && !emptied {
                self.fail(format!("invariant 2: cluster {cluster} has lost its own handle {handle}"));
            }
        }
    }

    fn wrong_with_peer(
        &self,
        cluster: usize,
        peer: usize,
        old: Option<&Seen>,
        new: &Seen,
    ) -> Option<String> {
        let exported = |name: &String| self.check.exported.contains(&(peer, name.clone()));
        if new.services.contains(SECRET) {
            return Some("invariant 7: it is told of a service that is not exported".into());
        }
        if self.clusters[peer].evil || self.clusters[cluster].left.contains(&peer) {
            return None;
        }
        if let Some(name) = new.services.iter().find(|name| !exported(name)) {
            return Some(format!("invariant 7: service {name} was never exported"));
        }
        if new.epochs.len() > 1 {
            return Some(format!("invariant 2: half an edit is in force, of epochs {:?}", new.epochs));
        }
        let forgotten = self.check.forgotten.contains(&(cluster, peer));
        let old = old.filter(|_| new.usable && !forgotten)?;
        let lost = old.handles.difference(&new.handles).find(|h| !self.check.vanished.contains(*h))?;
        Some(format!("invariant 1: working endpoint {lost} was taken out"))
    }

    fn wrong_with_import(cluster: usize, import: &Import) -> Option<String> {
        if let Some(stranger) = import.clusters.iter().find(|name| number(name).is_none()) {
            return Some(format!("it is exported by {stranger}, who is nobody"));
        }
        for endpoint in import.endpoints.iter().flat_map(|set| &set.endpoints) {
            let Reach::Peer { peer, handle, identities } = &endpoint.reach else {
                if &*endpoint.cluster != NAMES[cluster] {
                    return Some(format!("endpoint {} is reached directly", endpoint.id));
                }
                continue;
            };
            let peer = peer_number(peer);
            let own = identities.iter().all(|id| *id.trust_domain() == domain(peer));
            if !own || identities.is_empty() || &*endpoint.cluster != NAMES[peer] {
                return Some(format!("endpoint {handle} of {} may be {identities:?}", NAMES[peer]));
            }
        }
        None
    }

    /// Whether a handle is that of a whole service, which stays as long as the service is exported.
    fn is_service_handle(&self, cluster: usize, handle: &str) -> bool {
        let it = &self.clusters[cluster];
        let services = it.truth.services.keys();
        services
            .flat_map(|name| [80, 81].map(|port| it.key.service(&object(name), port)))
            .any(|name| name.as_str() == handle)
    }

    /// After a long calm everybody knows the same, and all that is true.
    pub(crate) fn check_end(&mut self) {
        for cluster in 0..self.clusters.len() {
            let found = self.wrong_at_the_end(cluster);
            if let Some(what) = found {
                self.fail(format!("in the end cluster {cluster} {what}"));
            }
        }
    }

    fn wrong_at_the_end(&self, cluster: usize) -> Option<String> {
        let it = &self.clusters[cluster];
        let (Some(plane), Some(told)) = (&it.plane, &it.told) else {
            return Some("does not run".into());
        };
        for peer in (0..self.clusters.len()).filter(|peer| *peer != cluster) {
            let member = plane.members.get(&peer);
            let trusted = told.trust.callers.contains(&domain(peer))
                || told.handles.values().any(|handle| handle.callers.contains(&domain(peer)));
            if it.left.contains(&peer) {
                if member.is_some() || trusted || it.disk.members.contains_key(&peer) {
                    return Some(format!("has not forgotten {peer}, which has left"));
                }
                continue;
            }
            let Some(member) = member.filter(|_| trusted) else {
                return Some(format!("has no peer {peer}"));
            };
            if member.peer.state() != PeerState::Connected {
                return Some(format!("finds peer {peer} {:?}", member.peer.state()));
            }
            if member.world.as_ref() != Some(&self.clusters[peer].view(cluster)) {
                return Some(format!("does not know what {peer} exports"));
            }
        }
        told.imports.iter().find_map(|import| self.wrong_with_merge(cluster, import))
    }

    /// An import against the truth, and against what the next cluster makes of it.
    fn wrong_with_merge(&self, cluster: usize, import: &Import) -> Option<String> {
        let exporters: BTreeSet<_> = self
            .members_of(cluster)
            .filter(|c| self.exports(*c, &import.object))
            .map(|c| NAMES[c])
            .collect();
        if !import.clusters.iter().map(AsRef::as_ref).eq(exporters.iter().copied()) {
            return Some(format!(
                "imports {} of {:?}, not of {exporters:?}",
                import.object, import.clusters
            ));
        }
        for exporter in exporters.iter().filter_map(|name| number(name)) {
            let truth = &self.clusters[exporter].truth.services[import.object.name.as_str()];
            let expected = if import.ports.iter().any(|p| p.port == truth.port) {
                truth.endpoints.len()
            } else {
                0
            };
            let all = import.endpoints.iter().flat_map(|set| &set.endpoints);
            let service = self.clusters[exporter].key.service(&import.object, truth.port);
            let fallback = format!("{}/{service}", NAMES[exporter]);
            let found = all.filter(|e| &*e.cluster == NAMES[exporter] && *e.id != *fallback).count();
            if found != expected && !self.clusters[exporter].evil {
                return Some(format!(
                    "has {found} of {expected} endpoints of {} in {exporter}",
                    import.object
                ));
            }
        }
        let meshed = self.clusters.iter().all(|c| c.left.is_empty());
        let next = (cluster + 1) % self.clusters.len();
        let honest = |c: usize| !self.clusters[c].evil;
        let other =
            self.clusters[next].told.as_ref()?.imports.iter().find(|i| i.object == import.object);
        if !meshed || !honest(cluster) || !honest(next) {
            return None;
        }
        let same = other.is_some_and(|other| {
            (other.kind, other.affinity) == (import.kind, import.affinity)
                && other.ports == import.ports
                && other.conflicts == import.conflicts
        });
        (!same).then(|| format!("and cluster {next} do not agree on {}", import.object))
    }
}
