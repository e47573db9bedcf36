//! [`Peer`] on the wire.

use bytes::Bytes;
use isthmus_ir::{Name, Peer};

use super::{
    Refusal,
    read::{addresses, features, message, parsed, write_all},
};
use crate::proto::proxy;

pub(super) fn encode(peer: &Peer) -> proxy::Peer {
    let Peer { name: _, trust_domain, gateways, usable } = peer;
    proxy::Peer {
        trust_domain: trust_domain.to_string(),
        gateways: write_all(gateways),
        usable: *usable,
        requires: Vec::new(),
    }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Peer, Refusal> {
    let peer: proxy::Peer = message(value)?;
    features(&peer.requires)?;
    Ok(Peer {
        name,
        trust_domain: parsed("trust_domain", &peer.trust_domain)?,
        gateways: addresses(&peer.gateways)?,
        usable: peer.usable,
    })
}
