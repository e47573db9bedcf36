//! An API server with a control plane, and proxies as the operator would run them.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
};

use isthmus_e2e::{
    api_server::ApiServer, conformance, control_plane::ControlPlane, install::NAMESPACE, programs,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    instance::{eventually, free},
    objects::Object,
};

/// Who a control plane is, in a mesh whose MeshInstall says nothing.
const CONTROL_PLANE: &str = "spiffe://local.isthmus.local/ns/isthmus-system/sa/isthmus-control-plane";

/// A mesh without Gateways.
pub struct Mesh {
    server: ApiServer,
    directory: TempDir,
    control_plane: ControlPlane,
}

/// Running proxies; they end with this value.
pub struct Proxies(Vec<Child>);

impl Drop for Proxies {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Mesh {
    pub fn start() -> Self {
        let server = ApiServer::start().unwrap();
        server.define(&conformance::crds("experimental").unwrap()).unwrap();
        server.define_own().unwrap();
        let objects = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
            json!({"apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshInstall",
                "metadata": {"name": "mesh"}, "spec": {}}),
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
                "metadata": {"name": "isthmus"}, "spec": {"controllerName": "isthmus.dev/gateway"}}),
        ];
        server.apply(&list(objects.iter())).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let control_plane =
            ControlPlane::start(&server.kubeconfig(), "control-plane-1", free()).unwrap();
        let mesh = Self { server, directory, control_plane };
        let root = eventually("the roots", || {
            let arguments = ["get", "configmap", "isthmus-root", "-n", NAMESPACE, "-o", "json"];
            serde_json::from_str::<Value>(&mesh.server.kubectl(&arguments).ok()?).ok()
        });
        fs::write(mesh.directory.path().join("roots"), root["data"]["root.pem"].as_str().unwrap())
            .unwrap();
        mesh
    }

    /// Namespaces are implied in a directory.
    pub fn make_namespaces(&self, objects: &[Object]) {
        let names: BTreeSet<&str> = objects.iter().map(Object::namespace).collect();
        let namespaces: Vec<_> = names
            .into_iter()
            .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .collect();
        self.server.apply(&list(namespaces.iter())).unwrap();
    }

    pub fn apply<'a>(&self, objects: impl Iterator<Item = &'a Object>) {
        self.server.apply(&list(objects.map(|object| &object.0))).unwrap();
    }

    pub fn delete<'a>(&self, objects: impl Iterator<Item = &'a Object>) {
        for object in objects.filter(|object| object.kind() != "Namespace") {
            let (kind, namespace, name) = object.identity();
            let _ = self.server.kubectl(&["delete", kind, name, "-n", namespace, "--ignore-not-found"]);
        }
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Value {
        let text = self.server.kubectl(&["get", kind, name, "-n", namespace, "-o", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Starts a proxy for each Gateway, and gives its Service the addresses that it asks for, as operators
    /// and load balancers do.
    pub fn serve(&self, gateways: &[&Object]) -> Proxies {
        let objects: Vec<_> = gateways.iter().flat_map(|gateway| of_gateway(gateway)).collect();
        self.server.apply(&list(objects.iter())).unwrap();
        Proxies(gateways.iter().map(|gateway| self.proxy(gateway)).collect())
    }

    fn proxy(&self, gateway: &Object) -> Child {
        let (namespace, name) = (gateway.namespace(), format!("{}-isthmus", gateway.name()));
        let wanted = gateway.0["spec"]["addresses"].as_array().into_iter().flatten();
        let ingress: Vec<_> = wanted.map(|address| json!({"ip": address["value"]})).collect();
        let status = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
        let patch = ["patch", "service", &name, "-n", namespace, "--subresource=status"];
        self.server.kubectl(&[&patch[..], &["--type=merge", "-p", &status]].concat()).unwrap();
        let pod = self.get("pod", namespace, &name);
        let bound = format!("--bound-object-uid={}", pod["metadata"]["uid"].as_str().unwrap());
        let token = ["create", "token", &name, "-n", namespace, "--audience=isthmus.dev/ca"];
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", &name, &bound];
        let token = self.server.kubectl(&[&token[..], &bound[..]].concat()).unwrap();
        let own = |what: &str| self.directory.path().join(format!("{what}-{namespace}-{name}"));
        let file = own("token");
        fs::write(&file, token.trim()).unwrap();
        Command::new(programs().join("isthmus-proxy"))
            .args(["--control-plane", &self.control_plane.listen().to_string()])
            .args(["--control-plane-id", CONTROL_PLANE])
            .arg("--roots")
            .arg(self.directory.path().join("roots"))
            .arg("--token-file")
            .arg(file)
            .args(["--threads", "2"])
            .stdin(Stdio::null())
            .stderr(fs::File::create(own("log")).unwrap())
            .spawn()
            .unwrap()
    }

    pub fn programmed(&self, gateway: &Object) -> bool {
        let status = self.get("gateway", gateway.namespace(), gateway.name())["status"].take();
        condition(&status, "Programmed").is_some_and(|condition| condition["status"] == "True")
    }

    /// Whether all that can be in force is; Gateways and routes of others are not waited for.
    pub fn settled(&self, objects: &[Object]) -> bool {
        let gateways: Vec<_> = objects.iter().filter(|object| object.is_gateway()).collect();
        objects.iter().all(|object| {
            let status = || self.get(object.kind(), object.namespace(), object.name())["status"].take();
            match object.kind() {
                "Gateway" if object.is_gateway() => is_settled(&status(), "Programmed"),
                "HTTPRoute" if object.has_parent(&gateways) => {
                    let parents = status()["parents"].as_array().cloned().unwrap_or_default();
                    let settled = |parent: &Value| is_settled(parent, "isthmus.dev/Programmed");
                    !parents.is_empty() && parents.iter().all(settled)
                }
                _ => true,
            }
        })
    }
}

fn condition<'a>(of: &'a Value, kind: &str) -> Option<&'a Value> {
    of["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether something is in force, or cannot be as it is.
fn is_settled(of: &Value, kind: &str) -> bool {
    condition(of, kind)
        .is_some_and(|condition| condition["status"] == "True" || condition["reason"] == "Invalid")
}

/// What the operator makes of a Gateway, as far as it matters here.
fn of_gateway(gateway: &Object) -> [Value; 3] {
    let name = format!("{}-isthmus", gateway.name());
    let metadata = json!({"name": name, "namespace": gateway.namespace(),
        "labels": {"gateway.networking.k8s.io/gateway-name": gateway.name()}});
    let container = json!({"name": "proxy", "image": "none"});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
            "serviceAccountName": name, "automountServiceAccountToken": false,
            "containers": [container]}}),
    ]
}

fn list<'a>(items: impl Iterator<Item = &'a Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>()}).to_string()
}
