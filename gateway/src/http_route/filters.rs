//! Filters of a rule or of a backend: which are valid, and which go together.

use std::collections::BTreeSet;

use isthmus_ir::{
    Cors, Filter, Fraction, HeaderEdits, HostPattern, PathMatch, PathRewrite, Redirect, RouteMatch,
    cors::Origin, matcher::rewrite,
};
use isthmus_world::fact::HttpFilter;

use super::rule::Invalid;
use crate::lexical;

/// Fields that frame a message or belong to one connection, and so to the proxy; `host` is rewritten by
/// `URLRewrite`.
const RESERVED: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a filter answers by itself.
pub(super) fn is_redirect(filter: &HttpFilter) -> bool {
    matches!(filter, HttpFilter::Plain(Filter::Redirect(_)))
}

/// Whether a filter answers preflights.
pub(super) fn is_cors(filter: &HttpFilter) -> bool {
    matches!(filter, HttpFilter::Plain(Filter::Cors(_)))
}

/// Whether `filters` are valid for a rule with `matches`.
pub(super) fn check(field: &str, filters: &[HttpFilter], matches: &[RouteMatch]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for (index, filter) in filters.iter().enumerate() {
        if let Some(kind) = once(filter)
            && !seen.insert(kind)
        {
            return Err(Invalid::filters(format!("{field} has more than one {kind}: merge them")));
        }
        each(&format!("{field}[{index}]"), filter, matches)?;
    }
    if seen.contains("RequestRedirect") && seen.contains("URLRewrite") {
        let message = format!("{field} has both RequestRedirect and URLRewrite: remove one");
        return Err(Invalid::filters(message));
    }
    Ok(())
}

/// The type of a filter that may be there but once.
fn once(filter: &HttpFilter) -> Option<&'static str> {
    match filter {
        HttpFilter::Plain(Filter::RequestHeaders(_)) => Some("RequestHeaderModifier"),
        HttpFilter::Plain(Filter::ResponseHeaders(_)) => Some("ResponseHeaderModifier"),
        HttpFilter::Plain(Filter::Redirect(_)) => Some("RequestRedirect"),
        HttpFilter::Plain(Filter::Rewrite(_)) => Some("URLRewrite"),
        HttpFilter::Plain(Filter::Cors(_)) => Some("CORS"),
        HttpFilter::Plain(Filter::Mirror { .. })
        | HttpFilter::Mirror { .. }
        | HttpFilter::Extension(_)
        | HttpFilter::Unsupported(_) => None,
    }
}

fn each(field: &str, filter: &HttpFilter, matches: &[RouteMatch]) -> Result<(), Invalid> {
    match filter {
        HttpFilter::Plain(Filter::RequestHeaders(edits)) => {
            headers(&format!("{field}.requestHeaderModifier"), edits)
        }
        HttpFilter::Plain(Filter::ResponseHeaders(edits)) => {
            headers(&format!("{field}.responseHeaderModifier"), edits)
        }
        HttpFilter::Plain(Filter::Redirect(redirect)) => {
            self::redirect(&format!("{field}.requestRedirect"), redirect, matches)
        }
        HttpFilter::Plain(Filter::Rewrite(rewrite)) => {
            let field = format!("{field}.urlRewrite");
            hostname(&field, rewrite.hostname.as_deref())?;
            path(&field, rewrite.path.as_ref(), matches)
        }
        HttpFilter::Plain(Filter::Cors(cors)) => self::cors(&format!("{field}.cors"), cors),
        HttpFilter::Plain(Filter::Mirror { fraction, .. }) | HttpFilter::Mirror { fraction, .. } => {
            share(&format!("{field}.requestMirror"), *fraction)
        }
        HttpFilter::Extension(_) => Ok(()),
        HttpFilter::Unsupported(kind) => {
            Err(Invalid::value(format!("{field}.type {kind} is not supported: remove the filter")))
        }
    }
}

/// Each field may be edited once, and none may be edited that frames a message.
fn headers(field: &str, edits: &HeaderEdits) -> Result<(), Invalid> {
    let wrong = |message: String| Err(Invalid::value(format!("{field}{message}")));
    let written = edits.set.iter().map(|e| ("set", e)).chain(edits.add.iter().map(|e| ("add", e)));
    for (action, (name, value)) in written {
        if let Err(why) = lexical::header_value(value) {
            return wrong(format!(".{action}: the value of {name:?} {why}"));
        }
    }
    let mut seen = BTreeSet::new();
    let names = edits.set.iter().chain(&edits.add).map(|(name, _)| name).chain(&edits.remove);
    for name in names {
        let lower = name.to_ascii_lowercase();
        if !lexical::token(name) {
            return wrong(format!(": {name:?} is no name of a header field"));
        }
        if RESERVED.contains(&lower.as_str()) {
            return wrong(format!(": {name} is not edited here (a host is rewritten by URLRewrite)"));
        }
        if !seen.insert(lower) {
            return wrong(format!(": {name} is edited more than once"));
        }
    }
    Ok(())
}

fn redirect(field: &str, redirect: &Redirect, matches: &[RouteMatch]) -> Result<(), Invalid> {
    if let Some(scheme) = redirect.scheme.as_deref().filter(|s| !matches!(*s, "http" | "https")) {
        return Err(Invalid::value(format!("{field}.scheme {scheme:?} must be http or https")));
    }
    if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
        let message =
            format!("{field}.statusCode {} must be 301, 302, 303, 307 or 308", redirect.status);
        return Err(Invalid::value(message));
    }
    hostname(field, redirect.hostname.as_deref())?;
    path(field, redirect.path.as_ref(), matches)
}

/// `PreciseHostname`: no wildcard.
fn hostname(field: &str, hostname: Option<&str>) -> Result<(), Invalid> {
    let wrong = |why: String| Err(Invalid::value(format!("{field}.hostname: {why}")));
    match hostname.map(HostPattern::parse) {
        None | Some(Ok(HostPattern::Exact(_))) => Ok(()),
        Some(Ok(_)) => wrong("a wildcard is not allowed here".into()),
        Some(Err(e)) => wrong(e.to_string()),
    }
}

/// `ReplacePrefixMatch` needs prefixes to replace.
fn path(field: &str, path: Option<&PathRewrite>, matches: &[RouteMatch]) -> Result<(), Invalid> {
    let Some(path) = path else { return Ok(()) };
    let field = format!("{field}.path");
    if matches!(path, PathRewrite::Prefix(_))
        && !matches.iter().all(|m| matches!(m.path, PathMatch::Prefix(_)))
    {
        let why = "replacePrefixMatch needs path matches of type PathPrefix in its rule";
        return Err(Invalid::value(format!("{field}.{why}")));
    }
    rewrite::check(path).map_err(|e| Invalid::value(format!("{field}: {e}")))
}

fn cors(field: &str, cors: &Cors) -> Result<(), Invalid> {
    for origin in &cors.origins {
        if let Err(why) = Origin::parse(origin) {
            return Err(Invalid::value(format!("{field}.allowOrigins: {origin:?} {why}")));
        }
    }
    let names = cors.headers.iter().chain(&cors.expose).chain(&cors.methods);
    match names.filter(|name| name.as_str() != "*").find(|name| !lexical::token(name)) {
        Some(name) => Err(Invalid::value(format!("{field}: {name:?} is no name"))),
        None => Ok(()),
    }
}

fn share(field: &str, fraction: Fraction) -> Result<(), Invalid> {
    if fraction.denominator == 0 || fraction.numerator > fraction.denominator {
        return Err(Invalid::value(format!("{field}: the share must be between 0 and 1")));
    }
    Ok(())
}
