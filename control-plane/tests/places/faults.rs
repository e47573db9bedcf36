//! A control plane on an API server that has bad days.

mod away;
mod rest;
mod rights;

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use isthmus_ir::Name;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, eventually},
    server,
};

const GATEWAYS: &str = "gateways.gateway.networking.k8s.io";
const ROUTES: &str = "httproutes.gateway.networking.k8s.io";
const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn class() -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "isthmus"}, "spec": {"controllerName": "isthmus.dev/gateway"}})
}

/// A Gateway `gw` with so many listeners.
fn gateway(namespace: &str, listeners: u32) -> Value {
    let listeners: Vec<_> = (0..listeners)
        .map(|index| json!({"name": format!("l{index}"), "port": 8080 + index, "protocol": "HTTP"}))
        .collect();
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": namespace},
        "spec": {"gatewayClassName": "isthmus", "listeners": listeners}})
}

/// A route to `gw` for this host, by so many of its listeners.
fn route(namespace: &str, name: &str, host: &str, parents: u32) -> Value {
    let parents: Vec<_> =
        (0..parents).map(|index| json!({"name": "gw", "sectionName": format!("l{index}")})).collect();
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": parents, "hostnames": [host]}})
}

/// The status of a condition of an object's status.
fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)?["status"].as_str()
}

/// Waits until a condition of an object has a status.
async fn until(cluster: &Cluster, object: &str, kind: &str, wanted: &str) {
    eventually(&format!("{object} {kind}={wanted}"), async || {
        let statuses = cluster.statuses().await;
        statuses
            .get(object)
            .and_then(|status| condition(status, kind))
            .filter(|is| *is == wanted)
            .map(drop)
    })
    .await;
}

/// Makes `gw` in a namespace, with a proxy, and waits until it is programmed.
async fn serve(cluster: &mut Cluster, name: &str) -> Name {
    server::apply(&cluster.client, &namespace(name)).await.unwrap();
    let gateway = gateway(name, 1);
    server::apply(&cluster.client, &gateway).await.unwrap();
    server::apply(&cluster.client, &route(name, "route", "a.example", 1)).await.unwrap();
    cluster.expose(&gateway).await;
    let scope: Name = format!("gateway/{name}/gw").as_str().into();
    let authority = cluster.authority().await;
    cluster.serve([scope.clone()], &authority).await;
    until(cluster, &format!("Gateway {name}/gw"), "Programmed", "True").await;
    scope
}

fn says(told: &BTreeMap<String, Value>, text: &str) -> bool {
    told.values().any(|resource| resource.to_string().contains(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f3_a_list_of_large_objects_takes_no_memory_for_what_is_not_used() {
    const OBJECTS: usize = 1500;
    const BYTES: usize = 60_000;
    const AT_ONCE: usize = 8;
    let mut cluster = Cluster::start("standard").await;
    cluster.ready().await;
    let without = cluster.peak();
    let made = (0..OBJECTS).map(|index| {
        let metadata = json!({"name": format!("s{index}"), "namespace": "default",
            "annotations": {"example.com/large": "x".repeat(BYTES)}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
        let client = &cluster.client;
        async move { server::apply(client, &service).await.unwrap() }
    });
    stream::iter(made).buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
    cluster.control_plane.restart().unwrap();
    cluster.ready().await;
    let with = cluster.peak();
    assert!(with < without + OBJECTS * BYTES / 4, "{without} bytes without, {with} with");
}

/// Takes away which values the types of filters have, as a later release of Gateway API would add one.
fn loosened(schema: &mut Value) {
    let is_filter = |values: &Value| values.to_string().contains("RequestHeaderModifier");
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, value| name != "enum" || !is_filter(value));
            fields.values_mut().for_each(loosened);
        }
        Value::Array(items) => items.iter_mut().for_each(loosened),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_a_filter_of_a_type_that_nobody_knows_is_a_problem_of_its_route_alone() {
    let mut cluster = Cluster::start("standard").await;
    let scope = serve(&mut cluster, "shop").await;
    let definition = cluster.server.kubectl(&["get", "crd", ROUTES, "-o", "json"]).unwrap();
    let mut definition: Value = serde_json::from_str(&definition).unwrap();
    let metadata = definition["metadata"].as_object_mut().unwrap();
    metadata.retain(|name, _| ["name", "annotations", "labels"].contains(&name.as_str()));
    definition.as_object_mut().unwrap().remove("status");
    loosened(&mut definition["spec"]);
    cluster.server.apply(&definition.to_string()).unwrap();
    let mut late = route("shop", "late", "late.example", 1);
    late["spec"]["rules"] = json!([{"filters": [{"type": "Teleport"}]}]);
    eventually("the definition", async || server::apply(&cluster.client, &late).await.ok()).await;
    eventually("its status", async || {
        let status = cluster.statuses().await.remove("HTTPRoute shop/late")?;
        let conditions = status["parents"][0]["conditions"].as_array()?.clone();
        let accepted = conditions.into_iter().find(|condition| condition["type"] == "Accepted")?;
        assert_eq!(
            (&accepted["status"], &accepted["reason"]),
            (&"False".into(), &"UnsupportedValue".into())
        );
        assert!(accepted["message"].as_str()?.contains("Teleport"), "{accepted}");
        Some(())
    })
    .await;
    server::apply(&cluster.client, &route("shop", "route", "b.example", 1)).await.unwrap();
    eventually("its neighbour", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
    assert!(!says(&cluster.ir(&scope), "late.example"), "it is told to nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_definitions_that_are_missing_old_or_come_later() {
    let (server, client) = server::bare().await;
    let kubeconfig = server.kubeconfig();
    let mut cluster = Cluster::over(server, client, &kubeconfig).await;
    cluster.ready().await;

    server::define(&cluster.server, "standard");
    server::apply(&cluster.client, &class()).await.unwrap();
    until(&cluster, "GatewayClass isthmus", "SupportedVersion", "True").await;
    serve(&mut cluster, "shop").await;

    let bundle = |version: &str| format!("{BUNDLE}={version}");
    // The policy that comes with newer definitions keeps older ones away, for those who have it.
    for policy in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        cluster.server.kubectl(&["delete", policy, "safe-upgrades.gateway.networking.k8s.io"]).unwrap();
    }
    let annotate = async |version: &str| {
        let arguments = ["annotate", "crd", GATEWAYS, "--overwrite", &bundle(version)];
        eventually("the end of the policy", async || cluster.server.kubectl(&arguments).ok()).await;
    };
    annotate("v1.2.1").await;
    until(&cluster, "GatewayClass isthmus", "SupportedVersion", "False").await;
    until(&cluster, "Gateway shop/gw", "Programmed", "True").await;
    annotate("v1.7.0").await;
    until(&cluster, "GatewayClass isthmus", "SupportedVersion", "True").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_namespace_that_is_ending_makes_no_loop() {
    let mut cluster = Cluster::start("standard").await;
    let scope = serve(&mut cluster, "stays").await;
    serve(&mut cluster, "goes").await;
    let root = "/api/v1/namespaces/goes/configmaps/isthmus-root";
    eventually("the root", async || cluster.get(root).await).await;
    // Nothing empties the namespace here but this test, so that it is ending for as long as that takes.
    cluster.server.kubectl(&["delete", "namespace", "goes", "--wait=false"]).unwrap();
    cluster.server.kubectl(&["delete", "configmap", "isthmus-root", "-n", "goes"]).unwrap();
    // Another Gateway makes the control plane look at all namespaces again.
    serve(&mut cluster, "comes").await;
    eventually("the end of the namespace to be seen", async || {
        cluster.control_plane.log().contains("no root for a namespace that is ending").then_some(())
    })
    .await;
    assert!(
        !cluster.control_plane.log().contains("the root cannot be written"),
        "{}",
        cluster.control_plane.log()
    );
    for kind in ["httproutes", "gateways", "services"] {
        cluster.server.kubectl(&["delete", kind, "--all", "-n", "goes"]).unwrap();
    }
    server::apply(&cluster.client, &route("stays", "route", "b.example", 1)).await.unwrap();
    eventually("news", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
    assert!(!cluster.control_plane.log().contains("ERROR"), "{}", cluster.control_plane.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_objects_at_the_limits_of_size_have_whole_statuses() {
    const LISTENERS: u32 = 64;
    const PARENTS: u32 = 32;
    const ROUTES: u32 = 300;
    let cluster = Cluster::start("standard").await;
    server::apply(&cluster.client, &namespace("large")).await.unwrap();
    server::apply(&cluster.client, &gateway("large", LISTENERS)).await.unwrap();
    for index in 0..ROUTES {
        // What an API server checks of many parents grows with their square: one route has them all.
        let (name, host) = (format!("r{index}"), format!("h{index}.example"));
        let parents = if index == 0 { PARENTS } else { 1 };
        server::apply(&cluster.client, &route("large", &name, &host, parents)).await.unwrap();
    }
    eventually("all statuses", async || {
        let statuses = cluster.statuses().await;
        let listeners = statuses.get("Gateway large/gw")?["listeners"].as_array()?.clone();
        let attached: Vec<_> =
            listeners.iter().filter_map(|listener| listener["attachedRoutes"].as_u64()).collect();
        let accepted = |index: u32| {
            let status = statuses.get(&format!("HTTPRoute large/r{index}"))?;
            let parents = status["parents"].as_array()?.iter();
            Some(parents.filter(|parent| condition(parent, "Accepted") == Some("True")).count())
        };
        let whole = attached.len() == LISTENERS as usize
            && attached.first() == Some(&u64::from(ROUTES))
            && attached.iter().filter(|count| **count == 1).count() == PARENTS as usize - 1
            && accepted(0) == Some(PARENTS as usize)
            && (1..ROUTES).all(|index| accepted(index) == Some(1));
        whole.then_some(())
    })
    .await;
}
