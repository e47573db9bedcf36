//! Who writes to an API server, and when nobody does.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use isthmus_api_server::Client;
use isthmus_crds::names::{NAMESPACE, control_plane};
use isthmus_e2e::{
    api_server::ApiServer,
    control_plane::ControlPlane,
    faults::{Fault, Proxy as Way},
    free, programs,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{class, condition, gateway, namespace, route, serve};
use crate::{
    cluster::{Cluster, eventually, probe},
    server,
};

/// Nothing is on its way any more when nothing was written for so long: longer than any pause of ours
/// between two attempts.
const QUIET: Duration = Duration::from_secs(5);
/// For how long nothing may be written.
const REST: Duration = Duration::from_secs(20);
/// Between two heartbeats of others.
const BEAT: Duration = Duration::from_secs(1);

const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/gw";
const MESH_INSTALL: &str = "/apis/isthmus.dev/v1alpha1/meshinstalls/mesh";

/// Waits until nothing is written any more.
async fn settled(way: &Way) {
    eventually("rest", async || {
        way.does(Fault::None);
        // That nothing comes shows only in time.
        sleep(QUIET).await;
        (way.writes() == 0).then_some(())
    })
    .await;
}

/// What others write for as long as they like: labels and annotations of theirs on what is read and on what
/// was made, and conditions of theirs in the status of `shop/gw`.
async fn others_write(client: &Client, objects: &[&str]) {
    let started = Instant::now();
    let mut beat = 0;
    while started.elapsed() < REST {
        beat += 1;
        let said = format!("b{beat}");
        let fields = json!({"example.com/beat": said});
        for object in objects {
            let mut metadata = json!({"labels": fields});
            // An annotation makes a new generation of a Deployment, and nobody here says that it runs.
            if !object.contains("/deployments/") {
                metadata["annotations"] = fields.clone();
            }
            patch(client, object, "merge-patch+json", &json!({"metadata": metadata})).await;
        }
        let condition = json!({"type": "example.com/Beat", "status": "True", "reason": "Alive",
            "message": said, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "gw"}, "status": {"conditions": [condition]}});
        let path = format!("{GATEWAY}/status?fieldManager=somebody");
        patch(client, &path, "apply-patch+yaml", &status).await;
        sleep(BEAT).await;
    }
    assert!(beat > 3, "others wrote {beat} times");
}

async fn patch(client: &Client, path: &str, kind: &str, change: &Value) {
    let request = http::Request::patch(path).header("content-type", format!("application/{kind}"));
    let request = request.body(change.to_string().into_bytes()).unwrap();
    let _: Value = client.request(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_a_control_plane_at_rest_writes_leases_only_whatever_others_write() {
    let (server, client) = server::start("standard").await;
    let way = Way::before(&server).await.unwrap();
    let mut cluster = Cluster::behind(&way, None, server, client).await;
    server::apply(&cluster.client, &class()).await.unwrap();
    serve(&mut cluster, "shop").await;
    settled(&way).await;
    let objects = [
        GATEWAY,
        MESH_INSTALL,
        "/apis/gateway.networking.k8s.io/v1/gatewayclasses/isthmus",
        "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/route",
        "/api/v1/namespaces/shop",
        "/api/v1/namespaces/shop/services/gw-isthmus",
        "/api/v1/namespaces/shop/configmaps/isthmus-root",
        "/api/v1/namespaces/isthmus-system/secrets/isthmus-ca",
    ];
    others_write(&cluster.client, &objects).await;
    assert_eq!(way.written(), [""; 0]);
    assert_eq!(way.writes(), 0);
    assert!(!way.asked().is_empty(), "the Lease is renewed");
    // It is not that nothing would be written at all.
    server::apply(&cluster.client, &route("shop", "late", "late.example", 1)).await.unwrap();
    eventually("a write", async || (way.writes() > 0).then_some(())).await;
}

/// An operator. To drop it is to kill it.
struct Operator(Child);

impl Operator {
    fn start(server: &ApiServer, way: &Way) -> Self {
        let mut command = Command::new(programs().join("isthmus"));
        command.arg("operator").arg("--kubeconfig").arg(way.kubeconfig(server, None).unwrap());
        command.env("POD_NAME", "operator-0").env("ISTHMUS_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Says of each Deployment what is said when its pods run.
fn run_pods(server: &ApiServer) -> Option<()> {
    let listed = server.kubectl(&["get", "deployments", "-A", "-o", "json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let deployments = listed["items"].as_array().unwrap();
    for deployment in deployments {
        let text = |field: &str| deployment["metadata"][field].as_str().unwrap();
        let replicas = &deployment["spec"]["replicas"];
        let status = json!({"status": {"observedGeneration": deployment["metadata"]["generation"],
            "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas,
            "availableReplicas": replicas}});
        let patch = ["patch", "deployment", text("name"), "-n", text("namespace"), "--type=merge"];
        let status = ["--subresource=status", "-p", &status.to_string()];
        server.kubectl(&[&patch[..], &status[..]].concat()).unwrap();
    }
    // The control plane, and the proxies of the Gateway.
    (deployments.len() == 2).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f9_an_operator_at_rest_writes_leases_only_whatever_others_write() {
    let (server, client) = server::start("standard").await;
    for name in [NAMESPACE, "shop"] {
        server::apply(&client, &namespace(name)).await.unwrap();
    }
    server::apply(&client, &gateway("shop", 1)).await.unwrap();
    let install = json!({"apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshInstall",
        "metadata": {"name": "mesh"}, "spec": {}});
    server::apply(&client, &install).await.unwrap();
    let way = Way::before(&server).await.unwrap();
    let _operator = Operator::start(&server, &way);
    eventually("pods", async || run_pods(&server)).await;
    eventually("the install", async || {
        run_pods(&server);
        let request = http::Request::get(MESH_INSTALL).body(Vec::new()).unwrap();
        let install: Value = client.request(request).await.unwrap();
        (condition(&install["status"], "Ready") == Some("True")).then_some(())
    })
    .await;
    settled(&way).await;
    let objects = [
        GATEWAY,
        MESH_INSTALL,
        "/api/v1/namespaces/shop",
        "/api/v1/namespaces/shop/services/gw-isthmus",
        "/apis/apps/v1/namespaces/shop/deployments/gw-isthmus",
        "/apis/apps/v1/namespaces/isthmus-system/deployments/isthmus-control-plane",
    ];
    others_write(&client, &objects).await;
    assert_eq!(way.written(), [""; 0]);
    assert_eq!(way.writes(), 0);
    // It is not that nothing would be written at all.
    server.kubectl(&["delete", "service", "gw-isthmus", "-n", "shop"]).unwrap();
    eventually("a write", async || (way.writes() > 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_leader_that_was_stopped_writes_nothing_when_it_goes_on() {
    const ROUTES: usize = 100;
    let (server, client) = server::start("standard").await;
    let (way, next_way) = (Way::before(&server).await.unwrap(), Way::before(&server).await.unwrap());
    let mut cluster = Cluster::behind(&way, None, server, client).await;
    server::apply(&cluster.client, &class()).await.unwrap();
    serve(&mut cluster, "shop").await;
    let kubeconfig = next_way.kubeconfig(&cluster.server, None).unwrap();
    let next = ControlPlane::start(&kubeconfig, "control-plane-2", free()).unwrap();
    eventually("the next one", async || (probe(&next, "ready").await == Some(200)).then_some(())).await;

    // It is stopped with much to write.
    let make = async |host: &str| {
        for index in 0..ROUTES {
            let host = format!("{index}.{host}");
            let route = route("shop", &format!("r{index}"), &host, 1);
            server::apply(&cluster.client, &route).await.unwrap();
        }
    };
    make("a.example").await;
    cluster.control_plane.signal("STOP").unwrap();
    make("b.example").await;
    let lease =
        format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{}", control_plane(None));
    eventually("the next one to lead", async || {
        let lease = cluster.get(&lease).await?;
        (lease["spec"]["holderIdentity"] == "control-plane-2").then_some(())
    })
    .await;
    way.does(Fault::None);
    cluster.control_plane.signal("CONT").unwrap();
    eventually("the end of its Lease", async || {
        cluster.control_plane.log().contains("lease lost").then_some(())
    })
    .await;
    make("c.example").await;
    eventually("the statuses", async || {
        let statuses = cluster.statuses().await;
        let said = |index: usize| statuses.get(&format!("HTTPRoute shop/r{index}")).cloned();
        let written = |status: Value| {
            let conditions = status["parents"][0]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|one| one["type"] == "Accepted" && one["observedGeneration"] == 3)
        };
        (0..ROUTES).all(|index| said(index).is_some_and(written)).then_some(())
    })
    .await;
    // What it had begun to send when it was stopped is of the past, and refused as that.
    let taken: Vec<_> = way.written().into_iter().filter(|write| !write.ends_with(" 409")).collect();
    assert_eq!(taken, [""; 0], "of one that leads no more");
    assert!(next_way.written().len() >= ROUTES, "the next one writes");
}
