//! Which peers proxies are told of, and where they may dial.

use isthmus_east_west::trust::{trust, undialable, usable};
use isthmus_world::fact::{PeerFact, PeerState};

use crate::fixtures::{domain, peer, settings};

fn told(peers: &[PeerFact]) -> (Vec<String>, Vec<String>) {
    let found = trust(&settings("east"), peers);
    let domains: Vec<_> = found.bundles.iter().map(|b| b.trust_domain.clone()).collect();
    let mut callers = domains.clone();
    callers.sort();
    assert_eq!(found.callers, callers);
    assert_eq!(found.peers.iter().map(|p| p.trust_domain.clone()).collect::<Vec<_>>(), domains);
    let names = found.peers.iter().map(|p| p.name.to_string()).collect();
    (names, found.refusals.iter().map(ToString::to_string).collect())
}

#[test]
fn each_peer_has_its_bundle_and_may_call() {
    assert_eq!(told(&[peer("west"), peer("north")]), (vec!["north".into(), "west".into()], vec![]));
}

#[test]
fn h3_addresses_that_must_not_be_dialled_are_left_out() {
    for bad in [
        "192.0.2.1:15443",
        "192.0.2.2:15012",
        "[::ffff:192.0.2.1]:15443",
        "0.0.0.0:15443",
        "[::]:15443",
        "[::ffff:0.0.0.0]:15443",
        "169.254.169.254:80",
        "[::ffff:169.254.169.254]:80",
        "[fe80::1]:15443",
        "[fd00:ec2::254]:80",
        "100.100.100.200:80",
        "[64:ff9b::169.254.169.254]:80",
        "[64:ff9b::127.0.0.1]:80",
        "0.1.2.3:80",
        "224.0.0.1:15443",
        "[ff02::1]:15443",
        "255.255.255.255:15443",
        "127.0.0.1:15443",
        "127.8.8.8:15443",
        "[::1]:15443",
        "198.51.100.9:0",
    ] {
        let mut west = peer("west");
        west.gateways.insert(0, bad.parse().unwrap());
        let found = trust(&settings("east"), [&west]);
        assert_eq!(found.peers[0].gateways, peer("west").gateways, "{bad}");
        assert_eq!(found.refusals.len(), 1, "{bad}");
    }
}

#[test]
fn h3_loopback_is_dialled_where_a_directory_allows_it_but_never_ourselves() {
    let mut east = settings("east");
    east.place = isthmus_world::fact::Place::Host;
    east.east_west = vec!["127.0.0.1:15443".parse().unwrap()];
    let mut west = peer("west");
    west.gateways = vec!["127.0.0.1:15443".parse().unwrap(), "127.0.0.1:25443".parse().unwrap()];
    let found = trust(&east, [&west]);
    assert_eq!(found.peers[0].gateways, ["127.0.0.1:25443".parse().unwrap()]);
    assert_eq!(
        found.refusals[0].to_string(),
        "peer west: gateway address 127.0.0.1:15443 is refused: it is an address of this cluster"
    );
}

#[test]
fn h3_a_gateway_that_listens_everywhere_is_not_dialled_over_loopback() {
    let mut east = settings("east");
    (east.place, east.east_west) =
        (isthmus_world::fact::Place::Host, vec!["0.0.0.0:15443".parse().unwrap()]);
    assert!(undialable(&east, "127.0.0.1:15443".parse().unwrap()).is_some());
    assert!(undialable(&east, "[::1]:15443".parse().unwrap()).is_some());
    assert_eq!(undialable(&east, "127.0.0.1:25443".parse().unwrap()), None);
}

#[test]
fn gateway_addresses_are_bounded_and_differ() {
    let mut west = peer("west");
    west.gateways =
        (1..=40_u16).flat_map(|port| [port, port]).map(|p| ([198, 51, 100, 1], p).into()).collect();
    let found = trust(&settings("east"), [&west]);
    assert_eq!(found.peers[0].gateways.len(), 16);
    assert!(found.peers[0].gateways.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(found.refusals.len(), 1);
}

#[test]
fn h9_no_two_share_a_trust_domain_or_take_ours() {
    let mut twin = peer("north");
    twin.trust_domain = domain("west");
    let (names, refusals) = told(&[peer("west"), twin]);
    assert_eq!(names, ["north"], "the first cluster id holds it");
    assert_eq!(refusals.len(), 1);
    let mut thief = peer("west");
    thief.trust_domain = domain("east");
    assert_eq!(told(&[thief]).0, Vec::<String>::new());
    assert_eq!(told(&[peer("east")]).0, Vec::<String>::new());
}

#[test]
fn a_peer_without_roots_is_nobody() {
    let mut west = peer("west");
    west.roots.clear();
    assert_eq!(told(&[west]), (vec![], vec!["peer west: it has no trust bundle".into()]));
}

#[test]
fn whoever_lost_our_control_plane_may_go_on_calling() {
    for state in [PeerState::Connected, PeerState::ControlLost, PeerState::DataLost, PeerState::Lost] {
        let mut west = peer("west");
        west.state = state;
        let found = trust(&settings("east"), [&west]);
        assert_eq!(found.callers, [domain("west")], "{state:?}");
        assert_eq!(found.peers[0].usable, usable(state), "{state:?}");
    }
}
