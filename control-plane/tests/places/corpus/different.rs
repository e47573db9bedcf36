//! What the two places may not agree on, and why.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Verdict;

/// What an API server adds of its own, by kind: it allocates, by its settings, or it counts.
const ADDED: &[(&str, &[&str])] = &[
    ("Namespace", &["spec.finalizers"]),
    (
        "Service",
        &[
            "spec.allocateLoadBalancerNodePorts",
            "spec.clusterIP",
            "spec.clusterIPs",
            "spec.externalTrafficPolicy",
            "spec.ipFamilies",
            "spec.ipFamilyPolicy",
            "spec.ports[].nodePort",
            "spec.sessionAffinityConfig",
        ],
    ),
];

/// Fields, by kind, that mean nothing to Isthmus: a directory takes whatever they hold, so that manifests
/// of clusters go through, and an API server has its rules for them.
const NOT_READ: &[(&str, &[&str])] = &[(
    "Service",
    &[
        "spec.allocateLoadBalancerNodePorts",
        "spec.clusterIPs",
        "spec.externalIPs",
        "spec.externalTrafficPolicy",
        "spec.healthCheckNodePort",
        "spec.ipFamilies",
        "spec.loadBalancerClass",
        "spec.loadBalancerSourceRanges",
        "spec.ports[].nodePort",
        "spec.trafficDistribution",
    ],
)];

/// Fields, by kind, that no manifest need use: only an API server, or what runs pods, has to do with them.
const NOT_USED: &[(&str, &[&str])] = &[
    ("Namespace", &["spec.finalizers"]),
    (
        "Service",
        &[
            "spec.allocateLoadBalancerNodePorts",
            "spec.clusterIPs",
            "spec.externalIPs",
            "spec.externalTrafficPolicy",
            "spec.healthCheckNodePort",
            "spec.ipFamilies",
            "spec.ipFamilyPolicy",
            "spec.loadBalancerClass",
            "spec.loadBalancerIP",
            "spec.loadBalancerSourceRanges",
            "spec.publishNotReadyAddresses",
            "spec.sessionAffinityConfig",
            "spec.trafficDistribution",
        ],
    ),
    ("EndpointSlice", &["endpoints[].deprecatedTopology", "endpoints[].hints"]),
    // An API server takes ASCII only in these values, and in no other header's; a directory takes more.
    ("HTTPRoute", &["spec.rules[].backendRefs[].filters[].responseHeaderModifier"]),
];

/// Kinds that an API server was built with: what is empty is left out of them.
const NATIVE: &[&str] = &["EndpointSlice", "Namespace", "Secret", "Service"];

fn listed(table: &[(&str, &'static [&'static str])], kind: &str) -> &'static [&'static str] {
    table.iter().find(|(of, _)| *of == kind).map_or(&[], |(_, fields)| fields)
}

/// The row of a field of a kind that means nothing to Isthmus.
pub(super) fn not_read(kind: &str, field: &str) -> Option<&'static str> {
    listed(NOT_READ, kind).iter().copied().find(|name| field.starts_with(name))
}

/// Whether a field of a kind need not be in a manifest.
pub(super) fn need_not_be_used(kind: &str, field: &str) -> bool {
    listed(NOT_USED, kind).iter().any(|name| field.starts_with(name))
}

/// Rows that no disagreement needs.
pub(super) fn unneeded(needed: &BTreeSet<&str>) -> Vec<&'static str> {
    let rows = NOT_READ.iter().flat_map(|(_, fields)| *fields).copied();
    rows.filter(|row| !needed.contains(row)).collect()
}

/// How what a directory says differs from what API servers with either channel say, if it does: what one
/// channel takes is taken, with what that channel fills in.
pub(super) fn difference(kind: &str, here: &Verdict, there: &[Verdict]) -> Option<String> {
    let differences: Option<Vec<_>> =
        there.iter().map(|there| difference_to(kind, here, there)).collect();
    let taken = there.iter().find(|there| there.is_ok());
    match (here, taken) {
        (Err(_), Some(taken)) => difference_to(kind, here, taken),
        _ => differences.map(|differences| differences.join("; or ")),
    }
}

fn difference_to(kind: &str, here: &Verdict, there: &Verdict) -> Option<String> {
    match (here, there) {
        (Err(_), Err(_)) => None,
        (Ok(_), Err(why)) => Some(format!("the API server alone refuses: {why}")),
        (Err(why), Ok(_)) => Some(format!("the directory alone refuses: {why}")),
        (Ok(here), Ok(there)) => {
            let there = without_added(kind, here, there);
            let (here, there) = (comparable(kind, here), comparable(kind, &there));
            (here != there).then(|| unequal("", &here, &there))
        }
    }
}

/// The API server's object without what it added to the directory's.
fn without_added(kind: &str, here: &Value, there: &Value) -> Value {
    let mut there = there.clone();
    for field in listed(ADDED, kind) {
        remove(&field.split('.').collect::<Vec<_>>(), here, &mut there);
    }
    there
}

fn remove(path: &[&str], here: &Value, there: &mut Value) {
    let [first, rest @ ..] = path else { return };
    if rest.is_empty() {
        let said = here.get(first).is_some_and(|value| *value != "");
        there.as_object_mut().filter(|_| !said).map(|fields| fields.remove(*first));
    } else if let Some(list) = first.strip_suffix("[]") {
        for (index, item) in there[list].as_array_mut().into_iter().flatten().enumerate() {
            remove(rest, &here[list][index], item);
        }
    } else {
        remove(rest, &here[*first], &mut there[*first]);
    }
}

/// The object without what only an API server says.
fn comparable(kind: &str, object: &Value) -> Value {
    let mut object = object.clone();
    let fields = object.as_object_mut().unwrap();
    fields.remove("status");
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|name, value| {
            matches!(name.as_str(), "name" | "namespace" | "labels" | "annotations") && !is_empty(value)
        });
    }
    if NATIVE.contains(&kind) { pruned(&object) } else { object }
}

fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), pruned(value)));
            fields.filter(|(_, value)| !is_empty(value)).collect()
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// What is not equal, field by field.
pub(crate) fn unequal(path: &str, here: &Value, there: &Value) -> String {
    let lines: Vec<_> = match (here, there) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
            let value =
                |of: &serde_json::Map<String, Value>, name| of.get(name).cloned().unwrap_or_default();
            differing
                .map(|name| unequal(&format!("{path}.{name}"), &value(a, name), &value(b, name)))
                .collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let differing = a.iter().zip(b).enumerate().filter(|(_, (a, b))| a != b);
            differing.map(|(index, (a, b))| unequal(&format!("{path}[{index}]"), a, b)).collect()
        }
        _ => vec![format!("{path} is {here} in a directory and {there} on an API server")],
    };
    lines.join("; ")
}
