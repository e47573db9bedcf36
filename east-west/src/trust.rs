//! Which peers proxies are told of, whom they may believe, and where they may dial.
//!
//! Decided for all peers at once, since no two may share a trust domain (cases H3, H9, invariant 7).

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use isthmus_ir::{Peer, TrustBundle, TrustDomain};
use isthmus_world::fact::{MeshSettings, PeerFact, PeerState, Place};

use crate::refusal::{Refusal, Why};

/// How many gateway addresses of a peer are used.
pub const MAX_GATEWAYS: usize = 16;

/// What follows from the peers that have joined.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    /// The way into each, in order of cluster id.
    pub peers: Vec<Arc<Peer>>,
    /// The roots of each, in the same order.
    pub bundles: Vec<Arc<TrustBundle>>,
    /// Whom our handles let in, in order. Leases have no say: a peer that has lost our control plane may
    /// go on calling (invariant 1).
    pub callers: Vec<TrustDomain>,
    /// What was left out.
    pub refusals: Vec<Refusal>,
}

/// Resources of all peers. `peers` may come in any order.
pub fn trust<'a>(settings: &MeshSettings, peers: impl IntoIterator<Item = &'a PeerFact>) -> Trust {
    let mut peers: Vec<_> = peers.into_iter().collect();
    peers.sort_by(|a, b| a.cluster.cmp(&b.cluster));
    let mut result = Trust::default();
    let mut taken = BTreeSet::from([settings.trust_domain.clone()]);
    for peer in peers {
        let mut refuse = |why| {
            result.refusals.push(Refusal { cluster: Arc::clone(&peer.cluster), service: None, why });
        };
        if peer.cluster == settings.cluster {
            refuse(Why::ForeignCluster(peer.cluster.to_string()));
        } else if taken.contains(&peer.trust_domain) {
            refuse(Why::TakenTrustDomain(peer.trust_domain.to_string()));
        } else if peer.roots.is_empty() {
            refuse(Why::NoRoots);
        } else {
            taken.insert(peer.trust_domain.clone());
            let gateways = dialable(settings, &peer.gateways, &mut refuse);
            result.peers.push(Arc::new(resource(peer, gateways)));
            result.bundles.push(Arc::new(bundle(peer)));
            result.callers.push(peer.trust_domain.clone());
        }
    }
    result.callers.sort();
    result
}

/// Whether endpoints of a peer in this state are in load balancing.
pub fn usable(state: PeerState) -> bool {
    matches!(state, PeerState::Connected | PeerState::ControlLost)
}

/// Why a gateway address that a peer names must not be dialled from here (case H3); none when it may.
pub fn undialable(settings: &MeshSettings, address: SocketAddr) -> Option<&'static str> {
    let ip = behind(address.ip());
    let ours = |own: &SocketAddr| {
        let same = behind(own.ip()) == ip || (own.ip().is_unspecified() && ip.is_loopback());
        same && own.port() == address.port()
    };
    if address.port() == 0 {
        Some("it has no port")
    } else if settings.east_west.iter().chain(&settings.federation).any(ours) {
        Some("it is an address of this cluster")
    } else if matches!(ip, IpAddr::V4(v4) if v4.octets().starts_with(&[0])) || ip.is_unspecified() {
        Some("it is unspecified")
    } else if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("it is no unicast address")
    } else if is_metadata(ip) {
        Some("cloud metadata services are there")
    } else if ip.is_loopback() && settings.place == Place::Pods {
        Some("it is this machine's own loopback")
    } else {
        None
    }
}

/// The address that is dialled in the end: an IPv4 address that is mapped into IPv6 (RFC 4291, section
/// 2.5.5.2) or translated (RFC 6052) is itself.
fn behind(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
            }
            _ => IpAddr::V6(v6),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Whether metadata services of clouds may be there: all that is link-local, and where else they are known
/// to be.
fn is_metadata(ip: IpAddr) -> bool {
    const V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match ip {
        IpAddr::V4(v4) => v4.is_link_local() || V4.contains(&v4),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == V6,
    }
}

fn dialable(
    settings: &MeshSettings,
    gateways: &[SocketAddr],
    refuse: &mut impl FnMut(Why),
) -> Vec<SocketAddr> {
    let mut kept: Vec<SocketAddr> = Vec::new();
    for address in gateways {
        match undialable(settings, *address) {
            Some(why) => refuse(Why::Address(*address, why)),
            None if kept.contains(address) => {}
            None => kept.push(*address),
        }
    }
    if kept.len() > MAX_GATEWAYS {
        refuse(Why::Quota { what: "gateway addresses", count: kept.len(), limit: MAX_GATEWAYS });
        kept.truncate(MAX_GATEWAYS);
    }
    kept
}

fn resource(peer: &PeerFact, gateways: Vec<SocketAddr>) -> Peer {
    Peer {
        name: peer.cluster.as_ref().into(),
        trust_domain: peer.trust_domain.clone(),
        gateways,
        usable: usable(peer.state),
    }
}

fn bundle(peer: &PeerFact) -> TrustBundle {
    TrustBundle { trust_domain: peer.trust_domain.clone(), roots: peer.roots.clone() }
}
