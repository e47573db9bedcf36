//! What of a peer's words is believed.

use std::{collections::BTreeSet, sync::Arc};

use isthmus_east_west::import::accept::{MAX_WEIGHT, accept};
use isthmus_world::fact::{ExportedEndpoint, ExportedPort, ExportedService, PeerFact};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::fixtures::{exported, exported_endpoint, exported_port, gateway_of, peer, settings};

/// What east believes of west, and what it says about the rest.
fn believe(peer: &PeerFact, exported: &ExportedService) -> (Option<ExportedService>, Vec<String>) {
    let mut refusals = Vec::new();
    let accepted = accept(&settings("east"), peer, exported, &mut refusals);
    (accepted, refusals.iter().map(ToString::to_string).collect())
}

#[test]
fn what_is_sound_is_believed_whole() {
    let said = exported("west", 5, &[("http", 80), ("admin", 8080)]);
    assert_eq!(believe(&peer("west"), &said), (Some(said.clone()), vec![]));
}

#[test]
fn d3_an_endpoint_that_names_another_trust_domain_is_left_out() {
    for thief in ["east", "north"] {
        let mut said = exported("west", 5, &[("http", 80)]);
        let mut forged = exported_endpoint("west", "forged");
        forged.identities.push(gateway_of(thief));
        said.ports[0].endpoints.push(forged);
        let (accepted, refusals) = believe(&peer("west"), &said);
        let left: Vec<_> =
            accepted.unwrap().ports[0].endpoints.iter().map(|e| e.handle.to_string()).collect();
        assert_eq!(left, ["h80"]);
        assert_eq!(
            refusals,
            [format!(
                "peer west, service shop/cart: endpoint forged may be served by \
                 spiffe://{thief}.example/ns/isthmus-system/sa/east-west, which is not of the peer's trust domain"
            )]
        );
    }
}

#[test]
fn d3_a_fallback_is_held_to_the_same_rule() {
    let mut said = exported("west", 5, &[("http", 80)]);
    said.ports[0].fallback = Some(exported_endpoint("north", "all"));
    let (accepted, refusals) = believe(&peer("west"), &said);
    assert_eq!(accepted.unwrap().ports[0].fallback, None);
    assert_eq!(refusals.len(), 1);
}

#[test]
fn an_endpoint_that_names_nobody_is_left_out() {
    let mut said = exported("west", 5, &[("http", 80)]);
    said.ports[0].endpoints[0].identities.clear();
    let (accepted, refusals) = believe(&peer("west"), &said);
    assert_eq!(accepted.unwrap().ports[0].endpoints, []);
    assert_eq!(refusals.len(), 1);
}

#[test]
fn a_peer_speaks_for_its_own_cluster_only() {
    for other in ["east", "north"] {
        let (accepted, refusals) = believe(&peer("west"), &exported(other, 5, &[("http", 80)]));
        assert_eq!(accepted, None);
        assert_eq!(refusals.len(), 1);
    }
    // One that claims to be this very cluster, or to be of its trust domain, is believed nothing.
    assert_eq!(believe(&peer("east"), &exported("east", 5, &[("http", 80)])).0, None);
    let mut same_domain = peer("west");
    same_domain.trust_domain = settings("east").trust_domain;
    assert_eq!(believe(&same_domain, &exported("west", 5, &[("http", 80)])).0, None);
}

#[test]
fn h2_import_rules_name_the_namespaces_that_a_peer_may_speak_for() {
    let mut ruled = peer("west");
    ruled.namespaces = Some(Arc::new(BTreeSet::from(["bank".to_owned()])));
    let (accepted, refusals) = believe(&ruled, &exported("west", 5, &[("http", 80)]));
    assert_eq!(accepted, None);
    assert_eq!(
        refusals,
        [
            "peer west, service shop/cart: the import rules of this cluster do not accept namespace \"shop\" from it"
        ]
    );
    ruled.namespaces = Some(Arc::new(BTreeSet::from(["shop".to_owned()])));
    assert!(believe(&ruled, &exported("west", 5, &[("http", 80)])).0.is_some());
}

#[test]
fn h4_one_service_brings_a_bounded_number_of_everything() {
    let mut said = exported("west", 5, &[("http", 80)]);
    let many = (0..100_000).map(|i| exported_endpoint("west", &format!("h{i:06}")));
    said.ports[0].endpoints = many.collect();
    said.ports.extend((0..1000).map(|i| exported_port("west", &format!("p{i}"), 1000 + i)));
    let (accepted, refusals) = believe(&peer("west"), &said);
    let ports = accepted.unwrap().ports;
    assert_eq!((ports.len(), ports[0].endpoints.len()), (64, 64));
    assert_eq!(
        refusals,
        [
            "peer west, service shop/cart: 100000 endpoints are over the limit of 64; the rest is left out",
            "peer west, service shop/cart: 1001 ports are over the limit of 64; the rest is left out",
        ]
    );
}

#[test]
fn h4_refusals_are_bounded_too() {
    let mut said = exported("west", 5, &[("http", 80)]);
    said.ports[0].endpoints = vec![exported_endpoint("west", "No Label"); 60];
    let (_, refusals) = believe(&peer("west"), &said);
    assert_eq!(refusals.len(), 9);
    assert_eq!(refusals[8], "peer west, service shop/cart: 52 more things were refused");
}

#[test]
fn weights_and_times_are_clamped() {
    let mut said = exported("west", -5, &[("http", 80)]);
    said.ports[0].endpoints[0].weight = u32::MAX;
    said.ports[0].endpoints.push(exported_endpoint("west", "zero"));
    said.ports[0].endpoints[1].weight = 0;
    let accepted = believe(&peer("west"), &said).0.unwrap();
    let weights: Vec<_> = accepted.ports[0].endpoints.iter().map(|e| e.weight).collect();
    assert_eq!((accepted.created, weights), (0, vec![MAX_WEIGHT, 1]));
}

#[test]
fn handles_are_single_labels_that_differ() {
    for bad in ["", "a.b", "UPPER", "-a", "a_b", "control", "h80", "a\0", "*", &"x".repeat(64)] {
        let mut said = exported("west", 5, &[("http", 80)]);
        said.ports[0].endpoints.push(exported_endpoint("west", bad));
        let (accepted, refusals) = believe(&peer("west"), &said);
        assert_eq!(accepted.unwrap().ports[0].endpoints.len(), 1, "{bad:?}");
        assert_eq!(refusals.len(), 1, "{bad:?}");
    }
}

#[test]
fn names_are_labels() {
    for (field, bad) in [(0, "Shop"), (0, "a/b"), (1, "cart.evil"), (1, "")] {
        let mut said = exported("west", 5, &[("http", 80)]);
        *[&mut said.namespace, &mut said.name][field] = bad.into();
        let (accepted, refusals) = believe(&peer("west"), &said);
        assert_eq!((accepted, refusals.len()), (None, 1), "{bad:?}");
    }
}

#[test]
fn impossible_ports_are_left_out_alone() {
    let mut said =
        exported("west", 5, &[("http", 80), ("http", 81), ("twin", 80), ("zero", 0), ("udp", 53)]);
    said.ports[4].protocol = "UDP".into();
    said.ports.push(exported_port("west", "Not A Label", 90));
    let (accepted, refusals) = believe(&peer("west"), &said);
    assert_eq!(accepted.unwrap().ports.len(), 1);
    assert_eq!(
        refusals,
        [
            "peer west, service shop/cart: port 81 (http): another port of the service has its name or number",
            "peer west, service shop/cart: port 80 (twin): another port of the service has its name or number",
            "peer west, service shop/cart: port 0 (zero): it has no number",
            "peer west, service shop/cart: port 53 (udp): only TCP is carried between clusters so far",
            "peer west, service shop/cart: port 90 (Not A Label): its name is no DNS label",
        ]
    );
}

/// Anything that a peer could put into an export, sound and not.
fn anything() -> impl Strategy<Value = ExportedService> {
    let text = || prop_oneof!["[a-z]{1,3}", "[a-zA-Z._/\\x00-]{0,70}", Just("control".to_owned())];
    let domain = || select(vec!["west", "east", "north"]);
    let endpoint = (text(), vec(domain(), 0..3), any::<u32>(), option::of(text()));
    let endpoint = endpoint.prop_map(|(handle, domains, weight, zone)| ExportedEndpoint {
        handle: handle.into(),
        zone: zone.map(Into::into),
        weight,
        identities: domains.into_iter().map(gateway_of).collect(),
    });
    let protocol = select(vec!["TCP", "UDP", "SCTP", ""]);
    let port = (text(), 0..4_u16, protocol, vec(endpoint.clone(), 0..4), option::of(endpoint));
    let port = port.prop_map(|(name, port, protocol, endpoints, fallback)| ExportedPort {
        name,
        port,
        protocol: protocol.into(),
        app_protocol: None,
        endpoints,
        fallback,
    });
    (domain(), text(), text(), any::<i64>(), vec(port, 0..4)).prop_map(
        |(cluster, namespace, name, created, ports)| ExportedService {
            namespace,
            name,
            ports,
            ..exported(cluster, created, &[])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Invariant 7, for whatever a peer says; and what was believed once is believed again, whole.
    #[test]
    fn d3_whatever_is_said_nothing_foreign_is_believed(said in anything()) {
        let (accepted, refusals) = believe(&peer("west"), &said);
        let Some(accepted) = accepted else {
            prop_assert!(!refusals.is_empty());
            return Ok(());
        };
        prop_assert_eq!(&*accepted.cluster, "west");
        prop_assert!(accepted.created >= 0);
        for port in &accepted.ports {
            for endpoint in port.endpoints.iter().chain(&port.fallback) {
                prop_assert!(!endpoint.identities.is_empty());
                prop_assert!(endpoint.identities.iter().all(|id| *id == gateway_of("west")));
                prop_assert!((1..=MAX_WEIGHT).contains(&endpoint.weight));
            }
        }
        let again = believe(&peer("west"), &accepted);
        prop_assert_eq!(again, (Some(accepted), vec![]));
    }
}
