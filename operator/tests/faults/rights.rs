//! The operator's rights to write: what it does without one fails, as it runs with those of its chart; here
//! each that it has is used by a mesh that is installed, changed and ended.

use std::collections::BTreeSet;

use isthmus_operator::{
    chart,
    component::access,
    object::{self, ObjectKey},
};
use serde_json::json;

use crate::bench::{Bench, until};

/// A verb, and what it was used on: a collection, with its subresource.
type Right = (&'static str, String);

/// The right that a write needed, by what the proxy noted of it.
fn used(noted: &str) -> Option<Right> {
    let [method, uri, code] = noted.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let verb = match (method, code) {
        // Server-side apply makes what is missing.
        ("PATCH" | "POST", "201") => "create",
        ("PATCH", "200") => "patch",
        ("DELETE", "200" | "202") => "delete",
        _ => return None,
    };
    let path: Vec<&str> = uri.split('?').next()?.trim_start_matches('/').split('/').collect();
    let path = path.get(if path.first() == Some(&"api") { 2 } else { 3 }..)?;
    let path = if path.first() == Some(&"namespaces") && path.len() > 2 { path.get(2..)? } else { path };
    let status = if path.last() == Some(&"status") { "/status" } else { "" };
    Some((verb, format!("{}{status}", path.first()?)))
}

/// What the chart lets it write, but for what it only hands on.
fn given() -> BTreeSet<Right> {
    let handed_on = access::cluster_rules();
    let rules = chart::cluster_role_rules().into_iter().filter(|rule| !handed_on.contains(rule));
    let of = |rule: k8s_openapi::api::rbac::v1::PolicyRule| {
        let resources = rule.resources.unwrap_or_default();
        let verbs = ["create", "delete", "patch", "update"].into_iter();
        let verbs = verbs.filter(move |verb| rule.verbs.iter().any(|given| given == verb));
        verbs.flat_map(move |verb| resources.clone().into_iter().map(move |resource| (verb, resource)))
    };
    rules.flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_each_right_to_write_is_used() {
    let bench = Bench::new().await;
    let _operator = bench.operator();
    let spec = |replicas: u8| {
        json!({
            "controlPlane": { "replicas": replicas },
            "proxy": { "replicas": 2, "autoscale": { "maxReplicas": 3 } },
        })
    };
    for replicas in [2, 3] {
        bench.install(&spec(replicas)).await;
        bench.told("True InForce").await;
    }
    let next = json!({
        "apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshRevision", "metadata": { "name": "next" },
        "spec": { "meshInstall": "mesh" },
    });
    bench.apply(&next.to_string());
    let key = ObjectKey::new(object::MESH_REVISION, "", "next");
    until("the revision runs", async || {
        let revision = bench.object(&key).await.ok_or("there is none")?;
        let conditions = revision.data["status"]["conditions"].to_string();
        if conditions.contains("InForce") { Ok(()) } else { Err("it does not say so") }
    })
    .await;
    // What others change is put right, whatever it is.
    for kind in object::OWNED {
        let ours = format!("{}={}", object::OURS.0, object::OURS.1);
        let name = if kind.group.is_empty() {
            kind.plural.to_owned()
        } else {
            format!("{}.{}", kind.plural, kind.group)
        };
        let annotation = format!("{}=another", object::DIGEST);
        let selection = ["--all-namespaces", "--selector", &ours, "--overwrite"];
        let selection = if kind.namespaced { &selection[..] } else { &selection[1..] };
        bench.kubectl(&[&["annotate", &name, &annotation], selection].concat());
    }
    until("all is put right", async || {
        let different = bench.proxy.written();
        let patched: BTreeSet<Right> = different.iter().filter_map(|noted| used(noted)).collect();
        let missing =
            object::OWNED.iter().find(|kind| !patched.contains(&("patch", kind.plural.to_owned())));
        missing.map_or(Ok(()), |kind| Err(kind.plural))
    })
    .await;
    bench.uninstall().await;
    let mesh = ObjectKey::new(object::MESH_INSTALL, "", "mesh");
    until("the mesh is gone", async || match bench.object(&mesh).await {
        None => Ok(()),
        Some(_) => Err("it is there"),
    })
    .await;
    let used: BTreeSet<Right> = bench.proxy.written().iter().filter_map(|noted| used(noted)).collect();
    // An event that is told again is patched, and definitions when another version comes.
    let seldom = [("patch", "events".to_owned()), ("patch", "customresourcedefinitions".to_owned())];
    let unused: Vec<Right> =
        given().into_iter().filter(|right| !used.contains(right) && !seldom.contains(right)).collect();
    assert_eq!(unused, [], "rights that nothing needs");
}
