//! [`FederationResource`] <-> protobuf. A peer is believed about itself only: what it says of another
//! trust domain or cluster is refused here already (invariant 7).

use std::sync::Arc;

use bytes::Bytes;
use isthmus_ir::{Name, ObjectRef, SpiffeId, TrustBundle, TrustDomain};
use prost::Message;

use super::{
    Cluster, Endpoint, FederationChange, FederationKey, FederationKind, FederationResource, Hello,
    ImportReport, Port, Service,
};
use crate::{
    delta::{Entry, ResourceId, Schema, TypeIndex, Version},
    proto::federation::{self as proto, service},
};

/// The types that clusters tell each other, in the order of [`FederationKind`].
pub const SCHEMA: Schema = Schema {
    types: &[
        "type.isthmus.dev/isthmus.federation.v1.Service",
        "type.isthmus.dev/isthmus.federation.v1.ImportReport",
        "type.isthmus.dev/isthmus.federation.v1.Cluster",
        "type.isthmus.dev/isthmus.federation.v1.TrustBundle",
    ],
    commit: "type.isthmus.dev/isthmus.federation.v1.Commit",
    report: "type.isthmus.dev/isthmus.federation.v1.Report",
};

const KINDS: [FederationKind; 4] = [
    FederationKind::Service,
    FederationKind::ImportReport,
    FederationKind::Cluster,
    FederationKind::TrustBundle,
];

/// Every type of the schema.
pub(super) fn types() -> impl Iterator<Item = TypeIndex> {
    KINDS.into_iter().map(index)
}

fn index(kind: FederationKind) -> TypeIndex {
    TypeIndex(kind as u8)
}

pub(crate) fn id(key: FederationKey) -> ResourceId {
    ResourceId { kind: index(key.kind), name: key.name }
}

pub(crate) fn key(id: ResourceId) -> Option<FederationKey> {
    let kind = *KINDS.get(usize::from(id.kind.0))?;
    Some(FederationKey { kind, name: id.name })
}

pub(super) fn edit(change: &FederationChange) -> (ResourceId, Option<Entry>) {
    match change {
        FederationChange::Upsert(resource) => {
            let entry = encode(resource);
            (id(resource.key()), Some(entry))
        }
        FederationChange::Remove(key) => (id(key.clone()), None),
    }
}

pub(crate) fn encode(resource: &FederationResource) -> Entry {
    let value = match resource {
        FederationResource::Cluster(r) => write_cluster(r).encode_to_vec(),
        FederationResource::TrustBundle(r) => {
            proto::TrustBundle { roots: r.roots.clone() }.encode_to_vec()
        }
        FederationResource::Service(r) => write_service(r).encode_to_vec(),
        FederationResource::ImportReport(r) => write_report(r).encode_to_vec(),
    };
    Entry { version: Version::of(&value), value: value.into() }
}

fn write_cluster(cluster: &Cluster) -> proto::Cluster {
    let Cluster { cluster: _, gateways, network, zone } = cluster;
    proto::Cluster {
        gateways: gateways.iter().map(ToString::to_string).collect(),
        network: network.as_ref().to_owned(),
        zone: zone.as_deref().map(str::to_owned),
    }
}

fn write_service(service: &Service) -> proto::Service {
    let Service { object: _, created, headless, client_ip_affinity, ports } = service;
    let r#type = if *headless { service::Type::Headless } else { service::Type::ClusterSetIp };
    let affinity = match client_ip_affinity {
        true => service::SessionAffinity::ClientIp,
        false => service::SessionAffinity::None,
    };
    proto::Service {
        created: *created,
        r#type: r#type.into(),
        session_affinity: affinity.into(),
        ports: ports.iter().map(write_port).collect(),
    }
}

fn write_port(port: &Port) -> proto::Port {
    let Port { name, port, protocol, app_protocol, endpoints, fallback } = port;
    proto::Port {
        name: name.clone(),
        port: u32::from(*port),
        protocol: protocol.clone(),
        app_protocol: app_protocol.clone(),
        endpoints: endpoints.iter().map(write_endpoint).collect(),
        fallback: fallback.as_ref().map(write_endpoint),
    }
}

fn write_endpoint(endpoint: &Endpoint) -> proto::Endpoint {
    let Endpoint { handle, zone, weight, identities } = endpoint;
    proto::Endpoint {
        handle: handle.as_ref().to_owned(),
        zone: zone.as_deref().map(str::to_owned),
        weight: *weight,
        identities: identities.iter().map(ToString::to_string).collect(),
    }
}

fn write_report(report: &ImportReport) -> proto::ImportReport {
    let ImportReport { object: _, imported, conflicts } = report;
    let conflict = |(reason, message): &(String, String)| proto::Conflict {
        reason: reason.clone(),
        message: message.clone(),
    };
    proto::ImportReport { imported: *imported, conflicts: conflicts.iter().map(conflict).collect() }
}

/// A resource of `peer` from its bytes, or why it is not taken.
pub(crate) fn decode(
    peer: &Hello,
    kind: TypeIndex,
    name: &Name,
    value: &Bytes,
) -> Result<FederationResource, String> {
    let kind = KINDS.get(usize::from(kind.0)).ok_or("its type is unknown")?;
    Ok(match kind {
        FederationKind::Service => FederationResource::Service(service(peer, name, read(value)?)?),
        FederationKind::ImportReport => FederationResource::ImportReport(report(name, read(value)?)?),
        FederationKind::Cluster => FederationResource::Cluster(cluster(peer, name, read(value)?)?),
        FederationKind::TrustBundle => {
            FederationResource::TrustBundle(bundle(peer, name, &read(value)?)?)
        }
    })
}

fn read<M: Message + Default>(value: &Bytes) -> Result<M, String> {
    M::decode(value.clone()).map_err(|e| format!("it cannot be decoded: {e}"))
}

fn cluster(peer: &Hello, name: &Name, cluster: proto::Cluster) -> Result<Cluster, String> {
    if *name.as_str() != *peer.cluster {
        return Err(format!("it is of another cluster than {:?}", peer.cluster));
    }
    let address = |text: &String| {
        text.parse().map_err(|_| format!("the gateway {text:?} is no address with a port"))
    };
    Ok(Cluster {
        cluster: peer.cluster.clone(),
        gateways: cluster.gateways.iter().map(address).collect::<Result<_, _>>()?,
        network: cluster.network.into(),
        zone: cluster.zone.map(Into::into),
    })
}

fn bundle(peer: &Hello, name: &Name, bundle: &proto::TrustBundle) -> Result<TrustBundle, String> {
    if name.as_str() != peer.trust_domain.as_str() {
        return Err(format!("it is of another trust domain than {:?}", peer.trust_domain));
    }
    if bundle.roots.is_empty() {
        return Err("it has no roots".to_owned());
    }
    // Copied, so that they do not keep the whole message in memory.
    let roots = bundle.roots.iter().map(|root| Bytes::copy_from_slice(root)).collect();
    Ok(TrustBundle { trust_domain: peer.trust_domain.clone(), roots })
}

fn service(peer: &Hello, name: &Name, service: proto::Service) -> Result<Service, String> {
    let headless = match service::Type::try_from(service.r#type) {
        Ok(service::Type::ClusterSetIp) => false,
        Ok(service::Type::Headless) => true,
        Ok(service::Type::Unspecified) | Err(_) => return Err("its type is unknown".to_owned()),
    };
    let client_ip_affinity = match service::SessionAffinity::try_from(service.session_affinity) {
        Ok(service::SessionAffinity::None) => false,
        Ok(service::SessionAffinity::ClientIp) => true,
        Ok(service::SessionAffinity::Unspecified) | Err(_) => {
            return Err("its session affinity is unknown".to_owned());
        }
    };
    let ports = service.ports.into_iter().map(|p| port(&peer.trust_domain, p));
    Ok(Service {
        object: object(name)?,
        created: service.created,
        headless,
        client_ip_affinity,
        ports: ports.collect::<Result<_, _>>()?,
    })
}

fn port(domain: &TrustDomain, port: proto::Port) -> Result<Port, String> {
    let number = u16::try_from(port.port).map_err(|_| format!("{} is no port", port.port))?;
    let endpoints = port.endpoints.into_iter().map(|e| endpoint(domain, e));
    Ok(Port {
        name: port.name,
        port: number,
        protocol: port.protocol,
        app_protocol: port.app_protocol,
        endpoints: endpoints.collect::<Result<_, _>>()?,
        fallback: port.fallback.map(|e| endpoint(domain, e)).transpose()?,
    })
}

fn endpoint(domain: &TrustDomain, endpoint: proto::Endpoint) -> Result<Endpoint, String> {
    let identities: Result<Vec<SpiffeId>, _> = endpoint.identities.iter().map(|t| t.parse()).collect();
    let identities = identities.map_err(|e: isthmus_ir::InvalidIdentity| e.to_string())?;
    if identities.is_empty() {
        return Err("an endpoint says of nobody that it may serve there".to_owned());
    }
    if identities.iter().any(|id| id.trust_domain() != domain) {
        return Err(format!("it names an identity that is not of the trust domain {domain:?}"));
    }
    Ok(Endpoint {
        handle: endpoint.handle.into(),
        zone: endpoint.zone.map(Arc::from),
        weight: endpoint.weight.max(1),
        identities,
    })
}

fn report(name: &Name, report: proto::ImportReport) -> Result<ImportReport, String> {
    let conflicts = report.conflicts.into_iter().map(|c| (c.reason, c.message)).collect();
    Ok(ImportReport { object: object(name)?, imported: report.imported, conflicts })
}

fn object(name: &Name) -> Result<ObjectRef, String> {
    let (namespace, name) = name.as_str().split_once('/').ok_or("its name is no namespace/name")?;
    Ok(ObjectRef::new(namespace, name))
}
