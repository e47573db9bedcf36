//! Case F17: objects as large as their definitions allow.

use isthmus_operator::object::{self, ObjectKey};
use kube::{
    Api,
    api::{ApiResource, ListParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    bench::{Bench, until},
    revisions::ControlPlane,
};

const ROUTES: usize = 5000;
const LISTENERS: u16 = 64;
const PARENTS: usize = 16;
/// Written at a time.
const AT_ONCE: usize = 50;

fn http_routes() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"))
}

fn route(name: &str, parents: &[Value]) -> DynamicObject {
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "parentRefs": parents, "rules": [{ "backendRefs": [{ "name": "nothing", "port": 80 }] }] },
    });
    serde_json::from_value(object).unwrap()
}

async fn create(api: &Api<DynamicObject>, routes: impl Iterator<Item = DynamicObject>) {
    let mut routes = routes.peekable();
    while routes.peek().is_some() {
        let mut writes = JoinSet::new();
        for route in routes.by_ref().take(AT_ONCE) {
            let api = api.clone();
            writes.spawn(async move { api.create(&PostParams::default(), &route).await.unwrap() });
        }
        writes.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_statuses_of_the_largest_objects_are_whole() {
    let bench = Bench::new().await;
    bench.define(|_| {});
    let operator = bench.operator();
    bench.install(&json!({})).await;
    bench.told("True InForce").await;
    let listeners =
        (0..LISTENERS).map(|n| json!({"name": format!("l{n}"), "port": 8000 + n, "protocol": "HTTP"}));
    let spec = json!({ "gatewayClassName": "isthmus", "listeners": listeners.collect::<Vec<_>>() });
    let meta = json!({ "name": "large", "namespace": "shop" });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": meta, "spec": spec,
    });
    bench.apply(&gateway.to_string());
    let service = ObjectKey::new(object::SERVICE, "shop", "large-isthmus");
    let service = until("it is run", async || bench.object(&service).await.ok_or("it is not")).await;
    assert_eq!(service.data["spec"]["ports"].as_array().unwrap().len(), usize::from(LISTENERS));
    drop(operator);

    let _control_plane = ControlPlane::start(&bench, &[]);
    let api: Api<DynamicObject> = Api::namespaced_with(bench.client.clone(), "shop", &http_routes());
    let to = |section: String| json!({ "name": "large", "sectionName": section });
    let many: Vec<Value> = (0..PARENTS).map(|n| to(format!("l{n}"))).collect();
    let all = (0..ROUTES).map(|n| route(&format!("r{n}"), &[to("l0".to_owned())]));
    create(&api, all.chain([route("many", &many)])).await;

    let large = ObjectKey::new(object::GATEWAY, "shop", "large");
    until("each route is counted", async || {
        let gateway = bench.object(&large).await.ok_or("there is none")?;
        let listeners = gateway.data["status"]["listeners"].as_array().cloned().unwrap_or_default();
        let counts: Vec<&Value> = listeners.iter().map(|listener| &listener["attachedRoutes"]).collect();
        let whole = counts.len() == usize::from(LISTENERS) && *counts[0] == json!(ROUTES + 1);
        if whole { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    let parents = |route: &DynamicObject| route.data["status"]["parents"].as_array().map_or(0, Vec::len);
    // To list them all costs much: the one that was made last has its status last.
    until("the last route has its status", async || {
        let last = api.get("many").await.map_err(|error| error.to_string())?;
        if parents(&last) == PARENTS { Ok(()) } else { Err(format!("{} parents", parents(&last))) }
    })
    .await;
    until("each route has its status", async || {
        let routes = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let told: usize = routes.items.iter().map(parents).sum();
        if told == ROUTES + PARENTS { Ok(()) } else { Err(format!("{told} parents")) }
    })
    .await;
}
