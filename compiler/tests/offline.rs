//! `translate_all`: what follows from a set of objects, good and bad, with no mesh running.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod common;

use common::settings;
use expect_test::expect;
use isthmus_compiler::{Translation, translate_all};
use isthmus_world::ingest::DynamicObject;
use serde_json::Value;

const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  gatewayClassName: isthmus
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: good, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: cart, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: bad, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  rules: [{filters: [{type: Teleport}]}]
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: cart, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other, namespace: shop}
";

fn translation() -> Translation {
    let objects: Vec<Value> = serde_saphyr::from_multiple(OBJECTS).unwrap();
    let objects = objects.into_iter().map(|object| serde_json::from_value(object).unwrap());
    translate_all(settings(), objects.collect::<Vec<DynamicObject>>(), [])
}

#[test]
fn f1_one_bad_object_leaves_the_others_alone() {
    let translation = translation();
    let told = translation.scopes.iter().flat_map(|(scope, resources)| {
        let key = move |key: isthmus_ir::Key| format!("{scope}: {} {}\n", key.kind.as_str(), key.name);
        resources.iter().map(move |resource| key(resource.key()))
    });
    // Names of handles come from the key, and say nothing here.
    let told: String = told.filter(|line| !line.contains("Handle")).collect();
    expect![[r"
        east-west: Listener isthmus-system/east-west/15443
        east-west: Service cluster/shop/cart/80
        east-west: Endpoints cluster/shop/cart/80
        gateway/shop/edge: Listener shop/edge/http
        gateway/shop/edge: Route HTTPRoute/shop/good/0
        gateway/shop/edge: Service cluster/shop/cart/80
        gateway/shop/edge: Endpoints cluster/shop/cart/80
    "]]
    .assert_eq(&told);
    let statuses: Vec<_> =
        translation.statuses.iter().map(|s| format!("{} {}", s.kind.as_str(), s.object)).collect();
    expect![[r#"["GatewayClass /isthmus", "Gateway shop/edge", "HTTPRoute shop/bad", "HTTPRoute shop/good", "ServiceExport shop/cart"]"#]]
        .assert_eq(&format!("{statuses:?}"));
    assert_eq!(translation.exports.len(), 1);
}

#[test]
fn what_could_not_be_read_is_told_apart_from_what_is_not_for_us() {
    let translation = translation();
    let problems: Vec<_> = translation
        .problems
        .iter()
        .map(|(key, problem)| format!("{key}: {}", problem.field.as_deref().unwrap_or_default()))
        .collect();
    expect![[r#"["HTTPRoute shop/bad: spec.rules[0].filters[0].type"]"#]]
        .assert_eq(&format!("{problems:?}"));
    let unread: Vec<_> = translation.unread.iter().map(ToString::to_string).collect();
    expect![[r#"["ConfigMap of v1 is not read by Isthmus"]"#]].assert_eq(&format!("{unread:?}"));
}
