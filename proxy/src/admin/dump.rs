//! Everything that is in force, as JSON, without secrets.

use isthmus_ir::Resource;
use serde_json::{Value, json};

use crate::Proxy;

/// The resources by kind, and what the proxy knows of their state.
pub(super) fn render(proxy: &Proxy) -> String {
    let mut kinds = serde_json::Map::new();
    proxy.with_resources(|resource| {
        let list = kinds.entry(resource.key().kind.as_str()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(shown(resource));
        }
    });
    let snapshot = proxy.snapshot();
    let endpoints: Vec<Value> = snapshot
        .services
        .iter()
        .flatten()
        .flat_map(|service| &service.endpoints)
        .map(|endpoint| {
            json!({
                "service": endpoint.service,
                "endpoint": endpoint.spec.id,
                "up": endpoint.is_up(),
                "ejections": endpoint.health.ejections(),
            })
        })
        .collect();
    let unbound: Vec<Value> = proxy
        .unbound()
        .into_iter()
        .map(|(listener, reason)| json!({ "listener": listener, "reason": reason }))
        .collect();
    let dump = json!({
        "revision": snapshot.revision,
        "resources": kinds,
        "endpoints": endpoints,
        "unbound": unbound,
    });
    // With keys and values that are all text, this cannot fail.
    serde_json::to_string_pretty(&dump).unwrap_or_default()
}

/// A resource without what must not be shown. Certificates have no serialized form at all.
fn shown(resource: &Resource) -> Value {
    let shown = match resource {
        Resource::Listener(r) => serde_json::to_value(r),
        Resource::Route(r) => serde_json::to_value(r),
        Resource::Handle(r) => serde_json::to_value(r),
        Resource::Service(r) => serde_json::to_value(r),
        Resource::Endpoints(r) => serde_json::to_value(r),
        Resource::Peer(r) => serde_json::to_value(r),
        Resource::Certificate(r) => Ok(json!({ "name": r.name, "certificates": r.chain.len() })),
        Resource::TrustBundle(r) => {
            Ok(json!({ "trust_domain": r.trust_domain, "roots": r.roots.len() }))
        }
    };
    shown.unwrap_or(Value::Null)
}
