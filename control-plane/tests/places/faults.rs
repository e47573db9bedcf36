//! A control plane on an API server that has bad days.

use std::collections::BTreeMap;

use isthmus_ir::Name;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, eventually},
    proxy::Proxy,
    relay::Relay,
    server,
};

const GATEWAYS: &str = "gateways.gateway.networking.k8s.io";
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
    const OBJECTS: usize = 800;
    const BYTES: usize = 60_000;
    let mut cluster = Cluster::start("standard").await;
    let ready = async |cluster: &Cluster| (cluster.probe("ready").await == Some(200)).then_some(());
    eventually("readiness", async || ready(&cluster).await).await;
    let without = cluster.peak();
    for index in 0..OBJECTS {
        let metadata = json!({"name": format!("s{index}"), "namespace": "default",
            "annotations": {"example.com/large": "x".repeat(BYTES)}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
        server::apply(&cluster.client, &service).await.unwrap();
    }
    cluster.restart();
    eventually("readiness", async || ready(&cluster).await).await;
    let with = cluster.peak();
    assert!(with < without + OBJECTS * BYTES / 2, "{without} bytes without, {with} with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_an_api_server_that_is_away_at_the_start_and_later_takes_nothing_from_proxies() {
    let (server, client) = server::start("standard").await;
    let relay = Relay::before(server.address()).await;
    let kubeconfig = server.kubeconfig_by(relay.address).unwrap();
    let mut cluster = Cluster::over(server, client, &kubeconfig).await;
    eventually("life", async || (cluster.probe("live").await == Some(200)).then_some(())).await;
    assert_eq!(cluster.probe("ready").await, Some(503), "nothing is known yet");

    relay.set_open(true);
    server::apply(&cluster.client, &class()).await.unwrap();
    let scope = serve(&mut cluster, "shop").await;
    let told = cluster.ir(&scope);
    assert!(says(&told, "a.example") && cluster.probe("ready").await == Some(200));

    relay.set_open(false);
    server::apply(&cluster.client, &route("shop", "route", "b.example", 1)).await.unwrap();
    let late: Proxy = cluster.another(&scope);
    eventually("what was known", async || (late.told() == told).then_some(())).await;
    assert_eq!(cluster.ir(&scope), told, "nobody is told anything else");
    assert_eq!((cluster.probe("live").await, cluster.probe("ready").await), (Some(200), Some(200)));

    relay.set_open(true);
    eventually("news", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_definitions_that_are_missing_old_or_come_later() {
    let (server, client) = server::bare().await;
    let kubeconfig = server.kubeconfig();
    let mut cluster = Cluster::over(server, client, &kubeconfig).await;
    eventually("readiness", async || (cluster.probe("ready").await == Some(200)).then_some(())).await;

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
        cluster.log().contains("no root for a namespace that is ending").then_some(())
    })
    .await;
    assert!(!cluster.log().contains("the root cannot be written"), "{}", cluster.log());
    for kind in ["httproutes", "gateways", "services"] {
        cluster.server.kubectl(&["delete", kind, "--all", "-n", "goes"]).unwrap();
    }
    server::apply(&cluster.client, &route("stays", "route", "b.example", 1)).await.unwrap();
    eventually("news", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
    assert!(!cluster.log().contains("ERROR"), "{}", cluster.log());
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

/// What a control plane may do that acts as `restricted`: with Secrets, only what Gateways are asked for.
fn rights() -> Vec<Value> {
    let of = |kind: &str, role: &str, namespace: Option<&str>, rules: Value| {
        let metadata = json!({"name": role, "namespace": namespace});
        let version = "rbac.authorization.k8s.io/v1";
        let binding = format!("{kind}Binding");
        let subject =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "restricted"});
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
        [
            json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}),
            json!({"apiVersion": version, "kind": binding, "metadata": metadata, "roleRef": reference,
                "subjects": [subject]}),
        ]
    };
    let groups = [
        "gateway.networking.k8s.io",
        "discovery.k8s.io",
        "multicluster.x-k8s.io",
        "isthmus.dev",
        "apiextensions.k8s.io",
        "coordination.k8s.io",
    ];
    let all = json!([
        {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["services", "namespaces", "configmaps"], "verbs": ["*"]},
    ]);
    let own = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create"]}]);
    let one = json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["cert"],
        "verbs": ["get", "list", "watch"]}]);
    [
        of("ClusterRole", "all", None, all),
        of("Role", "own", Some("isthmus-system"), own),
        of("Role", "one", Some("shop"), one),
    ]
    .concat()
}

/// A Secret with a certificate for this name.
fn certificate(name: &str, host: &str) -> Value {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "shop"},
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_control_plane_reads_the_secrets_that_gateways_refer_to_and_tells_nobody_else() {
    let (server, client) = server::start("standard").await;
    for name in ["shop", "bank", "isthmus-system"] {
        server::apply(&client, &namespace(name)).await.unwrap();
    }
    let rights = json!({"apiVersion": "v1", "kind": "List", "items": rights()});
    server.apply(&rights.to_string()).unwrap();
    let mut kubeconfig: Value =
        serde_json::from_str(&std::fs::read_to_string(server.kubeconfig()).unwrap()).unwrap();
    kubeconfig["users"][0]["user"]["as"] = "restricted".into();
    let directory = tempfile::tempdir().unwrap();
    let restricted = directory.path().join("kubeconfig");
    std::fs::write(&restricted, kubeconfig.to_string()).unwrap();
    let mut cluster = Cluster::over(server, client, &restricted).await;
    server::apply(&cluster.client, &class()).await.unwrap();
    for (name, host) in [("cert", "a.example"), ("other", "b.example")] {
        server::apply(&cluster.client, &certificate(name, host)).await.unwrap();
    }
    let mut shop = gateway("shop", 1);
    let https = json!({"name": "https", "port": 8443, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": "cert"}]}});
    shop["spec"]["listeners"].as_array_mut().unwrap().push(https);
    for gateway in [&shop, &gateway("bank", 1)] {
        server::apply(&cluster.client, gateway).await.unwrap();
        cluster.expose(gateway).await;
    }
    let scopes: [Name; 2] = ["gateway/shop/gw".into(), "gateway/bank/gw".into()];
    let authority = cluster.authority().await;
    cluster.serve(scopes.clone(), &authority).await;
    for gateway in ["Gateway shop/gw", "Gateway bank/gw"] {
        until(&cluster, gateway, "Programmed", "True").await;
    }
    let certificates = |scope: &Name| {
        let told = cluster.ir(scope);
        told.keys().filter(|name| name.starts_with("Certificate ")).cloned().collect::<Vec<_>>()
    };
    let told = certificates(&scopes[0]);
    assert!(told.len() == 1 && told[0].contains("cert"), "{told:?}");
    assert!(certificates(&scopes[1]).is_empty());
    assert!(!cluster.log().contains("may not be read"), "{}", cluster.log());
}
