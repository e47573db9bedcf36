//! Where a Gateway's proxies listen, and where clients reach them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isthmus_world::fact::{Address, Gateway};

use crate::Condition;

/// Where the proxies of a Gateway run.
#[derive(Clone, Copy, Debug)]
pub enum Exposure<'a> {
    /// On this machine: they bind the addresses that the Gateway asks for.
    Host,
    /// In pods of their own, where they bind every address, behind a Service with these addresses.
    Service(&'a [Address]),
}

/// The addresses of a Gateway, without repetition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Addresses {
    /// What its proxies bind.
    pub(super) bound: Vec<IpAddr>,
    /// What clients are told.
    pub(super) shown: Vec<Address>,
    /// `Programmed`, False, while not all of them are had.
    pub(super) missing: Option<Condition>,
}

/// The addresses of `gateway`.
///
/// # Errors
/// The condition that says which address can never be had.
pub(super) fn addresses(gateway: &Gateway, exposure: Exposure<'_>) -> Result<Addresses, Condition> {
    let wanted = wanted(gateway)?;
    match exposure {
        Exposure::Host => Ok(host(&wanted)),
        Exposure::Service(given) => Ok(service(&wanted, given)),
    }
}

/// The addresses that the Gateway asks for; none for one whose choice it leaves to us.
fn wanted(gateway: &Gateway) -> Result<Vec<Option<IpAddr>>, Condition> {
    let mut wanted = Vec::new();
    for (index, (kind, value)) in gateway.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}]");
        if kind != "IPAddress" {
            let message = format!("{field}.type is {kind}; supported is IPAddress");
            return Err(Condition::not("Accepted", "UnsupportedAddress", message));
        }
        let address = match value.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                let message = format!("{field}.value {text:?} is no IP address");
                Condition::not("Programmed", "AddressNotUsable", message)
            })?),
        };
        if !wanted.contains(&address) {
            wanted.push(address);
        }
    }
    Ok(wanted)
}

/// The machine's own address when the Gateway asks for none, or leaves one to us.
fn host(wanted: &[Option<IpAddr>]) -> Addresses {
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut bound: Vec<IpAddr> = Vec::new();
    for address in wanted.iter().map(|address| address.unwrap_or(own)) {
        if !bound.contains(&address) {
            bound.push(address);
        }
    }
    if bound.is_empty() {
        bound.push(own);
    }
    let shown = bound.iter().copied().map(Address::Ip).collect();
    Addresses { bound, shown, missing: None }
}

/// What the Service says, which was asked for the addresses that the Gateway asks for.
fn service(wanted: &[Option<IpAddr>], given: &[Address]) -> Addresses {
    let has = |ip: &&IpAddr| given.contains(&Address::Ip(**ip));
    let refused = wanted.iter().flatten().find(|ip| !has(ip));
    let missing = match (given.is_empty(), refused) {
        (_, Some(ip)) => Some(Condition::not(
            "Programmed",
            "AddressNotUsable",
            format!("the cluster's load balancer does not give {ip}, which spec.addresses asks for"),
        )),
        (true, None) => Some(Condition::not(
            "Programmed",
            "AddressNotAssigned",
            "the Gateway's Service has no address yet: the cluster's load balancer gives it one",
        )),
        (false, None) => None,
    };
    Addresses { bound: vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)], shown: given.to_vec(), missing }
}
