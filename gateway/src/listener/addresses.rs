//! Where a Gateway's proxies listen, and where clients reach them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isthmus_world::fact::{Address, Gateway, RequestedAddress};

use crate::Condition;

/// Where the proxies of a Gateway run.
#[derive(Clone, Copy, Debug)]
pub enum Exposure<'a> {
    /// On this machine: they bind the addresses that the Gateway asks for.
    Host,
    /// In pods of their own, where they bind every address, behind a Service.
    Service(Given<'a>),
}

/// The addresses of the Service of a Gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// Those of its type.
    pub own: &'a [Address],
    /// Those by which it is reached from within the cluster, whatever its type.
    pub cluster: &'a [IpAddr],
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

/// An address that a Gateway asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    /// None where the choice is ours.
    ip: Option<IpAddr>,
    /// Whether it is to be one of the cluster's Services.
    cluster: bool,
}

/// The addresses of `gateway`.
///
/// # Errors
/// The condition that says which address can never be had.
pub(super) fn addresses(gateway: &Gateway, exposure: Exposure<'_>) -> Result<Addresses, Condition> {
    match exposure {
        Exposure::Host => {
            let wanted = wanted(gateway, str::is_empty)?;
            Ok(host(&wanted))
        }
        Exposure::Service(given) => {
            let wanted = wanted(gateway, |routability| matches!(routability, "" | CLUSTER))?;
            Ok(service(&wanted, given))
        }
    }
}

/// The routability of an address by which a Service is reached from within the cluster.
const CLUSTER: &str = "Cluster";

/// Whether a Gateway says of each of its addresses from where it is reached: then nothing else may be given to
/// it, such as a public one.
pub fn within_cluster(gateway: &Gateway) -> bool {
    let says = |address: &RequestedAddress| !address.routability.is_empty();
    !gateway.addresses.is_empty() && gateway.addresses.iter().all(says)
}

/// Whether an address is asked for that is one of the cluster's Services.
pub fn is_within_cluster(address: &RequestedAddress) -> bool {
    address.routability == CLUSTER
}

/// The addresses that the Gateway asks for.
fn wanted(gateway: &Gateway, routable: fn(&str) -> bool) -> Result<Vec<Wanted>, Condition> {
    let mut wanted = Vec::new();
    for (index, RequestedAddress { kind, value, routability }) in gateway.addresses.iter().enumerate() {
        let field = format!("spec.addresses[{index}]");
        let unsupported = |message| Err(Condition::not("Accepted", "UnsupportedAddress", message));
        if kind != "IPAddress" {
            return unsupported(format!("{field}.type is {kind}; supported is IPAddress"));
        }
        if !routable(routability) {
            let supported = "supported is Cluster, on Kubernetes";
            return unsupported(format!("{field}.routability is {routability}; {supported}"));
        }
        let ip = match value.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                let message = format!("{field}.value {text:?} is no IP address");
                Condition::not("Programmed", "AddressNotUsable", message)
            })?),
        };
        let address = Wanted { ip, cluster: routability == CLUSTER };
        if !wanted.contains(&address) {
            wanted.push(address);
        }
    }
    Ok(wanted)
}

/// The machine's own address when the Gateway asks for none, or leaves one to us.
fn host(wanted: &[Wanted]) -> Addresses {
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut bound: Vec<IpAddr> = Vec::new();
    for address in wanted.iter().map(|address| address.ip.unwrap_or(own)) {
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
fn service(wanted: &[Wanted], given: Given<'_>) -> Addresses {
    let within: Vec<Wanted> = wanted.iter().copied().filter(|address| address.cluster).collect();
    let own: Vec<Wanted> = wanted.iter().copied().filter(|address| !address.cluster).collect();
    let cluster: Vec<Address> = given.cluster.iter().copied().map(Address::Ip).collect();
    let (mut shown, mut missing) = (Vec::new(), None);
    if !own.is_empty() || within.is_empty() {
        shown.extend_from_slice(given.own);
        missing = lacks(&own, given.own, "");
    }
    if !within.is_empty() {
        missing = missing.or_else(|| lacks(&within, &cluster, ANEW));
        shown.extend(
            cluster.into_iter().filter(|address| !given.own.contains(address) || own.is_empty()),
        );
    }
    Addresses { bound: vec![IpAddr::V6(Ipv6Addr::UNSPECIFIED)], shown, missing }
}

/// What helps when a Service has another cluster IP than is asked for.
const ANEW: &str =
    ": a Service keeps the cluster IP that it was made with; delete it, and it is made anew";

/// `Programmed`, False, when not all that is `wanted` was given.
fn lacks(wanted: &[Wanted], given: &[Address], help: &str) -> Option<Condition> {
    let no = |reason, message| Some(Condition::not("Programmed", reason, message));
    let mut asked = wanted.iter().filter_map(|address| address.ip);
    let first = asked.next();
    let has = |ip: &IpAddr| given.contains(&Address::Ip(*ip));
    if let Some(ip) = first.filter(|ip| !has(ip)) {
        let message =
            format!("the Gateway's Service is not given {ip}, which spec.addresses asks for{help}");
        return no("AddressNotUsable", message);
    }
    if let Some((ip, first)) = asked.find(|ip| !has(ip)).zip(first) {
        let message = format!(
            "a Service can be asked for one address, which is {first}: take {ip} out of spec.addresses, or \
             configure the load balancer by spec.infrastructure.annotations"
        );
        return no("AddressNotUsable", message);
    }
    if given.is_empty() {
        let message = "the Gateway's Service has no address yet: the cluster, or its load balancer, \
                       gives it one";
        return no("AddressNotAssigned", message.to_owned());
    }
    None
}
