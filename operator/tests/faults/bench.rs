//! A real API server with the definitions of Gateway API and the rights of the operator, a proxy that makes
//! the faults, and the operator as its pod runs it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use isthmus_api_server::{Client, Event, Resource, Watched, connect, follow};
use isthmus_e2e::{api_server::ApiServer, conformance, faults::Proxy, programs};
use isthmus_operator::{
    apply::{self, apply},
    chart,
    object::{self, Kind, Manifest, OURS, OWNED, ObjectKey},
    observe::observe,
    observed::Place,
    plan::{Plan, next},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{sync::mpsc, task::block_in_place, time::sleep};

/// Enough for anything here on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// Between two looks, each of which lists all that the operator may make.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) const PLACES: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: isthmus-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: isthmus
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: web}]}}
";

/// What there is, by kind and name, without what is different each time.
pub(crate) type State = BTreeMap<String, Value>;

pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) proxy: Proxy,
    kubeconfig: PathBuf,
    server: ApiServer,
}

/// A way to the API server.
pub(crate) struct Way {
    pub(crate) proxy: Proxy,
    kubeconfig: PathBuf,
}

impl Way {
    /// Another operator, by this way.
    pub(crate) fn operator(&self) -> Operator {
        Operator::start("operator-1", &self.kubeconfig)
    }
}

/// Who the operator is.
const ACCOUNT: &str = "system:serviceaccount:isthmus-system:isthmus-operator";

impl Bench {
    pub(crate) async fn new() -> Self {
        let server = block_in_place(|| ApiServer::start().unwrap());
        let client = connect(Some(&server.kubeconfig()), None).await.unwrap();
        let proxy = Proxy::before(&server).await.unwrap();
        let kubeconfig = proxy.kubeconfig(&server, Some(ACCOUNT)).unwrap();
        let bench = Self { client, proxy, kubeconfig, server };
        bench.define_gateway_api(&gateway_api());
        bench.apply(PLACES);
        bench.permit(|_| true);
        tokio::spawn(run_pods(bench.client.clone()));
        bench
    }

    /// A kubeconfig of the administrator, past the proxy.
    pub(crate) fn administrator(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        block_in_place(|| self.server.kubectl(arguments).unwrap())
    }

    pub(crate) fn apply(&self, manifests: &str) {
        block_in_place(|| self.server.apply(manifests).unwrap());
    }

    /// Applies the definitions of Gateway API, and waits until they are in force.
    pub(crate) fn define_gateway_api(&self, definitions: &str) {
        block_in_place(|| self.server.define(definitions).unwrap());
    }

    /// Gives the operator the rights of its chart on these resources, and no others.
    pub(crate) fn permit(&self, on: impl Fn(&str) -> bool) {
        let mut roles = chart::roles();
        for rules in roles.iter_mut().filter_map(|role| role.get_mut("rules")?.as_array_mut()) {
            rules.retain(|rule| {
                rule["resources"].as_array().unwrap().iter().any(|r| on(r.as_str().unwrap()))
            });
        }
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": roles }).to_string();
        self.apply(&list.replace("{{ .Release.Namespace }}", "isthmus-system"));
    }

    /// Applies the definitions of the operator's own kinds as the chart does, each as `change` leaves it.
    pub(crate) fn define(&self, change: impl FnMut(&mut Value)) {
        let mut definitions: Vec<Value> = chart::definitions().into_values().collect();
        definitions.iter_mut().for_each(change);
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": definitions }).to_string();
        block_in_place(|| self.server.define(&list).unwrap());
    }

    /// Writes the MeshInstall.
    pub(crate) async fn install(&self, spec: &Value) {
        let install = json!({ "metadata": { "name": "mesh" }, "spec": spec });
        let install = Manifest::bare(object::MESH_INSTALL, &install);
        let written = until("the MeshInstall is taken", async || {
            apply::write(&self.client, &install).await.map_err(|error| error.to_string())
        });
        written.await;
    }

    /// Waits until so many connections were refused.
    pub(crate) async fn refused(&self, most: usize) {
        until("connections are refused", async || {
            let refused = self.proxy.refused();
            if refused >= most { Ok(()) } else { Err(format!("{refused} were")) }
        })
        .await;
    }

    pub(crate) async fn uninstall(&self) {
        let key = ObjectKey::new(object::MESH_INSTALL, "", "mesh");
        apply::delete(&self.client, &key).await.unwrap();
    }

    /// Another way to the API server, with the operator's rights.
    pub(crate) async fn another_way(&self) -> Way {
        let proxy = Proxy::before(&self.server).await.unwrap();
        let kubeconfig = proxy.kubeconfig(&self.server, Some(ACCOUNT)).unwrap();
        Way { proxy, kubeconfig }
    }

    /// The operator, which acts from now on, until this is dropped.
    pub(crate) fn operator(&self) -> Operator {
        Operator::start("operator-0", &self.kubeconfig)
    }

    pub(crate) async fn object(&self, key: &ObjectKey) -> Option<DynamicObject> {
        let resource = key.kind.resource();
        let api: Api<DynamicObject> = match key.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        api.get_opt(&key.name).await.unwrap()
    }

    /// Waits until the MeshInstall's condition Ready says so.
    pub(crate) async fn told(&self, wanted: &str) {
        let key = ObjectKey::new(object::MESH_INSTALL, "", "mesh");
        let told = until("the MeshInstall says so", async || {
            let install = self.object(&key).await.ok_or("there is none")?;
            let conditions =
                install.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().find(|one| one["type"] == "Ready").ok_or("no Ready")?;
            let text = |field: &str| ready[field].as_str().unwrap_or_default();
            let told = format!("{} {}: {}", text("status"), text("reason"), text("message"));
            if told.contains(wanted) { Ok(()) } else { Err(format!("{told:?}, not {wanted:?}")) }
        });
        told.await;
    }

    /// All that the operator made, and the MeshInstall.
    pub(crate) async fn state(&self) -> State {
        let mut state = State::new();
        let ours = ListParams::default().labels(&format!("{}={}", OURS.0, OURS.1));
        let all = OWNED.iter().map(|kind| (*kind, &ours));
        let installs = ListParams::default();
        for (kind, selection) in all.chain([(object::MESH_INSTALL, &installs)]) {
            for object in self.list(kind, selection).await {
                let key = ObjectKey::of(kind, &object);
                let mut value = serde_json::to_value(object).unwrap();
                forget(&mut value);
                state.insert(key.to_string(), value);
            }
        }
        state
    }

    async fn list(&self, kind: &Kind, selection: &ListParams) -> Vec<DynamicObject> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.resource());
        match api.list(selection).await {
            Ok(list) => list.items,
            // Its definition is not there yet.
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The definitions of Gateway API.
pub(crate) fn gateway_api() -> String {
    block_in_place(|| conformance::crds("standard")).unwrap()
}

/// A process of the operator. To drop it is to kill it; a test that fails shows what it said.
pub(crate) struct Operator {
    process: Child,
    log: NamedTempFile,
}

impl Operator {
    fn start(name: &str, kubeconfig: &Path) -> Self {
        let mut command = Command::new(programs().join("isthmus"));
        command.arg("operator").arg("--kubeconfig").arg(kubeconfig);
        command.env("POD_NAME", name).env("ISTHMUS_LOG", "info");
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.reopen().unwrap());
        Self { process: command.spawn().unwrap(), log }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Whether it has not ended by itself.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Operator {
    #[allow(clippy::print_stderr, reason = "a test that fails says why")]
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("the operator said:\n{}", self.said());
        }
    }
}

/// What is to be done next.
pub(crate) async fn planned(bench: &Bench) -> Plan {
    next(&observe(&bench.client, Place::default()).await.unwrap())
}

/// Does all that is to be done.
pub(crate) async fn settle(bench: &Bench) {
    until("nothing is to be done", async || {
        let plan = planned(bench).await;
        let applied = apply(&bench.client, &plan, &|| true).await;
        assert!(applied.failures.is_empty(), "{:?}", applied.failures);
        if plan.steps.is_empty() { Ok(()) } else { Err("there is something") }
    })
    .await;
}

/// Waits until it is so.
pub(crate) async fn until<T, E: ToString>(what: &str, mut so: impl AsyncFnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match so().await {
            Ok(value) => return value,
            Err(why) => {
                assert!(
                    started.elapsed() < PATIENCE,
                    "not within {PATIENCE:?}: {what}: {}",
                    why.to_string()
                );
            }
        }
        sleep(LOOK).await;
    }
}

/// Removes what is different each time: uids, versions, times, what the API server allots, and digests of
/// those.
fn forget(value: &mut Value) {
    const EACH_TIME: &[&str] = &[
        "clusterIP",
        "clusterIPs",
        "creationTimestamp",
        "generation",
        "isthmus.dev/digest",
        "lastTransitionTime",
        "managedFields",
        "nodePort",
        "observedGeneration",
        "resourceVersion",
        "uid",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !EACH_TIME.contains(&name.as_str()));
            fields.values_mut().for_each(forget);
        }
        Value::Array(entries) => entries.iter_mut().for_each(forget),
        _ => {}
    }
}

/// Does what controllers do: pods of each Deployment run at once, and those of one that is to go end.
async fn run_pods(client: Client) {
    let resource = Resource {
        group: "apps".to_owned(),
        versions: vec!["v1".to_owned()],
        kind: "Deployment".to_owned(),
    };
    let (events, mut told) = mpsc::channel(16);
    tokio::spawn(follow(client.clone(), Watched::all(resource), events));
    while let Some(event) = told.recv().await {
        let Event::Upsert(deployment) = event else { continue };
        let namespace = deployment.metadata.namespace.clone().unwrap();
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &namespace, &object::DEPLOYMENT.resource());
        let (name, params) = (deployment.metadata.name.as_deref().unwrap(), PatchParams::default());
        // One that is gone meanwhile needs nothing.
        if deployment.metadata.deletion_timestamp.is_some() {
            let patch = json!({ "metadata": { "finalizers": null } });
            let _ = api.patch(name, &params, &Patch::Merge(&patch)).await;
        } else if deployment.data.pointer("/status/observedGeneration")
            != Some(&json!(deployment.metadata.generation))
        {
            let replicas = &deployment.data["spec"]["replicas"];
            let status = json!({
                "observedGeneration": deployment.metadata.generation,
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
            });
            let _ = api.patch_status(name, &params, &Patch::Merge(&json!({ "status": status }))).await;
        }
    }
}
