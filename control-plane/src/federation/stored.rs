//! A peer as it is kept in the state directory. The shape is apart from that of facts, so that an upgrade
//! reads what was kept before it.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use isthmus_east_west::{lease, peer::Saved};
use isthmus_ir::{SpiffeId, TrustDomain};
use isthmus_world::fact::{
    ExportedEndpoint, ExportedPort, ExportedService, ImportType, PeerFact, PeerState, SessionAffinity,
};
use serde::{Deserialize, Serialize};

/// A peer, all of it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredPeer {
    cluster: Arc<str>,
    trust_domain: TrustDomain,
    gateways: Vec<SocketAddr>,
    /// DER, base64.
    roots: Vec<String>,
    #[serde(default)]
    priority: u8,
    #[serde(default)]
    cost: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespaces: Option<BTreeSet<String>>,
    #[serde(default)]
    awaited: bool,
    #[serde(default)]
    leaving: bool,
    lease: lease::Saved,
    #[serde(default)]
    exports: Option<Vec<StoredExport>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredExport {
    namespace: String,
    name: String,
    created: i64,
    #[serde(default)]
    headless: bool,
    #[serde(default, rename = "clientIPAffinity")]
    client_ip_affinity: bool,
    ports: Vec<StoredPort>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredPort {
    #[serde(default)]
    name: String,
    port: u16,
    protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_protocol: Option<String>,
    endpoints: Vec<StoredEndpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<StoredEndpoint>,
}

#[derive(Serialize, Deserialize)]
struct StoredEndpoint {
    handle: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<Arc<str>>,
    weight: u32,
    identities: Vec<SpiffeId>,
}

impl StoredPeer {
    pub(super) fn of(saved: &Saved) -> Self {
        let fact = &saved.fact;
        Self {
            cluster: fact.cluster.clone(),
            trust_domain: fact.trust_domain.clone(),
            gateways: fact.gateways.clone(),
            roots: fact.roots.iter().map(|root| BASE64_STANDARD.encode(root)).collect(),
            priority: fact.priority,
            cost: fact.cost,
            namespaces: fact.namespaces.as_deref().cloned(),
            awaited: saved.awaited,
            leaving: saved.leaving,
            lease: saved.lease,
            exports: saved.exports.as_ref().map(|all| all.iter().map(|e| export(e)).collect()),
        }
    }

    /// None when a root is no base64.
    pub(super) fn restore(self) -> Option<Saved> {
        let (awaited, leaving, lease) = (self.awaited, self.leaving, self.lease);
        let roots = self.roots.iter().map(|text| BASE64_STANDARD.decode(text).ok().map(Into::into));
        let cluster = self.cluster;
        let exports =
            self.exports.map(|all| all.into_iter().map(|e| export_fact(&cluster, e)).collect());
        let fact = PeerFact {
            trust_domain: self.trust_domain,
            gateways: self.gateways,
            // Follows from the leases.
            state: PeerState::Lost,
            roots: roots.collect::<Option<_>>()?,
            priority: self.priority,
            cost: self.cost,
            namespaces: self.namespaces.map(Arc::new),
            cluster,
        };
        Some(Saved { fact, exports, awaited, leaving, lease })
    }
}

fn export(exported: &ExportedService) -> StoredExport {
    StoredExport {
        namespace: exported.namespace.clone(),
        name: exported.name.clone(),
        created: exported.created,
        headless: exported.kind == ImportType::Headless,
        client_ip_affinity: exported.affinity == SessionAffinity::ClientIp,
        ports: exported.ports.iter().map(port).collect(),
    }
}

fn port(port: &ExportedPort) -> StoredPort {
    StoredPort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
        endpoints: port.endpoints.iter().map(endpoint).collect(),
        fallback: port.fallback.as_ref().map(endpoint),
    }
}

fn endpoint(endpoint: &ExportedEndpoint) -> StoredEndpoint {
    let ExportedEndpoint { handle, zone, weight, identities } = endpoint.clone();
    StoredEndpoint { handle, zone, weight, identities }
}

fn export_fact(cluster: &Arc<str>, stored: StoredExport) -> Arc<ExportedService> {
    let affinity =
        if stored.client_ip_affinity { SessionAffinity::ClientIp } else { SessionAffinity::None };
    Arc::new(ExportedService {
        cluster: Arc::clone(cluster),
        namespace: stored.namespace,
        name: stored.name,
        created: stored.created,
        kind: if stored.headless { ImportType::Headless } else { ImportType::ClusterSetIp },
        affinity,
        ports: stored.ports.into_iter().map(port_fact).collect(),
    })
}

fn port_fact(stored: StoredPort) -> ExportedPort {
    let StoredPort { name, port, protocol, app_protocol, endpoints, fallback } = stored;
    ExportedPort {
        name,
        port,
        protocol,
        app_protocol,
        endpoints: endpoints.into_iter().map(endpoint_fact).collect(),
        fallback: fallback.map(endpoint_fact),
    }
}

fn endpoint_fact(stored: StoredEndpoint) -> ExportedEndpoint {
    let StoredEndpoint { handle, zone, weight, identities } = stored;
    ExportedEndpoint { handle, zone, weight, identities }
}
