//! The wire as the inverse of itself: what is accepted is exactly what would have been sent.

mod strategies;

use std::sync::Arc;

use bytes::Bytes;
use isthmus_ir::{Kind, Name, Resource};
use proptest::prelude::*;
use prost::Message;

use self::strategies::resource;
use super::harness::{route, service};
use crate::{
    delta::Version,
    proto::proxy,
    wire::{self, Refusal, decode, encode, snapshot},
};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_resource_comes_back_as_it_was_sent(resource in resource()) {
        let sent = encode(&resource);
        prop_assert_eq!(sent.version, Version::of(&sent.value));
        prop_assert_eq!(decode(sent.kind, &sent.name, &sent.value), Ok(resource));
    }

    #[test]
    fn resources_of_one_name_have_one_version_when_they_are_equal(a in resource(), b in resource()) {
        let (one, two) = (encode(&a), encode(&b));
        let equal = (one.kind, &one.name, one.version) == (two.kind, &two.name, two.version);
        prop_assert_eq!(equal, a == b);
    }

    #[test]
    fn e9_any_bytes_are_refused_or_understood_to_the_last(
        kind in prop::sample::select(&Kind::ALL[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        understood_or_refused(kind, &bytes.into());
    }

    /// Bytes that are almost right get further than others.
    #[test]
    fn e9_broken_resources_are_refused_or_understood_to_the_last(
        resource in resource(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let sent = encode(&resource);
        let mut bytes = sent.value.to_vec();
        if !bytes.is_empty() {
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(end.index(bytes.len() * 4).max(1));
        }
        understood_or_refused(sent.kind, &bytes.into());
    }

    #[test]
    fn a_snapshot_file_holds_all_but_certificates(resources in prop::collection::vec(resource(), 0..8)) {
        let loaded = snapshot::decode(&snapshot::encode(&resources)).unwrap();
        let kept = resources.iter().filter(|r| !matches!(r, Resource::Certificate(_)));
        prop_assert_eq!(&loaded.resources, &kept.clone().cloned().collect::<Vec<_>>());
        let versions: Vec<_> = kept.map(|r| (r.key(), encode(r).version)).collect();
        prop_assert_eq!(loaded.versions, versions);
        prop_assert_eq!(loaded.skipped, vec![]);
    }

    #[test]
    fn a_damaged_snapshot_file_is_refused(
        resources in prop::collection::vec(resource(), 1..4),
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut file = snapshot::encode(&resources);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(snapshot::decode(&file).is_err());
        file.truncate(at);
        prop_assert!(snapshot::decode(&file).is_err());
    }
}

fn understood_or_refused(kind: Kind, bytes: &Bytes) {
    let name = Name::from("example.org");
    if let Ok(resource) = decode(kind, &name, bytes) {
        assert_eq!(encode(&resource).value, *bytes);
    }
}

/// What becomes of a resource that is sent with `change` made to it.
fn sent_with<M: Message + Default>(resource: &Resource, change: impl FnOnce(&mut M)) -> Refusal {
    let sent = encode(resource);
    let mut message = M::decode(sent.value).unwrap();
    change(&mut message);
    decode(sent.kind, &sent.name, &message.encode_to_vec().into()).unwrap_err()
}

#[test]
fn a_feature_that_is_not_there_refuses_the_resource() {
    let refusal = sent_with(&route("r"), |route: &mut proxy::Route| {
        route.requires.push("route.teleport".to_owned());
    });
    assert_eq!(refusal, Refusal::Feature("route.teleport".to_owned()));
}

#[test]
fn a_field_that_is_not_known_refuses_the_resource() {
    let sent = encode(&route("r"));
    // Field 126, of two bytes.
    let value = [&*sent.value, &[0xf2, 0x07, 0x02, b'h', b'i']].concat();
    let refused = decode(sent.kind, &sent.name, &value.into());
    assert_eq!(refused, Err(Refusal::NotUnderstood));
}

#[test]
fn what_is_not_set_or_not_known_refuses_the_resource() {
    let unset = |refusal| matches!(refusal, Refusal::Unset(_));
    let route = route("r");
    assert!(unset(sent_with(&route, |route: &mut proxy::Route| route.kind = 0)));
    assert!(unset(sent_with(&route, |route: &mut proxy::Route| route.kind = 77)));
    assert!(unset(sent_with(&route, |route: &mut proxy::Route| route.matches[0].path = None)));
    assert!(unset(sent_with(&route, |route: &mut proxy::Route| route.retry = None)));
    assert!(unset(sent_with(&route, |route: &mut proxy::Route| {
        route.filters.push(proxy::Filter::default());
    })));
    assert!(unset(sent_with(&route, |route: &mut proxy::Route| {
        route.matches[0].headers.push(proxy::NamedMatch { name: "x".to_owned(), value: None });
    })));
    let service = service("s");
    assert!(unset(sent_with(&service, |service: &mut proxy::Service| service.balancing = 9)));
    assert!(unset(sent_with(&service, |service: &mut proxy::Service| service.health = None)));
}

/// A rule without conditions, or a filter that is dropped, would match or let through more than was asked.
#[test]
fn what_would_match_more_than_was_asked_is_refused() {
    let invalid = |refusal| matches!(refusal, Refusal::Invalid { .. });
    let route = route("r");
    assert!(invalid(sent_with(&route, |route: &mut proxy::Route| route.matches.clear())));
    assert!(invalid(sent_with(&route, |route: &mut proxy::Route| {
        route.attachments[0].hostnames.clear();
    })));
    let Resource::Route(plain) = &route else { panic!("a route") };
    let mut unlike = isthmus_ir::Route::clone(plain);
    unlike.matches[0].path = isthmus_ir::PathMatch::Prefix("/a/".to_owned());
    let sent = encode(&Resource::Route(Arc::new(unlike)));
    assert!(invalid(decode(sent.kind, &sent.name, &sent.value).unwrap_err()));
}

#[test]
fn types_and_kinds_are_in_the_same_order() {
    for kind in Kind::ALL {
        assert_eq!(wire::kind(wire::index(kind)), Some(kind));
        assert!(wire::SCHEMA.url(wire::index(kind)).ends_with(&format!(".{}", kind.as_str())));
    }
    assert_eq!(wire::SCHEMA.types.len(), Kind::ALL.len());
}

#[test]
fn d18_no_debug_output_shows_a_key() {
    let certificate = strategies::certificate_with_key(b"0123456789abcdef");
    let sent = encode(&certificate);
    let shown = format!("{certificate:?} {sent:?} {:?}", sent.clone().entry());
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
    assert!(!shown.contains("48, 49, 50"), "{shown}");
}
