//! [`Endpoints`] on the wire.

use bytes::Bytes;
use isthmus_ir::{Endpoint, EndpointState, Endpoints, Name, Reach};

use super::{
    Refusal,
    read::{addresses, check, each, features, filled, identities, message, number, set, write_all},
};
use crate::proto::proxy::{self, endpoint};

pub(super) fn encode(endpoints: &Endpoints) -> proxy::Endpoints {
    let Endpoints { service: _, endpoints } = endpoints;
    let endpoints = endpoints.iter().map(write_endpoint).collect();
    proxy::Endpoints { endpoints, requires: Vec::new() }
}

fn write_endpoint(endpoint: &Endpoint) -> proxy::Endpoint {
    let Endpoint { id, cluster, zone, priority, weight, state, reach } = endpoint;
    let state = match state {
        EndpointState::Ready => proxy::EndpointState::Ready,
        EndpointState::Draining => proxy::EndpointState::Draining,
    };
    proxy::Endpoint {
        id: id.to_string(),
        cluster: cluster.to_string(),
        zone: zone.as_deref().map(str::to_owned),
        priority: u32::from(*priority),
        weight: *weight,
        state: state.into(),
        reach: Some(write_reach(reach)),
    }
}

fn write_reach(reach: &Reach) -> endpoint::Reach {
    match reach {
        Reach::Direct { addresses } => {
            endpoint::Reach::Direct(endpoint::Direct { addresses: write_all(addresses) })
        }
        Reach::Peer { peer, handle, identities } => endpoint::Reach::Peer(endpoint::ThroughPeer {
            peer: peer.to_string(),
            handle: handle.to_string(),
            identities: write_all(identities),
        }),
    }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Endpoints, Refusal> {
    let endpoints: proxy::Endpoints = message(value)?;
    features(&endpoints.requires)?;
    let endpoints = each(endpoints.endpoints, endpoint)?;
    let ordered = endpoints.is_sorted_by(|a, b| a.id < b.id);
    check(ordered, "endpoints", "they must be in order of their ids, and no two may have the same")?;
    Ok(Endpoints { service: name, endpoints })
}

fn endpoint(endpoint: proxy::Endpoint) -> Result<Endpoint, Refusal> {
    check(endpoint.weight > 0, "weight", "must be at least 1")?;
    Ok(Endpoint {
        id: endpoint.id.into(),
        cluster: endpoint.cluster.into(),
        zone: endpoint.zone.map(Into::into),
        priority: number("priority", endpoint.priority)?,
        weight: endpoint.weight,
        state: state(endpoint.state)?,
        reach: reach(set("reach", endpoint.reach)?)?,
    })
}

fn state(state: i32) -> Result<EndpointState, Refusal> {
    match proxy::EndpointState::try_from(state) {
        Ok(proxy::EndpointState::Ready) => Ok(EndpointState::Ready),
        Ok(proxy::EndpointState::Draining) => Ok(EndpointState::Draining),
        Ok(proxy::EndpointState::Unspecified) | Err(_) => Err(Refusal::Unset("state")),
    }
}

fn reach(reach: endpoint::Reach) -> Result<Reach, Refusal> {
    Ok(match reach {
        endpoint::Reach::Direct(direct) => {
            Reach::Direct { addresses: filled("addresses", addresses(&direct.addresses)?)? }
        }
        endpoint::Reach::Peer(endpoint::ThroughPeer { peer, handle, identities: ids }) => {
            Reach::Peer { peer: peer.into(), handle: handle.into(), identities: identities(&ids)? }
        }
    })
}
