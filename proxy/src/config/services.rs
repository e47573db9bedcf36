//! Services with their endpoints and the peers behind them, kept up to date with the resources.
//!
//! What was learned of an endpoint's health stays with it: found by its id in the service, whatever else
//! of it is edited. Its pooled connections stay for as long as the way to it does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use isthmus_ir::{self as ir, Endpoints, Key, Kind, Name, Reach, Resource};

use crate::{
    balance::{Endpoint, Epoch, Gateway, Health, Peer, ServiceState, Slot, Way},
    metrics::Metrics,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Services {
    peers: HashMap<Name, Arc<Peer>>,
    peers_epoch: Epoch,
    /// Slots of endpoints that are free again.
    free: Arc<Mutex<Vec<u32>>>,
    slots: u32,
    /// The last number given to a build or an endpoint.
    number: u64,
}

impl Services {
    /// The services after the resources of `touched` keys changed.
    pub(crate) fn update(
        &mut self,
        current: &[Option<Arc<ServiceState>>],
        resources: &BTreeMap<Key, Resource>,
        touched: &BTreeSet<Key>,
        metrics: &Metrics,
    ) -> Vec<Option<Arc<ServiceState>>> {
        let mut next = current.to_vec();
        for name in self.affected(current, resources, touched) {
            let slot = metrics.services.slot(name.as_str());
            let index = slot as usize;
            if next.len() <= index {
                next.resize(index + 1, None);
            }
            let old = next.get(index).cloned().flatten();
            let new = match resources.get(&Key::new(Kind::Service, name.clone())) {
                Some(Resource::Service(spec)) => {
                    let endpoints = match resources.get(&Key::new(Kind::Endpoints, name)) {
                        Some(Resource::Endpoints(endpoints)) => Some(endpoints),
                        _ => None,
                    };
                    Some(self.build(slot, spec, endpoints, old.as_ref()))
                }
                _ => None,
            };
            if let Some(entry) = next.get_mut(index) {
                *entry = new;
            }
        }
        next
    }

    /// Every peer that is known.
    pub(super) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.peers.values()
    }

    /// Updates peers, and names the services that are to be built anew.
    fn affected(
        &mut self,
        current: &[Option<Arc<ServiceState>>],
        resources: &BTreeMap<Key, Resource>,
        touched: &BTreeSet<Key>,
    ) -> BTreeSet<Name> {
        let names = |kind: Kind| touched.iter().filter(move |k| k.kind == kind).map(|k| k.name.clone());
        let mut affected: BTreeSet<Name> = names(Kind::Service).chain(names(Kind::Endpoints)).collect();
        let changed: BTreeSet<Name> = names(Kind::Peer).collect();
        for name in &changed {
            match resources.get(&Key::new(Kind::Peer, name.clone())) {
                Some(Resource::Peer(spec)) => {
                    let peer = self.peer(spec);
                    self.peers.insert(name.clone(), peer);
                }
                _ => drop(self.peers.remove(name)),
            }
        }
        if !changed.is_empty() {
            let leads_there = |service: &ServiceState| {
                service.endpoints.iter().any(|endpoint| match &endpoint.spec.reach {
                    Reach::Peer { peer, .. } => changed.contains(peer),
                    Reach::Direct { .. } => false,
                })
            };
            let found = current.iter().flatten().filter(|service| leads_there(service));
            affected.extend(found.map(|service| service.spec.name.clone()));
        }
        affected
    }

    fn peer(&self, spec: &Arc<ir::Peer>) -> Arc<Peer> {
        let old = self.peers.get(&spec.name);
        let gateway = |address: &std::net::SocketAddr| {
            let kept = old.and_then(|peer| peer.gateways.iter().find(|g| g.address == *address));
            kept.map_or_else(
                || {
                    Arc::new(Gateway {
                        peer: spec.name.clone(),
                        address: *address,
                        health: Health::default(),
                        epoch: self.peers_epoch.clone(),
                        suspected: AtomicBool::new(false),
                        answered: AtomicBool::new(false),
                    })
                },
                Arc::clone,
            )
        };
        Arc::new(Peer { spec: Arc::clone(spec), gateways: spec.gateways.iter().map(gateway).collect() })
    }

    fn build(
        &mut self,
        slot: u32,
        spec: &Arc<ir::Service>,
        endpoints: Option<&Arc<Endpoints>>,
        old: Option<&Arc<ServiceState>>,
    ) -> Arc<ServiceState> {
        let epoch = old.map_or_else(Epoch::default, |old| old.epoch.clone());
        let known: HashMap<&str, &Arc<Endpoint>> =
            old.iter().flat_map(|old| &old.endpoints).map(|e| (&*e.spec.id, e)).collect();
        let specs = endpoints.map(|endpoints| endpoints.endpoints.as_slice()).unwrap_or_default();
        let endpoints = specs
            .iter()
            .map(|endpoint| {
                let before = known.get(&*endpoint.id).copied();
                Arc::new(self.endpoint(spec, endpoint, before, &epoch))
            })
            .collect();
        Arc::new(ServiceState {
            spec: Arc::clone(spec),
            slot,
            build: self.number(),
            endpoints,
            epoch,
            peers_epoch: self.peers_epoch.clone(),
        })
    }

    fn endpoint(
        &mut self,
        service: &ir::Service,
        spec: &ir::Endpoint,
        before: Option<&Arc<Endpoint>>,
        epoch: &Epoch,
    ) -> Endpoint {
        let same_way = before.filter(|before| before.spec.reach == spec.reach);
        let (slot, unique) = match same_way {
            Some(before) => (Arc::clone(&before.slot), before.unique),
            None => (self.slot(), self.number()),
        };
        Endpoint {
            spec: spec.clone(),
            service: service.name.clone(),
            slot,
            unique,
            health: before.map_or_else(Arc::default, |before| Arc::clone(&before.health)),
            policy: service.health.clone(),
            epoch: epoch.clone(),
            way: match &spec.reach {
                Reach::Direct { addresses } => Way::Direct(addresses.as_slice().into()),
                Reach::Peer { peer, .. } => Way::Peer(self.peers.get(peer).map(Arc::clone)),
            },
        }
    }

    fn slot(&mut self) -> Arc<Slot> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let number = free.unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        Arc::new(Slot::new(number, &self.free))
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}
