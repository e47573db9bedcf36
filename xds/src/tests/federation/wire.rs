//! The schema between clusters: what is sent comes back, and nothing that arrives panics.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use isthmus_ir::{ObjectRef, SpiffeId, TrustBundle};
use proptest::{collection::vec, option, prelude::*};

use super::harness::hello;
use crate::{
    delta::TypeIndex,
    federation::{
        Cluster, Endpoint, FederationResource, ImportReport, Port, Service,
        wire::{decode, encode, id, key},
    },
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9-]{0,8}", ".{0,8}"]
}

fn object() -> impl Strategy<Value = ObjectRef> {
    ("[a-z]{1,8}", "[a-z]{1,8}").prop_map(|(namespace, name)| ObjectRef { namespace, name })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let identity =
        "/[a-z]{1,4}".prop_map(|path| SpiffeId::new(&hello("east").trust_domain, &path).unwrap());
    (text(), option::of(text()), 1..=u32::MAX, vec(identity, 1..3)).prop_map(
        |(handle, zone, weight, identities)| Endpoint {
            handle: handle.into(),
            zone: zone.map(Arc::from),
            weight,
            identities,
        },
    )
}

fn port() -> impl Strategy<Value = Port> {
    let endpoints = vec(endpoint(), 0..3);
    (text(), any::<u16>(), text(), option::of(text()), endpoints, option::of(endpoint())).prop_map(
        |(name, port, protocol, app_protocol, endpoints, fallback)| Port {
            name,
            port,
            protocol,
            app_protocol,
            endpoints,
            fallback,
        },
    )
}

/// Whatever the cluster `east` may say.
fn resource() -> impl Strategy<Value = FederationResource> {
    let address = any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from);
    let cluster =
        (vec(address, 0..3), text(), option::of(text())).prop_map(|(gateways, network, zone)| {
            let (network, zone) = (network.into(), zone.map(Arc::from));
            FederationResource::Cluster(Cluster { cluster: "east".into(), gateways, network, zone })
        });
    let roots = vec(vec(any::<u8>(), 1..9).prop_map(Bytes::from), 1..3);
    let bundle = roots.prop_map(|roots| {
        let trust_domain = hello("east").trust_domain;
        FederationResource::TrustBundle(TrustBundle { trust_domain, roots })
    });
    let service = (object(), any::<i64>(), any::<(bool, bool)>(), vec(port(), 0..3)).prop_map(
        |(object, created, (headless, client_ip_affinity), ports)| {
            FederationResource::Service(Service { object, created, headless, client_ip_affinity, ports })
        },
    );
    let report = (object(), any::<bool>(), vec((text(), text()), 0..3)).prop_map(
        |(object, imported, conflicts)| {
            FederationResource::ImportReport(ImportReport { object, imported, conflicts })
        },
    );
    prop_oneof![cluster, bundle, service, report]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_cluster_says_comes_back_as_it_was_said(resource in resource()) {
        let id = id(resource.key());
        prop_assert_eq!(key(id.clone()), Some(resource.key()));
        let sent = encode(&resource);
        prop_assert_eq!(decode(&hello("east"), id.kind, &id.name, &sent.value), Ok(resource));
    }

    #[test]
    fn e9_any_bytes_are_refused_or_understood(
        kind in 0_u8..5,
        name in prop_oneof!["a/b", "east", "east\\.example", ".{0,9}"],
        bytes in vec(any::<u8>(), 0..100),
    ) {
        let _ = decode(&hello("east"), TypeIndex(kind), &name.as_str().into(), &bytes.into());
    }
}
