//! Which addresses a set of clusters uses. All are computed from two numbers, so that sets which run side by
//! side do not collide and nothing has to be kept.
//!
//! A set owns a /13 of 10.0.0.0/8, a cluster one /16 of that:
//! pods `.0.0/17` (a /23 for each node), services `.128.0/18`, load balancers `.192.0/20`. The last /16 of
//! the set is for nodes and the way to the machine.

use std::{fmt, net::Ipv4Addr};

/// How many sets may run side by side.
pub const SETS: u8 = 16;
/// How many clusters a set has at most.
pub const CLUSTERS: u8 = 7;
/// How many nodes a cluster has at most.
pub const NODES: u8 = 15;

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    base: Ipv4Addr,
    bits: u8,
}

impl Block {
    /// The address at `offset` from the block's first.
    pub fn at(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + offset)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.base, self.bits)
    }
}

/// The addresses of the set with this number.
#[derive(Debug, Clone, Copy)]
pub struct SetAddresses(pub u8);

impl SetAddresses {
    fn first(self) -> u8 {
        64 + 8 * (self.0 % SETS)
    }

    /// Everything: what the machine routes to the set.
    pub fn all(self) -> Block {
        Block { base: Ipv4Addr::new(10, self.first(), 0, 0), bits: 13 }
    }

    /// The network that nodes are in; its first address is the router's.
    pub fn nodes(self) -> Block {
        Block { base: Ipv4Addr::new(10, self.first() + 7, 0, 0), bits: 24 }
    }

    /// The link between the machine (first address) and the router (second).
    pub fn uplink(self) -> Block {
        Block { base: Ipv4Addr::new(10, self.first() + 7, 1, 0), bits: 30 }
    }

    /// The addresses of a cluster of this set, counted from 0.
    pub fn cluster(self, index: u8) -> ClusterAddresses {
        ClusterAddresses { set: self, index: index % CLUSTERS }
    }
}

/// The addresses of one cluster.
#[derive(Debug, Clone, Copy)]
pub struct ClusterAddresses {
    set: SetAddresses,
    index: u8,
}

impl ClusterAddresses {
    fn block(self, third: u8, bits: u8) -> Block {
        Block { base: Ipv4Addr::new(10, self.set.first() + self.index, third, 0), bits }
    }

    /// All pods.
    pub fn pods(self) -> Block {
        self.block(0, 17)
    }

    /// The pods of one node, counted from 0.
    pub fn pods_of(self, node: u8) -> Block {
        self.block(2 * node, 23)
    }

    /// Cluster IPs: the first is the API server's, the tenth the name server's.
    pub fn services(self) -> Block {
        self.block(128, 18)
    }

    /// The name server's cluster IP.
    pub fn dns(self) -> Ipv4Addr {
        self.services().at(10)
    }

    /// What the load balancer gives to services.
    pub fn balanced(self) -> Block {
        self.block(192, 20)
    }

    /// One of those, which is given last to who asks for none.
    pub fn spare(self) -> Ipv4Addr {
        self.balanced().at(4000)
    }

    /// A node's own address. The first node's is also the API server's.
    pub fn node(self, node: u8) -> Ipv4Addr {
        self.set.nodes().at(u32::from(16 * (self.index + 1) + node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_the_last_set_stay_inside_of_it() {
        let set = SetAddresses(15);
        assert_eq!(set.all().to_string(), "10.184.0.0/13");
        assert_eq!(set.nodes().to_string(), "10.191.0.0/24");
        let cluster = set.cluster(CLUSTERS - 1);
        assert_eq!(cluster.pods_of(NODES - 1).to_string(), "10.190.28.0/23");
        assert_eq!(cluster.node(NODES - 1).to_string(), "10.191.0.126");
        assert_eq!(cluster.dns().to_string(), "10.190.128.10");
    }
}
