//! Which Gateway has an address and port, when several want it.
//!
//! Each Gateway has proxies of its own, and Gateways are not merged: the oldest keeps what it binds, and
//! younger ones are told who has it, instead of sharing its connections by chance.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use isthmus_ir::ObjectRef;
use isthmus_world::fact::Gateway;

use super::{Exposure, addresses::addresses, conflicts, report, stands};

/// A listener that would bind what an older Gateway binds already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The listener's name.
    pub section: String,
    /// What it would bind.
    pub address: SocketAddr,
    /// The older Gateway.
    pub by: ObjectRef,
}

/// Which listeners of which Gateways would bind an address and port of an older Gateway's: older first,
/// then by namespace and name. Expects only Gateways of accepted classes of ours.
pub fn port_conflicts<'a>(
    gateways: impl IntoIterator<Item = &'a Gateway>,
) -> BTreeMap<ObjectRef, Vec<Taken>> {
    let mut gateways: Vec<_> =
        gateways.into_iter().map(|g| (g.meta.created, g.meta.object(), g)).collect();
    gateways.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut owners: Vec<(SocketAddr, ObjectRef)> = Vec::new();
    let mut taken: BTreeMap<ObjectRef, Vec<Taken>> = BTreeMap::new();
    for (_, object, gateway) in gateways {
        let mut bound = Vec::new();
        for (section, wanted) in binds(gateway) {
            let clash = wanted
                .iter()
                .find_map(|a| owners.iter().find(|(b, _)| clash(*a, *b)).map(|(_, by)| (*a, by)));
            match clash {
                None => bound.extend(wanted.into_iter().map(|a| (a, object.clone()))),
                Some((address, by)) => taken.entry(object.clone()).or_default().push(Taken {
                    section,
                    address,
                    by: by.clone(),
                }),
            }
        }
        owners.extend(bound);
    }
    taken
}

/// What each listener of `gateway` binds that is valid for itself and among its siblings.
fn binds(gateway: &Gateway) -> Vec<(String, Vec<SocketAddr>)> {
    let Ok(addresses) = addresses(gateway, Exposure::Host) else { return Vec::new() };
    if report::unimplemented(gateway).is_some() {
        return Vec::new();
    }
    let addresses = addresses.bound;
    let valid = |index| stands(gateway, index).is_ok() && !conflicts::conflicted(gateway, index).holds();
    let listeners = gateway.listeners.iter().enumerate().filter(|(index, _)| valid(*index));
    listeners
        .map(|(_, l)| (l.name.clone(), addresses.iter().map(|a| SocketAddr::new(*a, l.port)).collect()))
        .collect()
}

/// Whether one socket would take the other's connections. `[::]` takes those of both families.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| {
        wide.is_unspecified() && (wide.is_ipv6() || wide.is_ipv4() == narrow.is_ipv4())
    };
    a.port() == b.port() && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}
