//! The rules of MeshInstall and MeshRevision: each lets through what is right, so that the evaluator knows
//! all that it calls, and refuses what it is for. What only a schema says is tried by `isthmus validate`.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use isthmus_crds::definitions;
use kube::core::cel::{Validator, apply_defaults};
use serde_json::{Value, json};

/// What is wrong with an object of `kind` that has this metadata and this `spec`, given the one before.
fn wrong(kind: &str, name: &str, spec: &Value, old: Option<&Value>) -> Result<(), String> {
    let all = definitions();
    let definition = all.iter().find(|definition| definition.resource.kind == kind).unwrap();
    let object = |spec: &Value| {
        let object = json!({ "kind": kind, "metadata": { "name": name }, "spec": spec });
        apply_defaults(&definition.schema, &object)
    };
    let old = old.map(object);
    let found = Validator::new().validate(&definition.schema, &object(spec), old.as_ref());
    found.map_err(|errors| errors.to_string())
}

fn install(spec: &Value) -> Result<(), String> {
    wrong("MeshInstall", "mesh", spec, None)
}

fn refused(spec: &Value, why: &str) {
    let said = install(spec).unwrap_err();
    assert!(said.contains(why), "{spec}: {said}");
}

#[test]
fn i3_the_least_number_of_proxies_is_not_above_the_most() {
    for good in [
        json!({ "proxy": { "replicas": 3 } }),
        json!({ "proxy": { "autoscale": { "maxReplicas": 3 } } }),
        json!({ "proxy": { "replicas": 3, "autoscale": { "maxReplicas": 3 } } }),
    ] {
        assert_eq!(install(&good), Ok(()), "{good}");
    }
    let bad = json!({ "proxy": { "replicas": 4, "autoscale": { "maxReplicas": 3 } } });
    refused(&bad, "more replicas than autoscale.maxReplicas");
}

#[test]
fn i3_no_more_is_set_aside_than_may_be_used() {
    let resources = |what: &str, requests: &str, limits: &str| {
        let resources = json!({ "requests": { what: requests }, "limits": { what: limits } });
        ["proxy", "controlPlane"].map(|part| json!({ part: { "resources": resources } }))
    };
    for (what, requests, limits) in [
        ("cpu", "1000m", "1"),
        ("cpu", "0.5", "501m"),
        ("memory", "1024Mi", "1Gi"),
        ("memory", "1M", "1Mi"),
    ] {
        for good in resources(what, requests, limits) {
            assert_eq!(install(&good), Ok(()), "{good}");
        }
        for bad in
            resources(what, limits, requests).into_iter().filter(|_| limits != "1" && limits != "1Gi")
        {
            refused(&bad, &format!("more {what} than the limit"));
        }
    }
    let one = json!({ "proxy": { "resources": { "requests": { "cpu": "9" }, "limits": { "memory": "1Mi" } } } });
    assert_eq!(install(&one), Ok(()), "amounts of different things");
}

#[test]
fn i3_peers_are_told_addresses_that_there_can_be() {
    let advertise =
        |address: &str| json!({ "gateways": { "eastWest": { "advertise": ["192.0.2.1:1", address] } } });
    for good in ["192.0.2.1:65535", "[2001:db8::1]:15443", "[::1]:1"] {
        assert_eq!(install(&advertise(good)), Ok(()), "{good}");
    }
    for bad in [
        "192.0.2.1:65536",
        "192.0.2.1:99999",
        "192.0.2.256:1",
        "1.2.3:1",
        "1:1",
        "[192.0.2.1]:1",
        "[2001:db8::1]:65536",
        "[2001:db8:::1]:1",
        "[:]:1",
        "2001:db8::1:1",
        "192.0.2.1:0",
        "192.0.2.1:01",
        "name:1",
    ] {
        refused(&advertise(bad), "must be IP addresses with ports");
    }
}

#[test]
fn i3_two_do_not_listen_on_one_port() {
    let ports =
        |east_west: Value, dns: Value| json!({ "gateways": { "eastWest": east_west }, "dns": dns });
    let port = |port: u16| json!({ "port": port });
    assert_eq!(install(&json!({})), Ok(()));
    assert_eq!(install(&ports(port(1), port(2))), Ok(()));
    assert_eq!(install(&ports(json!({ "enabled": false, "port": 1 }), port(1))), Ok(()), "no gateway");
    let at = |address: &str| json!({ "address": address, "port": 1 });
    assert_eq!(install(&ports(at("192.0.2.1"), at("192.0.2.2"))), Ok(()), "at other addresses");
    let why = "the same port for gateways.eastWest and dns";
    refused(&ports(port(1), port(1)), why);
    refused(&ports(at("192.0.2.1"), at("192.0.2.1")), why);
    refused(&ports(port(15353), json!({})), why);
    refused(&json!({ "dns": { "port": 15443 } }), why);
}

#[test]
fn i3_a_revision_stays_one_of_its_install() {
    let (one, other) = (json!({ "meshInstall": "mesh" }), json!({ "meshInstall": "other" }));
    assert_eq!(wrong("MeshRevision", "next", &one, None), Ok(()));
    let changed = json!({ "meshInstall": "mesh", "version": "2", "proxy": { "replicas": 2 } });
    assert_eq!(wrong("MeshRevision", "next", &changed, Some(&one)), Ok(()));
    let moved = wrong("MeshRevision", "next", &other, Some(&one)).unwrap_err();
    assert!(moved.contains("cannot be changed"), "{moved}");
}

#[test]
fn i3_a_revision_is_called_as_a_service_and_a_label_can_be() {
    let spec = json!({ "meshInstall": "mesh" });
    for good in ["next", "v2-1", &"a".repeat(40)] {
        assert_eq!(wrong("MeshRevision", good, &spec, None), Ok(()), "{good}");
    }
    for bad in ["v2.1", &"a".repeat(41)] {
        let said = wrong("MeshRevision", bad, &spec, None).unwrap_err();
        assert!(said.contains("without dots, of at most 40 characters"), "{bad}: {said}");
    }
}
