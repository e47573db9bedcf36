//! Rights that a control plane has, and has no more.

use isthmus_crds::names::NAMESPACE;
use isthmus_e2e::faults::{Fault, Proxy as Way};
use isthmus_ir::Name;
use serde_json::{Value, json};

use super::{class, gateway, namespace, route, says, serve, until};
use crate::{
    cluster::{Cluster, eventually},
    server,
};

/// The kinds of Gateway API that are read.
const KINDS: &[&str] =
    &["backendtlspolicies", "gatewayclasses", "gateways", "httproutes", "referencegrants"];

/// What a control plane may do that acts as `restricted`, on these kinds of Gateway API; with Secrets, only
/// what Gateways are asked for.
fn rights(kinds: &[&str]) -> Value {
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
    let kinds: Vec<_> =
        kinds.iter().flat_map(|kind| [(*kind).to_owned(), format!("{kind}/status")]).collect();
    let groups = [
        "discovery.k8s.io",
        "multicluster.x-k8s.io",
        "isthmus.dev",
        "apiextensions.k8s.io",
        "coordination.k8s.io",
    ];
    let all = json!([
        {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": kinds, "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["services", "namespaces", "configmaps"], "verbs": ["*"]},
    ]);
    let own = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create"]}]);
    let one = json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["cert"],
        "verbs": ["get", "list", "watch"]}]);
    let all = [
        of("ClusterRole", "all", None, all),
        of("Role", "own", Some(NAMESPACE), own),
        of("Role", "one", Some("shop"), one),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": all.concat()})
}

/// A cluster with a control plane that acts as `restricted`, and may do all that it has to, and its way to
/// the API server.
async fn restricted() -> (Cluster, Way) {
    let (server, client) = server::start("standard").await;
    for name in ["shop", "bank", NAMESPACE] {
        server::apply(&client, &namespace(name)).await.unwrap();
    }
    server.apply(&rights(KINDS).to_string()).unwrap();
    let way = Way::before(&server).await.unwrap();
    let cluster = Cluster::behind(&way, Some("restricted"), server, client).await;
    (cluster, way)
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
    let (mut cluster, _way) = restricted().await;
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
    assert!(!cluster.control_plane.log().contains("may not be read"), "{}", cluster.control_plane.log());
}

/// How often it was said that routes may not be read.
fn refusals(cluster: &Cluster) -> usize {
    let log = cluster.control_plane.log();
    log.lines().filter(|line| line.contains("may not be read") && line.contains("HTTPRoute")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_f18_a_kind_that_may_not_be_read_any_more_takes_nothing_from_proxies() {
    let (mut cluster, way) = restricted().await;
    server::apply(&cluster.client, &class()).await.unwrap();
    let scope = serve(&mut cluster, "shop").await;
    let told = cluster.ir(&scope);
    assert!(says(&told, "a.example"));

    let others: Vec<_> = KINDS.iter().copied().filter(|kind| *kind != "httproutes").collect();
    cluster.server.apply(&rights(&others).to_string()).unwrap();
    // Watches that are open go on, whoever may still begin one: these end here.
    way.does(Fault::Gone);
    eventually("the refusal", async || (refusals(&cluster) == 1).then_some(())).await;
    server::apply(&cluster.client, &route("shop", "route", "b.example", 1)).await.unwrap();
    // Another kind goes on.
    server::apply(&cluster.client, &gateway("shop", 2)).await.unwrap();
    eventually("another listener", async || says(&cluster.ir(&scope), "8081").then_some(())).await;
    assert!(says(&cluster.ir(&scope), "a.example"), "what was known of routes stands");
    assert_eq!(cluster.probe("ready").await, Some(200));

    let told = cluster.ir(&scope);
    cluster.control_plane.restart().unwrap();
    eventually("life", async || (cluster.probe("live").await == Some(200)).then_some(())).await;
    let late = cluster.another(&scope);
    eventually("the refusal", async || (refusals(&cluster) == 2).then_some(())).await;
    assert_eq!(cluster.ir(&scope), told, "nothing is removed that may still be there");
    assert!(late.told().is_empty(), "nobody is told a part of it");
    assert_eq!(cluster.probe("ready").await, Some(503), "not everything is known");

    cluster.server.apply(&rights(KINDS).to_string()).unwrap();
    cluster.ready().await;
    eventually("news", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
    eventually("news for all", async || (late.told() == cluster.ir(&scope)).then_some(())).await;
}
