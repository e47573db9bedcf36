//! Who is tried before whom: own zone (where asked for), own cluster, then peers by priority and cost,
//! and last the fallback handles of peers in the same order.
//!
//! Levels are counted over everybody who exports the service, whether usable at the moment or not, so
//! that a peer's loss or return moves nobody else. Level 0 is always the own cluster's.

use isthmus_world::fact::PeerFact;

/// What an endpoint's level is decided by. The order of the variants is the order of failover.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    /// Of this cluster, in the zone of the caller, when zones are to be preferred.
    OwnZone,
    /// Of this cluster.
    OwnCluster,
    /// An endpoint of a peer.
    Peer {
        /// [`PeerFact::priority`].
        priority: u8,
        /// [`PeerFact::cost`].
        cost: u32,
    },
    /// All of a peer's endpoints behind one handle, for when no handle of an endpoint works any more.
    Fallback {
        /// [`PeerFact::priority`].
        priority: u8,
        /// [`PeerFact::cost`].
        cost: u32,
    },
}

impl Tier {
    /// The tier of a peer's endpoints.
    pub fn peer(peer: &PeerFact) -> Self {
        Self::Peer { priority: peer.priority, cost: peer.cost }
    }

    /// The tier of a peer's fallback handle.
    pub fn fallback(peer: &PeerFact) -> Self {
        Self::Fallback { priority: peer.priority, cost: peer.cost }
    }
}

/// The levels of one service: distinct tiers in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Levels(Vec<Tier>);

impl Levels {
    /// Numbers the tiers of all peers that export the service; those of the own cluster are always there.
    pub fn new<'a>(peers: impl IntoIterator<Item = &'a PeerFact>, prefer_zone: bool) -> Self {
        let mut tiers = vec![Tier::OwnCluster];
        tiers.extend(prefer_zone.then_some(Tier::OwnZone));
        tiers.extend(peers.into_iter().flat_map(|peer| [Tier::peer(peer), Tier::fallback(peer)]));
        tiers.sort();
        tiers.dedup();
        Self(tiers)
    }

    /// The level of a tier; one that was not numbered comes last.
    pub fn level(&self, tier: Tier) -> u8 {
        let index = self.0.iter().position(|t| *t == tier).unwrap_or(self.0.len());
        u8::try_from(index).unwrap_or(u8::MAX)
    }

    /// The level of an endpoint of this cluster in `zone`, seen from `own` zone.
    pub fn local(&self, own: Option<&str>, zone: Option<&str>) -> u8 {
        let near = self.0.first() == Some(&Tier::OwnZone) && own.is_some() && own == zone;
        self.level(if near { Tier::OwnZone } else { Tier::OwnCluster })
    }
}
