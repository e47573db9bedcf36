//! Golden cases of Gateway API: `gateway/testdata/<case>/input.yaml` goes through [`Compiler`], and what
//! proxies are told and what users read must be `ir.yaml` and `status.yaml` beside it.
//!
//! The first line of each file names the rule that the case pins. `UPDATE_EXPECT=1` rewrites the outputs.
//! Of several versions of an object the earlier ones were applied before. One proxy serves each Gateway,
//! and has acked everything.
//!
//! [`Compiler`]: isthmus_compiler::Compiler

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by a panic")]

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use expect_test::expect_file;
use isthmus_compiler::{Compiler, implied_class};
use isthmus_east_west::handle::HandleKey;
use isthmus_ir::{Name, Resource};
use isthmus_world::{
    Change, Kind, KindState, ObjectKey,
    fact::{MeshSettings, ProxyReport, ServiceScope},
    ingest,
    ingest::DynamicObject,
};
use serde_json::{Map, Value, json};

fn settings() -> MeshSettings {
    MeshSettings {
        cluster: "east".into(),
        trust_domain: "east".parse().unwrap(),
        network: "default".into(),
        zone: None,
        east_west: Vec::new(),
        federation: None,
        gateway_identity: None,
        service_scope: ServiceScope::Cluster,
        names: None,
        place: isthmus_world::fact::Place::Host,
    }
}

fn compiled(input: &str) -> Compiler {
    let objects: Vec<Value> = serde_saphyr::from_multiple(input).unwrap();
    let mut compiler = Compiler::new(settings(), HandleKey::new([0; 32]));
    compiler.apply(Change::Upsert(implied_class()));
    for object in objects {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        compiler.apply(ingest(object).unwrap());
    }
    for kind in Kind::ALL {
        compiler.apply(Change::Kind { kind, state: KindState::Synced });
    }
    let revision = compiler.refresh().revision;
    let scopes: Vec<Name> = compiler.scopes().cloned().collect();
    for scope in scopes {
        let report = ProxyReport { revision, ..ProxyReport::default() };
        compiler.apply(Change::Proxy { scope, proxy: "proxy-1".into(), report: Some(report) });
    }
    compiler.refresh();
    compiler
}

/// What scopes are told, each resource once, without what is as it always is.
fn ir(compiler: &Compiler) -> String {
    let mut told = BTreeMap::new();
    for scope in compiler.scopes() {
        for resource in compiler.snapshot(scope).unwrap() {
            let key = resource.key();
            told.insert(format!("{} {}", key.kind.as_str(), key.name), plain(&resource));
        }
    }
    yaml(&told.into_iter().collect::<Map<_, _>>().into())
}

fn plain(resource: &Resource) -> Value {
    let mut value = match resource {
        Resource::Listener(r) => serde_json::to_value(&**r),
        Resource::Route(r) => serde_json::to_value(&**r),
        Resource::Service(r) => serde_json::to_value(&**r),
        Resource::Endpoints(r) => serde_json::to_value(&**r),
        Resource::Certificate(r) => {
            Ok(json!({ "chain": r.chain.len(), "key": format!("{:?}", r.key.format) }))
        }
        other => Ok(format!("{other:?}").into()),
    }
    .unwrap();
    let dull = [
        "name",
        "route",
        "rule",
        "retry",
        "gateway",
        "section",
        "object",
        "port",
        "health",
        "balancing",
        "overprovision_percent",
        "service",
        "cluster",
        "id",
    ];
    if let Value::Object(fields) = &mut value {
        let keep_port = matches!(resource, Resource::Listener(_));
        let keep_retry = fields.get("retry").is_some_and(|retry| retry["explicit"] == true);
        let kept = |name: &str| (keep_port && name == "port") || (keep_retry && name == "retry");
        fields.retain(|name, _| !dull.contains(&name.as_str()) || kept(name));
    }
    if value["created"] == 0 {
        value["created"] = Value::Null;
    }
    pruned(value).unwrap_or(json!({}))
}

/// Without nulls and what is empty.
fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(items.into_iter().filter_map(pruned).collect()),
        Value::Object(fields) if fields.len() == 2 && fields.contains_key("nanos") => {
            let millis = fields["secs"].as_u64()? * 1000 + fields["nanos"].as_u64()? / 1_000_000;
            Some(format!("{millis} ms").into())
        }
        Value::Object(fields) => {
            let fields: Map<_, _> =
                fields.into_iter().filter_map(|(k, v)| Some((k, pruned(v)?))).collect();
            (!fields.is_empty()).then(|| fields.into())
        }
        other => Some(other),
    }
}

/// Statuses, a condition a line, without the implied class.
fn statuses(compiler: &Compiler) -> String {
    let mut told = Map::new();
    for change in compiler.statuses() {
        let Some(status) = change.status else { continue };
        if change.kind == Kind::GatewayClass && change.object.name == "isthmus" {
            continue;
        }
        let object = match change.object.namespace.as_str() {
            "" => change.object.name.clone(),
            namespace => format!("{namespace}/{}", change.object.name),
        };
        told.insert(format!("{} {object}", change.kind.as_str()), readable(&status));
    }
    yaml(&told.into())
}

/// What a status says, in fewer lines: conditions, addresses, and the same of each listener and parent.
fn readable(status: &Value) -> Value {
    let list = |field: &str| status[field].as_array().cloned().unwrap_or_default();
    let mut told = conditions(&list("conditions"));
    let addresses: Vec<_> = list("addresses").iter().map(|a| a["value"].clone()).collect();
    if !addresses.is_empty() {
        told.insert("addresses".to_owned(), addresses.into());
    }
    for listener in list("listeners") {
        let mut listed = conditions(listener["conditions"].as_array().unwrap());
        let kinds: Vec<_> = listener["supportedKinds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|k| k["kind"].as_str().unwrap())
            .collect();
        listed.insert(
            "routes".to_owned(),
            format!("{} {}", listener["attachedRoutes"], kinds.join(", ")).into(),
        );
        told.insert(format!("listener {}", listener["name"].as_str().unwrap()), listed.into());
    }
    for parent in list("parents") {
        assert_eq!(parent["controllerName"], "isthmus.dev/gateway");
        let listed = conditions(parent["conditions"].as_array().unwrap());
        told.insert(parent_name(&parent["parentRef"]), listed.into());
    }
    told.into()
}

fn parent_name(reference: &Value) -> String {
    let field = |name: &str| match &reference[name] {
        Value::Null => String::new(),
        Value::String(text) => format!(" {name}={text}"),
        other => format!(" {name}={other}"),
    };
    let named = ["namespace", "name", "sectionName", "port"].map(field).concat();
    format!("parent{named}")
}

/// A line for each condition that is not as one would wish, and one for all the others.
fn conditions(all: &[Value]) -> Map<String, Value> {
    let mut lines = BTreeMap::new();
    let mut fine = Vec::new();
    for condition in all {
        let text = |field: &str| condition[field].as_str().unwrap();
        let (kind, reason) = (text("type"), text("reason"));
        let generation = &condition["observedGeneration"];
        let wished = kind.rsplit('/').next() == Some(reason) && text("status") == "True";
        if wished || reason == "NoConflicts" {
            fine.push(format!("{kind} {generation}"));
        } else {
            let line = format!("{} {reason} {generation}: {}", text("status"), text("message"));
            lines.insert(kind.to_owned(), line.into());
        }
    }
    fine.sort();
    if !fine.is_empty() {
        lines.insert("fine".to_owned(), fine.join(", ").into());
    }
    lines.into_iter().collect()
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(&sorted(value)).unwrap()
}

/// Keys in order, whether or not some crate asks `serde_json` to keep them as they came.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            map.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

fn check(case: &Path) {
    let input = fs::read_to_string(case.join("input.yaml")).unwrap();
    let rule = input.lines().next().unwrap();
    assert!(rule.starts_with("# "), "{}: the first line must name a rule", case.display());
    let compiler = compiled(&input);
    for (file, body) in [("ir.yaml", ir(&compiler)), ("status.yaml", statuses(&compiler))] {
        let mut text = format!("{rule}\n");
        write!(text, "{body}").unwrap();
        expect_file![case.join(file)].assert_eq(&text);
    }
}

#[test]
fn cases_give_their_ir_and_their_statuses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/testdata");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in &cases {
        check(case);
    }
}

#[test]
fn g1_a_revoked_grant_takes_effect_at_the_next_refresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/testdata");
    for (case, name, namespace) in
        [("g1-backend-grant", "web", "apps"), ("g1-certificate-grant", "gw", "certs")]
    {
        let mut compiler = compiled(&fs::read_to_string(root.join(case).join("input.yaml")).unwrap());
        let shown = |compiler: &Compiler| (ir(compiler), statuses(compiler));
        let before = shown(&compiler);
        assert!(before.0.contains(&format!("{namespace}/")), "granted at first");
        compiler.apply(Change::Delete(ObjectKey::new(Kind::ReferenceGrant, namespace, name)));
        compiler.refresh();
        let after = shown(&compiler);
        assert!(
            !after.0.contains(&format!(" cluster/{namespace}/")) && !after.0.contains("Certificate ")
        );
        assert!(
            after.1.matches("RefNotPermitted").count() > before.1.matches("RefNotPermitted").count()
        );
    }
}
