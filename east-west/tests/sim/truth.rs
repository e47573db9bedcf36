//! What the users of one cluster have written, and what really runs there.
//!
//! Every edit is of the whole cluster at once: its epoch is in the zone of every endpoint of every service,
//! so that whoever sees two epochs of one cluster sees half an edit.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::{
    export::{Export, ExportInput, export},
    handle::HandleKey,
};
use isthmus_ir::{Endpoint, EndpointState, Endpoints, ObjectRef, Reach, SpiffeId, TrustDomain};
use isthmus_world::fact::{
    self, MeshSettings, Meta, ServiceExport, ServicePort, ServiceScope, ServiceType,
};

use crate::rng::Rng;

/// Clusters by number.
pub(crate) const NAMES: [&str; 4] = ["east", "north", "south", "west"];
/// Services that may be exported.
pub(crate) const SHARED: [&str; 2] = ["cart", "pay"];
/// The one that never is.
pub(crate) const SECRET: &str = "vault";

pub(crate) fn number(cluster: &str) -> Option<usize> {
    NAMES.iter().position(|name| *name == cluster)
}

pub(crate) fn domain(cluster: usize) -> TrustDomain {
    format!("{}.example", NAMES[cluster]).parse().unwrap()
}

pub(crate) fn gateway_of(cluster: usize) -> SpiffeId {
    SpiffeId::new(&domain(cluster), "/ns/isthmus-system/sa/east-west").unwrap()
}

pub(crate) fn object(service: &str) -> ObjectRef {
    ObjectRef::new("shop", service)
}

pub(crate) fn settings(cluster: usize) -> MeshSettings {
    let at = |port: u16| ([192, 0, 2, u8::try_from(cluster).unwrap()], port).into();
    MeshSettings {
        cluster: NAMES[cluster].into(),
        trust_domain: domain(cluster),
        network: NAMES[cluster].into(),
        zone: None,
        east_west: vec![at(15443)],
        federation: Some(at(15012)),
        gateway_identity: Some(gateway_of(cluster)),
        service_scope: ServiceScope::Cluster,
        names: None,
        place: isthmus_world::fact::Place::Pods,
    }
}

pub(crate) struct Service {
    pub(crate) exported: bool,
    pub(crate) created: i64,
    pub(crate) port: u16,
    pub(crate) headless: bool,
    /// Addresses, none of which ever comes back once it is gone.
    pub(crate) endpoints: Vec<String>,
}

pub(crate) struct Truth {
    pub(crate) cluster: usize,
    pub(crate) services: BTreeMap<&'static str, Service>,
    epoch: u64,
    made: u32,
}

impl Truth {
    pub(crate) fn new(cluster: usize, rng: &mut Rng, wall: i64) -> Self {
        let mut truth = Self { cluster, services: BTreeMap::new(), epoch: 0, made: 0 };
        for name in [SHARED[0], SHARED[1], SECRET] {
            let exported = name != SECRET && rng.percent(80);
            let port = if rng.percent(80) { 80 } else { 81 };
            let endpoints = (0..rng.range(1, 4)).map(|_| truth.address()).collect();
            let created = wall + i64::try_from(rng.range(0, 3)).unwrap();
            truth.services.insert(name, Service { exported, created, port, headless: false, endpoints });
        }
        truth
    }

    /// One edit of the user's, or one that befalls the workloads.
    pub(crate) fn change(&mut self, rng: &mut Rng, wall: i64) {
        self.epoch += 1;
        let fresh = self.address();
        let name = SHARED[rng.index(SHARED.len())];
        let service = self.services.get_mut(name).unwrap();
        match rng.range(0, 12) {
            0 => {
                service.exported = !service.exported;
                service.created = wall;
            }
            1 => service.port = if service.port == 80 { 81 } else { 80 },
            2 => service.headless = !service.headless,
            3 => service.endpoints.clear(),
            4..=6 if !service.endpoints.is_empty() => {
                let gone = rng.index(service.endpoints.len());
                service.endpoints.remove(gone);
            }
            _ if service.endpoints.len() < 4 => service.endpoints.push(fresh),
            _ => {}
        }
    }

    fn address(&mut self) -> String {
        self.made += 1;
        format!("10.{}.{}.{}:8080", self.cluster, self.made / 250, self.made % 250)
    }

    /// What the cluster exports to callers of these trust domains.
    pub(crate) fn exports(
        &self,
        key: &HandleKey,
        callers: &[TrustDomain],
    ) -> BTreeMap<ObjectRef, Export> {
        let exported = self.services.iter().filter(|(_, service)| service.exported);
        exported.map(|(name, _)| (object(name), self.export(name, key, callers))).collect()
    }

    fn export(&self, name: &str, key: &HandleKey, callers: &[TrustDomain]) -> Export {
        let service = &self.services[name];
        let meta = |created| Meta {
            namespace: "shop".into(),
            name: name.into(),
            generation: 1,
            created,
            ..Meta::default()
        };
        let port = ServicePort {
            name: "http".into(),
            port: service.port,
            protocol: "TCP".into(),
            app_protocol: None,
        };
        export(&ExportInput {
            settings: &settings(self.cluster),
            key,
            callers,
            export: &ServiceExport { meta: meta(service.created) },
            service: Some(&fact::Service {
                meta: meta(0),
                kind: ServiceType::ClusterIp,
                headless: service.headless,
                ports: vec![port],
                client_ip_affinity: false,
                gateway_addresses: Vec::new(),
                gateway_cluster_ips: Vec::new(),
            }),
            endpoints: &self.endpoints(name),
        })
    }

    /// The endpoints of a service by port.
    pub(crate) fn endpoints(&self, name: &str) -> BTreeMap<u16, Arc<Endpoints>> {
        let service = &self.services[name];
        let endpoint = |address: &String| Endpoint {
            id: address.as_str().into(),
            cluster: NAMES[self.cluster].into(),
            zone: Some(self.epoch.to_string().into()),
            priority: 0,
            weight: 1,
            state: EndpointState::Ready,
            reach: Reach::Direct { addresses: vec![address.parse().unwrap()] },
        };
        let endpoints = service.endpoints.iter().map(endpoint).collect();
        let name = isthmus_ir::Service::name(&object(name), service.port);
        BTreeMap::from([(service.port, Arc::new(Endpoints { service: name, endpoints }))])
    }
}
