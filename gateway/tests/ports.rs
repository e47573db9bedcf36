//! Which Gateway keeps an address and port that several want.

use isthmus_gateway::listener::port_conflicts;
use isthmus_world::fact::{AllowedNamespaces, AllowedRoutes, Gateway, Listener, Meta, RequestedAddress};

/// A Gateway of that age which binds `listeners`, written `name:port`, on `addresses`.
fn gateway(name: &str, created: i64, addresses: &[&str], listeners: &[(&str, u16)]) -> Gateway {
    let listener = |(name, port): &(&str, u16)| Listener {
        name: (*name).into(),
        hostname: None,
        port: *port,
        protocol: if name.starts_with("udp") { "UDP" } else { "HTTP" }.into(),
        tls: None,
        allowed: AllowedRoutes { namespaces: AllowedNamespaces::Same, kinds: Vec::new() },
    };
    let address = |ip: &&str| RequestedAddress {
        kind: "IPAddress".to_owned(),
        value: (*ip).to_owned(),
        routability: String::new(),
    };
    Gateway {
        meta: Meta { namespace: "default".into(), name: name.into(), created, ..Meta::default() },
        class: "isthmus".into(),
        addresses: addresses.iter().map(address).collect(),
        parameters: None,
        listeners: listeners.iter().map(listener).collect(),
        unsupported: Vec::new(),
    }
}

/// Losers as `gateway/section address by`, in order.
fn losers(gateways: &[Gateway]) -> Vec<String> {
    let taken = port_conflicts(gateways);
    let lines = taken.iter().flat_map(|(loser, all)| {
        all.iter().map(move |t| format!("{}/{} {} {}", loser.name, t.section, t.address, t.by.name))
    });
    lines.collect()
}

#[test]
fn the_older_keeps_it_and_of_two_as_old_the_first_by_name() {
    let young = gateway("a", 2, &[], &[("x", 80)]);
    let old = gateway("b", 1, &[], &[("x", 80), ("y", 81)]);
    assert_eq!(losers(&[young.clone(), old.clone()]), ["a/x 127.0.0.1:80 b"]);
    assert_eq!(losers(&[old, young]), ["a/x 127.0.0.1:80 b"]);
    let twins = [gateway("b", 1, &[], &[("x", 80)]), gateway("a", 1, &[], &[("x", 80)])];
    assert_eq!(losers(&twins), ["b/x 127.0.0.1:80 a"]);
}

#[test]
fn other_addresses_are_no_conflict_and_wildcards_are() {
    let one = |name, created, address| gateway(name, created, &[address], &[("x", 80)]);
    assert_eq!(losers(&[one("a", 1, "10.0.0.1"), one("b", 2, "10.0.0.2")]), [""; 0]);
    assert_eq!(losers(&[one("a", 1, "0.0.0.0"), one("b", 2, "10.0.0.2")]), ["b/x 10.0.0.2:80 a"]);
    assert_eq!(losers(&[one("a", 1, "10.0.0.1"), one("b", 2, "0.0.0.0")]), ["b/x 0.0.0.0:80 a"]);
    assert_eq!(losers(&[one("a", 1, "0.0.0.0"), one("b", 2, "::1")]), [""; 0]);
    assert_eq!(losers(&[one("a", 1, "::"), one("b", 2, "10.0.0.2")]), ["b/x 10.0.0.2:80 a"]);
}

#[test]
fn who_lost_takes_nothing_from_others() {
    let first = gateway("a", 1, &["10.0.0.1"], &[("x", 80)]);
    let second = gateway("b", 2, &["10.0.0.1", "10.0.0.2"], &[("x", 80)]);
    let third = gateway("c", 3, &["10.0.0.2"], &[("x", 80)]);
    assert_eq!(losers(&[first, second, third]), ["b/x 10.0.0.1:80 a"]);
}

#[test]
fn what_is_not_served_takes_nothing() {
    let udp = gateway("a", 1, &[], &[("udp", 80)]);
    let conflicted = gateway("b", 2, &[], &[("x", 80), ("y", 80)]);
    let unusable = gateway("c", 3, &["nonsense"], &[("x", 80)]);
    let mut unimplemented = gateway("d", 4, &[], &[("x", 80)]);
    unimplemented.unsupported = vec!["spec.tls.backend".into()];
    let good = gateway("e", 5, &[], &[("x", 80)]);
    assert_eq!(losers(&[udp, conflicted, unusable, unimplemented, good]), [""; 0]);
}

#[test]
fn listeners_of_one_gateway_share_a_port() {
    let mut gateway = gateway("a", 1, &["10.0.0.1", "10.0.0.1"], &[("x", 80), ("y", 80)]);
    for (listener, host) in gateway.listeners.iter_mut().zip(["a.com", "b.com"]) {
        listener.hostname = Some(host.into());
    }
    assert_eq!(losers(&[gateway]), [""; 0]);
}
