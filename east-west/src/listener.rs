//! Settings -> where the east-west gateway accepts peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use isthmus_ir::{HostPattern, Listener, ObjectRef, Protocol};
use isthmus_world::fact::MeshSettings;

/// The namespace of Isthmus' own parts.
pub const SYSTEM: &str = "isthmus-system";
/// The name of a cluster's east-west gateway.
pub const EAST_WEST: &str = "east-west";

/// One listener for each port of [`MeshSettings::east_west`], in order of port.
pub fn listeners(settings: &MeshSettings) -> Vec<Listener> {
    let mut ports: BTreeMap<u16, BTreeSet<IpAddr>> = BTreeMap::new();
    for address in &settings.east_west {
        ports.entry(address.port()).or_default().insert(address.ip());
    }
    let gateway = ObjectRef::new(SYSTEM, EAST_WEST);
    let listener = |(port, addresses): (u16, BTreeSet<IpAddr>)| {
        let section = port.to_string();
        // An unspecified address takes every connection, and cannot be bound beside another one.
        let every = addresses.iter().any(IpAddr::is_unspecified);
        Listener {
            name: Listener::name(&gateway, &section),
            gateway: gateway.clone(),
            section,
            addresses: if every { Vec::new() } else { addresses.into_iter().collect() },
            port,
            hostname: HostPattern::Any,
            protocol: Protocol::EastWest,
        }
    };
    ports.into_iter().map(listener).collect()
}
