//! Proxies: they act on what they were told last and on what they see themselves, and report.

use std::collections::BTreeMap;

use isthmus_ir::{Endpoint, HandleTarget, ObjectRef, Reach};

use crate::{
    cluster::peer_number,
    net::Health,
    sim::{Job, Sim},
    truth::{SHARED, domain, gateway_of, object},
};

/// What a proxy knows by itself.
#[derive(Default)]
pub(crate) struct Proxy {
    /// Endpoints that failed, and until when they are not tried first.
    ejected: BTreeMap<String, u64>,
    /// When it last reported a peer reached.
    reported: BTreeMap<usize, u64>,
}

impl Sim {
    /// A request of a random service.
    pub(crate) fn request(&mut self, cluster: usize) {
        let name = object(SHARED[self.rng.index(SHARED.len())]);
        let served = self.serve(cluster, &name);
        if !served && self.is_calm() && self.somebody_serves(cluster, &name) {
            self.fail(format!("cluster {cluster} finds nobody for {name}, who is there"));
        }
    }

    fn serve(&mut self, cluster: usize, service: &ObjectRef) -> bool {
        let Some(told) = self.clusters[cluster].told.clone() else { return false };
        let import = told.imports.iter().find(|import| import.object == *service);
        let Some(set) = import.and_then(|import| import.endpoints.first()) else { return false };
        let mut endpoints: Vec<&Endpoint> = set.endpoints.iter().collect();
        let now = self.now;
        let ejected = &self.clusters[cluster].proxy.ejected;
        endpoints.sort_by_key(|e| (ejected.get(&*e.id).is_some_and(|until| *until > now), e.priority));
        // Endpoints that are out are tried last, as a probe in the background would do.
        for endpoint in endpoints {
            if self.attempt(cluster, service, endpoint) {
                self.clusters[cluster].proxy.ejected.remove(&*endpoint.id);
                return true;
            }
            self.clusters[cluster].proxy.ejected.insert(endpoint.id.to_string(), now + 5000);
        }
        false
    }

    fn attempt(&mut self, cluster: usize, service: &ObjectRef, endpoint: &Endpoint) -> bool {
        let Reach::Peer { peer, handle, identities } = &endpoint.reach else {
            return self.is_running(cluster, service, &endpoint.id);
        };
        let peer = peer_number(peer);
        let reached = self.net.data(cluster, peer);
        self.report(cluster, peer, reached);
        // Who answers is checked against what the endpoint names.
        if !reached || !identities.contains(&gateway_of(peer)) {
            return false;
        }
        let told = self.clusters[peer].told.clone();
        let found = told.as_ref().and_then(|told| told.handles.get(handle.as_str()));
        let Some(found) = found.filter(|found| found.callers.contains(&domain(cluster))) else {
            return false;
        };
        match &found.target {
            HandleTarget::Endpoint { endpoint, .. } => self.is_running(peer, service, endpoint),
            HandleTarget::Service { .. } => !self.running(peer, service).is_empty(),
            HandleTarget::Passthrough { .. } => false,
        }
    }

    fn report(&mut self, cluster: usize, peer: usize, reached: bool) {
        let now = self.now;
        let reported = self.clusters[cluster].proxy.reported.entry(peer).or_default();
        if now >= *reported + 1000 {
            *reported = now;
            self.soon(cluster, Job::Evidence { peer, reached });
        }
    }

    /// A probe through a peer's gateway: how it ends, and after how many milliseconds.
    pub(crate) fn probe(&mut self, cluster: usize, peer: usize) -> (bool, u64) {
        let delay = self.rng.range(1, 200);
        match (self.net.data(cluster, peer), self.net.gateway(peer)) {
            (true, _) => (true, delay),
            (false, Health::Dead) => (false, delay),
            (false, _) => (false, 250),
        }
    }

    fn running(&self, cluster: usize, service: &ObjectRef) -> &[String] {
        let found = self.clusters[cluster].truth.services.get(service.name.as_str());
        found.map_or(&[], |service| service.endpoints.as_slice())
    }

    fn is_running(&self, cluster: usize, service: &ObjectRef, address: &str) -> bool {
        self.running(cluster, service).iter().any(|a| a == address)
    }

    /// Whether the cluster or a peer of it exports the service and runs it on the port that has won.
    fn somebody_serves(&self, cluster: usize, service: &ObjectRef) -> bool {
        let exporters: Vec<_> = self.members_of(cluster).filter(|c| self.exports(*c, service)).collect();
        let honest = |c: &usize| !self.clusters[*c].evil;
        let port = |c: &usize| self.clusters[*c].truth.services[service.name.as_str()].port;
        let Some(first) = exporters.first().map(port) else { return false };
        let alike = exporters.iter().all(|c| port(c) == first && honest(c));
        alike && exporters.iter().any(|c| !self.running(*c, service).is_empty())
    }

    /// The cluster itself and those that are its peers still.
    pub(crate) fn members_of(&self, cluster: usize) -> impl Iterator<Item = usize> {
        let left = self.clusters[cluster].left.clone();
        (0..self.clusters.len()).filter(move |other| !left.contains(other))
    }

    pub(crate) fn exports(&self, cluster: usize, service: &ObjectRef) -> bool {
        let found = self.clusters[cluster].truth.services.get(service.name.as_str());
        found.is_some_and(|service| service.exported)
    }
}
