//! [`Route`] on the wire, but for its filters and backends.

use bytes::Bytes;
use isthmus_ir::{
    Attachment, HeaderMatch, Name, PathMatch, QueryMatch, RetryPolicy, Route, RouteId, RouteKind,
    RouteMatch, Timeouts, ValueMatch,
};

use super::{
    Refusal, filter,
    read::{
        check, duration, each, features, filled, host, invalid, message, number, object, set,
        write_duration, write_host, write_object,
    },
};
use crate::proto::proxy::{self, named_match::Value, route_match::Path};

pub(super) fn encode(route: &Route) -> proxy::Route {
    let Route {
        name: _,
        route: RouteId { kind, object },
        rule,
        rule_name,
        created,
        attachments,
        matches,
        filters,
        backends,
        timeouts: Timeouts { request, backend_request },
        retry: RetryPolicy { attempts, statuses, backoff, explicit },
    } = route;
    proxy::Route {
        kind: write_kind(*kind).into(),
        object: Some(write_object(object)),
        rule: *rule,
        rule_name: rule_name.clone(),
        created: *created,
        attachments: attachments.iter().map(write_attachment).collect(),
        matches: matches.iter().map(write_match).collect(),
        filters: filters.iter().map(filter::encode).collect(),
        backends: backends.iter().map(filter::encode_backend).collect(),
        timeouts: Some(proxy::Timeouts {
            request: request.map(write_duration),
            backend_request: backend_request.map(write_duration),
        }),
        retry: Some(proxy::RetryPolicy {
            attempts: u32::from(*attempts),
            statuses: statuses.iter().copied().map(u32::from).collect(),
            backoff: backoff.map(write_duration),
            explicit: *explicit,
        }),
        requires: Vec::new(),
    }
}

fn write_kind(kind: RouteKind) -> proxy::RouteKind {
    match kind {
        RouteKind::Http => proxy::RouteKind::Http,
        RouteKind::Import => proxy::RouteKind::ServiceImport,
    }
}

fn write_attachment(attachment: &Attachment) -> proxy::Attachment {
    let Attachment { listener, hostnames } = attachment;
    proxy::Attachment {
        listener: listener.to_string(),
        hostnames: hostnames.iter().map(write_host).collect(),
    }
}

fn write_match(rule: &RouteMatch) -> proxy::RouteMatch {
    let RouteMatch { path, method, headers, query } = rule;
    let path = match path {
        PathMatch::Exact(path) => Path::Exact(path.clone()),
        PathMatch::Prefix(path) => Path::Prefix(path.clone()),
        PathMatch::Regex(regex) => Path::Regex(regex.clone()),
    };
    let header = |h: &HeaderMatch| write_named(&h.name, &h.value);
    let parameter = |q: &QueryMatch| write_named(&q.name, &q.value);
    proxy::RouteMatch {
        path: Some(path),
        method: method.clone(),
        headers: headers.iter().map(header).collect(),
        query: query.iter().map(parameter).collect(),
    }
}

fn write_named(name: &str, value: &ValueMatch) -> proxy::NamedMatch {
    let value = match value {
        ValueMatch::Exact(text) => Value::Exact(text.clone()),
        ValueMatch::Regex(regex) => Value::Regex(regex.clone()),
    };
    proxy::NamedMatch { name: name.to_owned(), value: Some(value) }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Route, Refusal> {
    let route: proxy::Route = message(value)?;
    features(&route.requires)?;
    Ok(Route {
        name,
        route: RouteId { kind: kind(route.kind)?, object: object(route.object)? },
        rule: route.rule,
        rule_name: route.rule_name,
        created: route.created,
        attachments: each(route.attachments, attachment)?,
        matches: filled("matches", each(route.matches, rule_match)?)?,
        filters: each(route.filters, filter::decode)?,
        backends: each(route.backends, filter::decode_backend)?,
        timeouts: timeouts(set("timeouts", route.timeouts)?)?,
        retry: retry(set("retry", route.retry)?)?,
    })
}

fn kind(kind: i32) -> Result<RouteKind, Refusal> {
    match proxy::RouteKind::try_from(kind) {
        Ok(proxy::RouteKind::Http) => Ok(RouteKind::Http),
        Ok(proxy::RouteKind::ServiceImport) => Ok(RouteKind::Import),
        Ok(proxy::RouteKind::Unspecified) | Err(_) => Err(Refusal::Unset("kind")),
    }
}

fn attachment(attachment: proxy::Attachment) -> Result<Attachment, Refusal> {
    let hostnames = filled("hostnames", each(attachment.hostnames, host)?)?;
    Ok(Attachment { listener: attachment.listener.into(), hostnames })
}

fn rule_match(rule: proxy::RouteMatch) -> Result<RouteMatch, Refusal> {
    let header = |m: proxy::NamedMatch| {
        check(!m.name.bytes().any(|b| b.is_ascii_uppercase()), "headers", "names are lower case")?;
        let (name, value) = named(m)?;
        Ok(HeaderMatch { name, value })
    };
    let parameter = |m| named(m).map(|(name, value)| QueryMatch { name, value });
    Ok(RouteMatch {
        path: path(set("path", rule.path)?)?,
        method: rule.method,
        headers: each(rule.headers, header)?,
        query: each(rule.query, parameter)?,
    })
}

fn path(path: Path) -> Result<PathMatch, Refusal> {
    let absolute = |path: &str| check(path.starts_with('/'), "path", "it must begin with a slash");
    match path {
        Path::Exact(path) => absolute(&path).map(|()| PathMatch::Exact(path)),
        Path::Prefix(path) if path.len() > 1 && path.ends_with('/') => {
            Err(invalid("path", "a prefix must not end with a slash"))
        }
        Path::Prefix(path) => absolute(&path).map(|()| PathMatch::Prefix(path)),
        Path::Regex(regex) => Ok(PathMatch::Regex(regex)),
    }
}

fn named(named: proxy::NamedMatch) -> Result<(String, ValueMatch), Refusal> {
    check(!named.name.is_empty(), "name", "must not be empty")?;
    let value = match set("value", named.value)? {
        Value::Exact(text) => ValueMatch::Exact(text),
        Value::Regex(regex) => ValueMatch::Regex(regex),
    };
    Ok((named.name, value))
}

fn timeouts(timeouts: proxy::Timeouts) -> Result<Timeouts, Refusal> {
    let span = |span: Option<proxy::Duration>| span.map(|s| duration("timeouts", s)).transpose();
    Ok(Timeouts { request: span(timeouts.request)?, backend_request: span(timeouts.backend_request)? })
}

fn retry(retry: proxy::RetryPolicy) -> Result<RetryPolicy, Refusal> {
    let statuses = each(retry.statuses, |status| number("statuses", status))?;
    Ok(RetryPolicy {
        attempts: number("attempts", retry.attempts)?,
        statuses,
        backoff: retry.backoff.map(|span| duration("backoff", span)).transpose()?,
        explicit: retry.explicit,
    })
}
