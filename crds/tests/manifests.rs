//! `manifests/*.yaml` says what the Rust types say, and the rules in it hold what they promise.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{fs, path::PathBuf};

use isthmus_crds::{GatewayParametersSpec, MeshInstall, MeshInstallSpec, Proxy, definitions};
use kube::core::cel::{Validator, apply_defaults};
use serde_json::{Value, json};

const HEADER: &str =
    "# Generated from the Rust types by `ISTHMUS_UPDATE=1 cargo test -p isthmus-crds`.\n";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name)
}

#[test]
fn manifests_are_those_of_the_types() {
    let update = std::env::var_os("ISTHMUS_UPDATE").is_some();
    for definition in definitions() {
        let name = format!("{}_{}.yaml", definition.resource.group, definition.resource.plural);
        let yaml = format!("{HEADER}{}", serde_saphyr::to_string(&definition.crd).unwrap());
        if update {
            fs::write(path(&name), &yaml).unwrap();
        }
        let on_disk = fs::read_to_string(path(&name)).unwrap_or_default();
        assert_eq!(on_disk, yaml, "{name} is stale: run the test with ISTHMUS_UPDATE=1");
    }
    let files = fs::read_dir(path("")).unwrap().count();
    assert_eq!(files, definitions().len(), "a manifest without a kind, or the reverse");
}

/// Structural schemas hold no references, and an API server refuses undocumented mistakes late.
#[test]
fn every_field_is_documented_and_structural() {
    fn walk(at: &str, schema: &Value) {
        assert!(schema.get("$ref").is_none(), "{at} is a reference");
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            let standard = matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
            assert!(standard || field.get("description").is_some(), "{at} is not documented");
            walk(&at, field);
        }
        if let Some(items) = schema.get("items") {
            walk(&format!("{at}[]"), items);
        }
    }
    for definition in definitions() {
        assert!(definition.schema["properties"]["spec"].is_object());
        walk(&definition.resource.kind, &definition.schema);
    }
}

#[test]
fn a_spec_that_needs_no_field_may_be_left_out() {
    let required = |kind: &str| {
        let all = definitions();
        let definition = all.iter().find(|definition| definition.resource.kind == kind).unwrap();
        definition.schema.get("required").cloned().unwrap_or_default()
    };
    assert_eq!(required("ServiceExport"), Value::Null);
    assert_eq!(required("MeshInstall"), Value::Null);
    assert_eq!(required("ServiceImport"), json!(["spec"]));
    let bare = json!({ "kind": "MeshInstall", "metadata": { "name": "mesh" } });
    let all = definitions();
    let schema = &all.iter().find(|one| one.resource.kind == "MeshInstall").unwrap().schema;
    let defaulted = apply_defaults(schema, &bare);
    let install: MeshInstall = serde_json::from_value(defaulted.clone()).unwrap();
    assert_eq!(install.spec, MeshInstallSpec::default());
    let mut renamed = defaulted.clone();
    renamed["spec"]["cluster"]["id"] = "east".into();
    let refused = Validator::new().validate(schema, &renamed, Some(&defaulted)).unwrap_err();
    assert!(refused.to_string().contains("cannot change its id"), "{refused}");
}

/// What the rules of a kind say of a `spec`, given the one before.
fn check(kind: &str, spec: Value, old: Option<Value>) -> Result<(), String> {
    let all = definitions();
    let definition = all.iter().find(|definition| definition.resource.kind == kind).unwrap();
    let object = |spec: Value| json!({"apiVersion": "isthmus.dev/v1alpha1", "spec": spec});
    let old = old.map(object);
    Validator::new()
        .validate(&definition.schema, &object(spec), old.as_ref())
        .map_err(|errors| errors.to_string())
}

#[test]
fn i3_rules_refuse_what_they_are_for() {
    let check = |spec, old| check("MeshInstall", spec, old);
    let east = json!({"cluster": {"id": "east"}});
    assert_eq!(check(east.clone(), None), Ok(()));
    assert_eq!(check(east.clone(), Some(east.clone())), Ok(()));
    let renamed = check(json!({"cluster": {"id": "west"}}), Some(east.clone())).unwrap_err();
    assert!(renamed.contains("cannot change its id"), "{renamed}");
    let moved = json!({"cluster": {"id": "east", "trustDomain": "x"}});
    assert!(check(moved, Some(east)).unwrap_err().contains("trust domain"));
    let east_west = |gateway: Value| check(json!({"gateways": {"eastWest": gateway}}), None);
    assert_eq!(
        east_west(json!({"address": "::1", "advertise": ["192.0.2.1:1", "[2001:db8::1]:2"]})),
        Ok(())
    );
    assert!(east_west(json!({"address": "here"})).unwrap_err().contains("must be an IP address"));
    for bad in ["192.0.2.1", "192.0.2.1:0", "name:1", "2001:db8::1:2"] {
        let refused = east_west(json!({"advertise": [bad]})).unwrap_err();
        assert!(refused.contains("IP addresses with ports"), "{bad}: {refused}");
    }
}

#[test]
fn i3_rules_of_parameters_refuse_what_cannot_be() {
    let check = |spec: Value| check("GatewayParameters", spec, None);
    for good in [
        json!({}),
        json!({"proxy": {"replicas": 2, "autoscale": {"maxReplicas": 2}}}),
        json!({"proxy": {"resources": {"requests": {"cpu": "1000m"}, "limits": {"cpu": "1", "memory": "1Gi"}}}}),
        json!({"proxy": {"resources": {"requests": {"memory": "1Gi"}}}}),
        json!({"service": {"loadBalancerClass": "example.com/internal"}}),
        json!({"service": {"type": "NodePort", "externalTrafficPolicy": "Local"}}),
    ] {
        assert_eq!(check(good.clone()), Ok(()), "{good}");
    }
    for (bad, why) in [
        (
            json!({"proxy": {"replicas": 3, "autoscale": {"maxReplicas": 2}}}),
            "more replicas than autoscale.maxReplicas",
        ),
        (
            json!({"proxy": {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}}),
            "more cpu than the limit",
        ),
        (
            json!({"proxy": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}}}),
            "more memory than the limit",
        ),
        (
            json!({"service": {"type": "NodePort", "loadBalancerClass": "a"}}),
            "loadBalancerClass with type LoadBalancer only",
        ),
        (
            json!({"service": {"type": "ClusterIP", "externalTrafficPolicy": "Local"}}),
            "externalTrafficPolicy with type ClusterIP",
        ),
    ] {
        let refused = check(bad.clone()).unwrap_err();
        assert!(refused.contains(why), "{bad}: {refused}");
    }
}

#[test]
fn parameters_are_merged_field_by_field() {
    let parameters = |spec: Value| serde_json::from_value::<GatewayParametersSpec>(spec).unwrap();
    let own = parameters(json!({
        "proxy": {"replicas": 2, "resources": {"limits": {"cpu": "2"}}},
        "service": {"annotations": {"a": "own", "b": "own"}},
    }));
    let others = parameters(json!({
        "proxy": {"replicas": 9, "image": "other", "resources": {"limits": {"cpu": "9", "memory": "1Gi"}}},
        "service": {"type": "NodePort", "annotations": {"b": "other", "c": "other"}},
        "drain": {"waitSeconds": 1},
    }));
    let both = parameters(json!({
        "proxy": {"replicas": 2, "image": "other", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}},
        "service": {"type": "NodePort", "annotations": {"a": "own", "b": "own", "c": "other"}},
        "drain": {"waitSeconds": 1},
    }));
    assert_eq!(own.clone().or(&others), both);
    assert_eq!(own.clone().or(&GatewayParametersSpec::default()), own);
    let mesh = Proxy { access_log: true, threads: Some(4), replicas: Some(7), ..Proxy::default() };
    let proxy = both.proxy.unwrap().over(&mesh);
    assert_eq!((proxy.access_log, proxy.threads, proxy.replicas), (true, Some(4), Some(2)));
    assert_eq!(
        (proxy.image.as_deref(), proxy.resources.limits.cpu.as_deref()),
        (Some("other"), Some("2"))
    );
}
