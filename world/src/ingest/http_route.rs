//! HTTPRoute: parents, rules, matches, timeouts, backends.

use std::time::Duration;

use gateway_api::experimental::httproutes::{
    HttpRouteParentRefs, HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesFilters,
    HttpRouteRulesMatches, HttpRouteRulesMatchesHeaders, HttpRouteRulesMatchesHeadersType,
    HttpRouteRulesMatchesMethod, HttpRouteRulesMatchesPath, HttpRouteRulesMatchesPathType,
    HttpRouteRulesMatchesQueryParams, HttpRouteRulesMatchesQueryParamsType, HttpRouteRulesRetry,
    HttpRouteRulesTimeouts, HttpRouteSpec,
};
use isthmus_ir::{HeaderMatch, PathMatch, QueryMatch, RouteMatch, ValueMatch};
use serde_json::Value;

use super::{
    decode::{Fault, Path, optional_port, required},
    filter,
};
use crate::{
    fact::{
        BackendRef, GroupKind, HttpRoute, HttpRule, Meta, ObjectReference, ParentRef, RuleRetry,
        RuleTimeouts,
    },
    kind::Kind,
};

pub(super) fn http_route(meta: Meta, mut data: Value) -> Result<HttpRoute, Fault> {
    let spec: HttpRouteSpec = required(&mut data, "spec")?;
    let root = Path::root("spec");
    let mut parents = Vec::new();
    for (index, written) in spec.parent_refs.into_iter().flatten().enumerate() {
        parents.push(parent(written, &root.item("parentRefs", index))?);
    }
    let mut rules = Vec::new();
    for (index, written) in spec.rules.unwrap_or_else(|| vec![everything()]).into_iter().enumerate() {
        rules.push(rule(written, &root.item("rules", index))?);
    }
    Ok(HttpRoute { meta, parents, hostnames: spec.hostnames.unwrap_or_default(), rules })
}

/// The rule of a route that has none: every request, and no backend.
fn everything() -> HttpRouteRules {
    HttpRouteRules::default()
}

fn parent(written: HttpRouteParentRefs, path: &Path) -> Result<ParentRef, Fault> {
    Ok(ParentRef {
        kind: GroupKind {
            group: written.group.unwrap_or_else(|| Kind::Gateway.group().to_owned()),
            kind: written.kind.unwrap_or_else(|| Kind::Gateway.as_str().to_owned()),
        },
        namespace: written.namespace,
        name: written.name,
        section: written.section_name.filter(|section| !section.is_empty()),
        port: optional_port(written.port, &path.field("port"))?,
    })
}

/// The parents of a route that may not be readable otherwise; those that are not readable are left out.
pub(super) fn readable_parents(kind: Kind, data: &Value) -> Vec<ParentRef> {
    let list = (kind == Kind::HttpRoute).then(|| data.pointer("/spec/parentRefs")).flatten();
    let written = list.and_then(Value::as_array).into_iter().flatten();
    let decoded = written.filter_map(|one| serde_json::from_value(one.clone()).ok());
    decoded.filter_map(|one| parent(one, &Path::root("spec")).ok()).collect()
}

fn rule(written: HttpRouteRules, path: &Path) -> Result<HttpRule, Fault> {
    let unsupported = unsupported(&written);
    let matches = written.matches.filter(|matches| !matches.is_empty());
    let matches = matches.unwrap_or_else(|| vec![HttpRouteRulesMatches::default()]);
    let mut backends = Vec::new();
    for (index, backend) in written.backend_refs.into_iter().flatten().enumerate() {
        backends.push(weighted(backend, &path.item("backendRefs", index))?);
    }
    let timeouts = written.timeouts.unwrap_or_default();
    Ok(HttpRule {
        name: written.name,
        matches: matches.into_iter().map(route_match).collect(),
        filters: filter::filters(written.filters.unwrap_or_default(), path)?,
        backends,
        timeouts: rule_timeouts(&timeouts, &path.field("timeouts"))?,
        retry: written.retry.map(|one| retry(one, &path.field("retry"))).transpose()?,
        unsupported,
    })
}

fn unsupported(rule: &HttpRouteRules) -> Vec<String> {
    [("sessionPersistence", rule.session_persistence.is_some())]
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(field, _)| field.to_owned())
        .collect()
}

fn route_match(written: HttpRouteRulesMatches) -> RouteMatch {
    RouteMatch {
        path: path_match(written.path.unwrap_or_default()),
        method: written.method.map(|method| method_name(&method).to_owned()),
        headers: distinct(written.headers, header_match, |header| &header.name),
        query: distinct(written.query_params, query_match, |query| &query.name),
    }
}

/// Of several conditions on one name only the first counts (Gateway API, `HTTPHeaderMatch.name`).
fn distinct<W, T>(written: Option<Vec<W>>, read: fn(W) -> T, name: fn(&T) -> &String) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in written.into_iter().flatten().map(read) {
        if kept.iter().all(|other| name(other) != name(&one)) {
            kept.push(one);
        }
    }
    kept
}

fn path_match(written: HttpRouteRulesMatchesPath) -> PathMatch {
    let value = written.value.unwrap_or_else(|| "/".to_owned());
    match written.r#type.unwrap_or(HttpRouteRulesMatchesPathType::PathPrefix) {
        HttpRouteRulesMatchesPathType::Exact => PathMatch::Exact(value),
        HttpRouteRulesMatchesPathType::RegularExpression => PathMatch::Regex(value),
        HttpRouteRulesMatchesPathType::PathPrefix => PathMatch::Prefix(match value.strip_suffix('/') {
            Some(front) if !front.is_empty() => front.to_owned(),
            _ => value,
        }),
    }
}

fn header_match(written: HttpRouteRulesMatchesHeaders) -> HeaderMatch {
    let value = match written.r#type {
        None | Some(HttpRouteRulesMatchesHeadersType::Exact) => ValueMatch::Exact(written.value),
        Some(HttpRouteRulesMatchesHeadersType::RegularExpression) => ValueMatch::Regex(written.value),
    };
    HeaderMatch { name: written.name.to_ascii_lowercase(), value }
}

fn query_match(written: HttpRouteRulesMatchesQueryParams) -> QueryMatch {
    let value = match written.r#type {
        None | Some(HttpRouteRulesMatchesQueryParamsType::Exact) => ValueMatch::Exact(written.value),
        Some(HttpRouteRulesMatchesQueryParamsType::RegularExpression) => {
            ValueMatch::Regex(written.value)
        }
    };
    QueryMatch { name: written.name, value }
}

fn method_name(method: &HttpRouteRulesMatchesMethod) -> &'static str {
    match method {
        HttpRouteRulesMatchesMethod::Get => "GET",
        HttpRouteRulesMatchesMethod::Head => "HEAD",
        HttpRouteRulesMatchesMethod::Post => "POST",
        HttpRouteRulesMatchesMethod::Put => "PUT",
        HttpRouteRulesMatchesMethod::Delete => "DELETE",
        HttpRouteRulesMatchesMethod::Connect => "CONNECT",
        HttpRouteRulesMatchesMethod::Options => "OPTIONS",
        HttpRouteRulesMatchesMethod::Trace => "TRACE",
        HttpRouteRulesMatchesMethod::Patch => "PATCH",
    }
}

fn rule_timeouts(written: &HttpRouteRulesTimeouts, path: &Path) -> Result<RuleTimeouts, Fault> {
    Ok(RuleTimeouts {
        request: limit(written.request.as_deref(), &path.field("request"))?,
        backend_request: limit(written.backend_request.as_deref(), &path.field("backendRequest"))?,
    })
}

/// More attempts than a byte holds are that many.
fn retry(written: HttpRouteRulesRetry, path: &Path) -> Result<RuleRetry, Fault> {
    let code = |code: i64| {
        let known = u16::try_from(code).ok().filter(|code| (400..600).contains(code));
        known.ok_or_else(|| path.field("codes").fault(format!("{code} is not between 400 and 599")))
    };
    let codes = written.codes.unwrap_or_default().into_iter().map(code);
    let attempts = written.attempts.unwrap_or(1);
    let negative = |_| path.field("attempts").fault(format!("{attempts} is less than 0"));
    Ok(RuleRetry {
        codes: codes.collect::<Result<_, _>>()?,
        attempts: u8::try_from(attempts.min(255)).map_err(negative)?,
        backoff: limit(written.backoff.as_deref(), &path.field("backoff"))?,
    })
}

/// A duration as GEP-2257 writes it; zero is no limit.
fn limit(written: Option<&str>, path: &Path) -> Result<Option<Duration>, Fault> {
    let Some(text) = written else { return Ok(None) };
    let parsed: Result<gateway_api::Duration, _> = text.parse();
    let duration =
        parsed.map_err(|_| path.fault(format!("{text:?} is not a duration such as 1m30s")))?;
    let duration = Duration::new(duration.as_secs(), duration.subsec_nanos());
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

fn weighted(written: HttpRouteRulesBackendRefs, path: &Path) -> Result<BackendRef, Fault> {
    let weight = written.weight.unwrap_or(1);
    let filters = written.filters.unwrap_or_default().into_iter().enumerate();
    let filters = filters.map(|(index, one)| same_shape(&one, &path.item("filters", index)));
    Ok(BackendRef {
        object: backend_object(written.group, written.kind, written.namespace, written.name),
        port: optional_port(written.port, &path.field("port"))?,
        weight: u32::try_from(weight)
            .map_err(|_| path.field("weight").fault(format!("{weight} is less than 0")))?,
        filters: filter::filters(filters.collect::<Result<_, _>>()?, path)?,
    })
}

/// A backend's filter as a rule's: the bindings have a type for each, the specification has one for both.
fn same_shape(written: &impl serde::Serialize, path: &Path) -> Result<HttpRouteRulesFilters, Fault> {
    let value = serde_json::to_value(written).and_then(serde_json::from_value);
    value.map_err(|error| path.fault(error.to_string()))
}

/// The object that a backendRef names, with defaults filled in.
pub(super) fn backend_object(
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: String,
) -> ObjectReference {
    let kind = kind.unwrap_or_else(|| Kind::Service.as_str().to_owned());
    ObjectReference { kind: GroupKind { group: group.unwrap_or_default(), kind }, namespace, name }
}
