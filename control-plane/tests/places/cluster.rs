//! A control plane on a real API server, and a hand that makes objects there as people, operators and load
//! balancers do.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use isthmus_api_server::Client;
use isthmus_control_plane::ca::Authority;
use isthmus_crds::names::{AUTHORITY, GATEWAY_LABEL, NAMESPACE, ROOT, of_gateway};
use isthmus_e2e::{api_server::ApiServer, control_plane::ControlPlane, faults, free};
use isthmus_ir::Name;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{proxy::Proxy, server, statuses};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster with a control plane.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) server: ApiServer,
    pub(crate) control_plane: ControlPlane,
    directory: tempfile::TempDir,
    proxies: BTreeMap<Name, Proxy>,
}

impl Cluster {
    /// One with a channel of Gateway API.
    pub(crate) async fn start(channel: &str) -> Self {
        let (server, client) = server::start(channel).await;
        let kubeconfig = server.kubeconfig();
        let cluster = Self::over(server, client, &kubeconfig).await;
        let class = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "isthmus"}, "spec": {"controllerName": "isthmus.dev/gateway"}});
        server::apply(&cluster.client, &class).await.unwrap();
        cluster
    }

    /// One whose control plane reaches its API server by `way`, and acts as `user` where one is given.
    pub(crate) async fn behind(
        way: &faults::Proxy,
        user: Option<&str>,
        server: ApiServer,
        client: Client,
    ) -> Self {
        let kubeconfig = way.kubeconfig(&server, user).unwrap();
        Self::over(server, client, &kubeconfig).await
    }

    /// One whose control plane reaches its API server by this kubeconfig.
    pub(crate) async fn over(server: ApiServer, client: Client, kubeconfig: &Path) -> Self {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        server::apply(&client, &namespace).await.unwrap();
        let install = json!({"apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshInstall",
            "metadata": {"name": "mesh"}, "spec": {}});
        server::apply(&client, &install).await.unwrap();
        let control_plane = ControlPlane::start(kubeconfig, "control-plane-1", free()).unwrap();
        let (directory, proxies) = (tempfile::tempdir().unwrap(), BTreeMap::new());
        Self { client, server, control_plane, directory, proxies }
    }

    /// The most memory that the control plane had so far, in bytes.
    pub(crate) fn peak(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.control_plane.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// How the control plane answers the kubelet; none when it does not.
    pub(crate) async fn probe(&self, what: &str) -> Option<u16> {
        probe(&self.control_plane, what).await
    }

    /// Waits until the control plane is ready.
    pub(crate) async fn ready(&self) {
        eventually("readiness", async || (self.probe("ready").await == Some(200)).then_some(())).await;
    }

    /// Starts a proxy for each of these Gateways.
    pub(crate) async fn serve(&mut self, scopes: impl IntoIterator<Item = Name>, authority: &Authority) {
        let root = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{ROOT}");
        let root = eventually("roots", async || self.get(&root).await).await;
        let roots = self.directory.path().join("root.pem");
        fs::write(&roots, root["data"]["root.pem"].as_str().unwrap()).unwrap();
        for scope in scopes {
            let proxy = Proxy::start(&scope, self.control_plane.listen(), &roots, authority);
            self.proxies.insert(scope, proxy);
        }
    }

    /// One more proxy for a Gateway that has some.
    pub(crate) fn another(&self, scope: &Name) -> Proxy {
        self.proxies[scope].another()
    }

    /// What the cluster keeps of its CA.
    pub(crate) async fn authority(&self) -> Authority {
        let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{AUTHORITY}");
        let secret = eventually("the CA", async || self.get(&secret).await).await;
        let stored = BASE64_STANDARD.decode(secret["data"]["ca.json"].as_str().unwrap()).unwrap();
        let stored = serde_json::from_slice(&stored).unwrap();
        let domain = "local.isthmus.local".parse().unwrap();
        Authority::restore(domain, &stored).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        self.client.request(http::Request::get(path).body(Vec::new()).unwrap()).await.ok()
    }

    /// Makes the Service of a Gateway, as the operator does, and gives it the addresses that the Gateway
    /// asks for, as a load balancer does.
    pub(crate) async fn expose(&self, gateway: &Value) {
        let (namespace, name) =
            (&gateway["metadata"]["namespace"], gateway["metadata"]["name"].as_str());
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": of_gateway(name.unwrap()), "namespace": namespace,
                "labels": {GATEWAY_LABEL: name}},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        });
        let made = server::apply(&self.client, &service).await.unwrap();
        let wanted = gateway["spec"]["addresses"].as_array().into_iter().flatten();
        let wanted = wanted.filter_map(|address| address["value"].as_str()).chain(["203.0.113.1"]);
        let ingress: Vec<_> = wanted.map(|ip| json!({"ip": ip})).collect();
        let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        let path = format!(
            "{}/{}/status",
            server::collection(&service),
            made["metadata"]["name"].as_str().unwrap()
        );
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(status.to_string().into_bytes()).unwrap();
        let _ = self.client.request::<Value>(request).await;
    }

    /// The statuses that are written now, by kind and name.
    pub(crate) async fn statuses(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        for (kind, plural) in
            [("GatewayClass", "gatewayclasses"), ("Gateway", "gateways"), ("HTTPRoute", "httproutes")]
        {
            let path = format!("/apis/gateway.networking.k8s.io/v1/{plural}");
            let listed = self.get(&path).await.unwrap();
            for item in listed["items"].as_array().unwrap() {
                let text = |field: &str| item["metadata"][field].as_str().unwrap_or_default();
                let name = match text("namespace") {
                    "" => text("name").to_owned(),
                    namespace => format!("{namespace}/{}", text("name")),
                };
                found.insert(format!("{kind} {name}"), statuses::comparable(&item["status"]));
            }
        }
        found
    }

    /// What the proxies of a Gateway were told.
    pub(crate) fn ir(&self, scope: &Name) -> BTreeMap<String, Value> {
        self.proxies[scope].told()
    }
}

/// How a control plane answers the kubelet; none when it does not.
pub(crate) async fn probe(control_plane: &ControlPlane, what: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(control_plane.probes()).await.ok()?;
    let request = format!("GET /{what} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// What `look` finds, as soon as it finds something.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        sleep(Duration::from_millis(50)).await;
    }
}
