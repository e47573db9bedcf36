//! What is known of peers: each one's own fact, and what it exports.
//!
//! Nothing that a peer exports is shown before its fact and its first whole snapshot are both here, so
//! that half of a peer is never served (invariant 2).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::ObjectRef;

use super::Touched;
use crate::fact::{ExportedService, PeerFact};

/// A service that a peer exports, and the peer.
#[derive(Clone, Debug)]
pub struct PeerExport {
    /// Who exports it.
    pub peer: Arc<PeerFact>,
    /// What it exports.
    pub service: Arc<ExportedService>,
}

#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<Arc<str>, Peer>);

#[derive(Debug, Default)]
struct Peer {
    fact: Option<Arc<PeerFact>>,
    /// Whether a whole snapshot has been here.
    whole: bool,
    exports: BTreeMap<ObjectRef, Arc<ExportedService>>,
}

impl Peer {
    /// Its fact, when its exports may be shown.
    fn shown(&self) -> Option<&Arc<PeerFact>> {
        self.fact.as_ref().filter(|_| self.whole)
    }

    fn put(&mut self, service: Arc<ExportedService>, touched: &mut impl FnMut(Touched)) {
        let object = ObjectRef::new(&service.namespace, &service.name);
        if self.exports.get(&object).is_none_or(|stored| *stored != service) {
            touched(Touched::PeerExport(object.clone()));
            self.exports.insert(object, service);
        }
    }

    fn drop(&mut self, object: &ObjectRef, touched: &mut impl FnMut(Touched)) {
        if self.exports.remove(object).is_some() {
            touched(Touched::PeerExport(object.clone()));
        }
    }

    fn touch_all(&self, touched: &mut impl FnMut(Touched)) {
        self.exports.keys().cloned().map(Touched::PeerExport).for_each(touched);
    }
}

impl Peers {
    pub(super) fn upsert(&mut self, fact: PeerFact, touched: &mut impl FnMut(Touched)) {
        let peer = self.0.entry(Arc::clone(&fact.cluster)).or_default();
        if peer.fact.as_ref().is_some_and(|stored| **stored == fact) {
            return;
        }
        touched(Touched::Peer(Arc::clone(&fact.cluster)));
        peer.fact = Some(Arc::new(fact));
        peer.touch_all(touched);
    }

    pub(super) fn remove(&mut self, cluster: &str, touched: &mut impl FnMut(Touched)) {
        if let Some((cluster, peer)) = self.0.remove_entry(cluster) {
            touched(Touched::Peer(cluster));
            peer.touch_all(touched);
        }
    }

    pub(super) fn snapshot(
        &mut self,
        cluster: &Arc<str>,
        services: Vec<Arc<ExportedService>>,
        touched: &mut impl FnMut(Touched),
    ) {
        let peer = self.0.entry(Arc::clone(cluster)).or_default();
        if !peer.whole {
            peer.whole = true;
            peer.touch_all(touched);
        }
        let mut gone: BTreeSet<ObjectRef> = peer.exports.keys().cloned().collect();
        for service in services.into_iter().filter(|s| s.cluster == *cluster) {
            gone.remove(&ObjectRef::new(&service.namespace, &service.name));
            peer.put(service, touched);
        }
        for object in &gone {
            peer.drop(object, touched);
        }
    }

    pub(super) fn edit(
        &mut self,
        cluster: &Arc<str>,
        upserts: Vec<Arc<ExportedService>>,
        removed: &[ObjectRef],
        touched: &mut impl FnMut(Touched),
    ) {
        let peer = self.0.entry(Arc::clone(cluster)).or_default();
        for object in removed {
            peer.drop(object, touched);
        }
        for service in upserts.into_iter().filter(|s| s.cluster == *cluster) {
            peer.put(service, touched);
        }
    }

    pub(super) fn facts(&self) -> impl Iterator<Item = &Arc<PeerFact>> {
        self.0.values().filter_map(|peer| peer.fact.as_ref())
    }

    pub(super) fn fact(&self, cluster: &str) -> Option<&Arc<PeerFact>> {
        self.0.get(cluster)?.fact.as_ref()
    }

    /// The peers' exports of a service, in order of cluster.
    pub(super) fn exports(&self, service: &ObjectRef) -> impl Iterator<Item = PeerExport> {
        self.0.values().filter_map(|peer| {
            let service = Arc::clone(peer.exports.get(service)?);
            Some(PeerExport { peer: Arc::clone(peer.shown()?), service })
        })
    }

    /// Every service that some peer exports; one that several export comes several times.
    pub(super) fn exported(&self) -> impl Iterator<Item = &ObjectRef> {
        self.0.values().filter(|peer| peer.shown().is_some()).flat_map(|peer| peer.exports.keys())
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(|peer| 1 + peer.exports.len()).sum()
    }
}
