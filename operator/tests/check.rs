//! What `isthmus check` finds: each code, what it is found of, and that the documentation has it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod common;

use common::put;
use isthmus_operator::{
    check::{after, before},
    object::{self, ObjectKey},
    observed::Observed,
};
use serde_json::{Value, json};

const CONDITIONS: [&str; 3] = ["Ready", "ProxiesReady", "GatewayAPISupported"];

/// A cluster in which nothing is wrong.
fn sound() -> Observed {
    let install =
        "apiVersion: isthmus.dev/v1alpha1\nkind: MeshInstall\nmetadata: {name: mesh}\nspec: {}\n";
    let mut observed = common::observed(install);
    for plural in ["gatewayclasses", "gateways", "httproutes", "referencegrants"] {
        let annotations = json!({ "gateway.networking.k8s.io/bundle-version": "v1.7.0" });
        let name = format!("{plural}.gateway.networking.k8s.io");
        let meta = json!({ "name": name, "annotations": annotations });
        put(&mut observed, json!({ "kind": "CustomResourceDefinition", "metadata": meta }));
    }
    let status =
        json!({ "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2 });
    let meta = json!({ "name": "isthmus-operator", "namespace": "isthmus-system" });
    let spec = json!({ "replicas": 2 });
    put(
        &mut observed,
        json!({ "kind": "Deployment", "metadata": meta, "spec": spec, "status": status }),
    );
    let revision = json!({ "kind": "MeshRevision", "metadata": { "name": "next" }, "spec": { "meshInstall": "mesh" } });
    put(&mut observed, revision);
    for (kind, name) in [(object::MESH_INSTALL, "mesh"), (object::MESH_REVISION, "next")] {
        change(&mut observed, &ObjectKey::new(kind, "", name), |object| {
            object["status"] =
                json!({ "observedGeneration": 1, "conditions": CONDITIONS.map(condition) });
        });
    }
    observed
}

fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "Fine", "message": "all is well",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn change(observed: &mut Observed, key: &ObjectKey, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::to_value(observed.object(key).unwrap()).unwrap();
    change(&mut value);
    put(observed, value);
}

fn install() -> ObjectKey {
    ObjectKey::new(object::MESH_INSTALL, "", "mesh")
}

fn operator() -> ObjectKey {
    ObjectKey::new(object::DEPLOYMENT, "isthmus-system", "isthmus-operator")
}

/// A condition of this object does not hold.
fn fails(observed: &mut Observed, key: &ObjectKey, kind: &str) {
    let index = CONDITIONS.iter().position(|one| *one == kind).unwrap();
    change(observed, key, |object| {
        let condition = &mut object["status"]["conditions"][index];
        condition["status"] = "False".into();
        condition["reason"] = "Broken".into();
        condition["message"] = "it broke".into();
    });
}

type Case = (&'static str, &'static str, fn(&mut Observed));

/// Each code, what its sentence says, and what makes it so.
const CASES: &[Case] = &[
    ("gateway-api", "httproutes.gateway.networking.k8s.io is missing: `kubectl apply", |observed| {
        let name = "httproutes.gateway.networking.k8s.io";
        observed.objects.remove(&ObjectKey::new(object::DEFINITION, "", name));
    }),
    ("forbidden", "kind Namespace: because", |observed| {
        observed.forbidden.insert(object::NAMESPACE, "because".to_owned());
        observed.unknown.insert(object::NAMESPACE);
    }),
    ("no-operator", "`helm install isthmus", |observed| {
        observed.objects.remove(&operator());
    }),
    ("operator-not-ready", "1 of 2 pods are available", |observed| {
        change(observed, &operator(), |operator| operator["status"]["availableReplicas"] = 1.into());
    }),
    ("no-install", "`isthmus install`", |observed| {
        observed.objects.remove(&install());
    }),
    ("install-unreadable", "cannot read MeshInstall mesh", |observed| {
        change(observed, &install(), |install| install["spec"]["future"] = "brought".into());
    }),
    ("not-observed", "has not seen the newest MeshInstall mesh", |observed| {
        change(observed, &install(), |install| install["metadata"]["generation"] = 2.into());
    }),
    ("not-ready", "Broken: it broke", |observed| fails(observed, &install(), "Ready")),
    ("proxies-not-ready", "Broken: it broke", |observed| fails(observed, &install(), "ProxiesReady")),
    ("revision-not-ready", "MeshRevision next: Broken: it broke", |observed| {
        fails(observed, &ObjectKey::new(object::MESH_REVISION, "", "next"), "Ready");
    }),
];

#[test]
fn each_thing_that_is_wrong_is_found_by_its_code_alone() {
    assert_eq!(after(&sound()), []);
    for (code, says, breaks) in CASES {
        let mut observed = sound();
        breaks(&mut observed);
        let found = after(&observed);
        let codes: Vec<&str> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [*code], "{found:?}");
        assert!(found[0].message.contains(says), "{code}: {}", found[0].message);
    }
}

#[test]
fn only_some_things_stand_in_the_way_of_an_install() {
    for (code, _, breaks) in CASES {
        let mut observed = sound();
        breaks(&mut observed);
        let stands = ["gateway-api", "forbidden"].contains(code);
        assert_eq!(!before(&observed).is_empty(), stands, "{code}");
    }
}

#[test]
fn what_may_not_be_read_is_not_said_to_be_missing() {
    let mut observed = sound();
    for kind in [object::MESH_INSTALL, object::DEPLOYMENT, object::DEFINITION] {
        observed.objects.retain(|key, _| key.kind != kind);
        observed.forbidden.insert(kind, "because".to_owned());
        observed.unknown.insert(kind);
    }
    let codes: Vec<&str> = after(&observed).iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["forbidden"; 3]);
}

#[test]
fn the_documentation_has_every_code() {
    let page = include_str!("../../docs/kubernetes.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let rows: Vec<&str> = rows.map(|(code, _)| code).collect();
    for (code, ..) in CASES {
        assert!(rows.contains(code), "docs/kubernetes.md has no {code}");
    }
}
