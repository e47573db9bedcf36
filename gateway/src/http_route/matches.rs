//! Matches of a rule: what is valid, and their normal form.

use isthmus_ir::{
    HeaderMatch, PathMatch, QueryMatch, RouteMatch, ValueMatch, matcher::Pattern, normalize,
};

use super::rule::Invalid;
use crate::lexical;

/// Whether a match is valid.
pub(super) fn check(field: &str, each: &RouteMatch) -> Result<(), Invalid> {
    let wrong = |field: &str, why: &str| Invalid::value(format!("{field} {why}"));
    match &each.path {
        PathMatch::Exact(value) | PathMatch::Prefix(value) => {
            let field = format!("{field}.path.value");
            lexical::path_value(value).map_err(|why| wrong(&field, why))?;
            normalize::path(value.as_bytes()).map_err(|e| Invalid::value(format!("{field}: {e}")))?;
        }
        PathMatch::Regex(pattern) => regex(&format!("{field}.path.value"), pattern)?,
    }
    if each.method.as_deref().is_some_and(|m| !lexical::token(m)) {
        return Err(wrong(&format!("{field}.method"), "is no method"));
    }
    for (index, header) in each.headers.iter().enumerate() {
        let field = format!("{field}.headers[{index}]");
        if !lexical::token(&header.name) {
            return Err(wrong(&format!("{field}.name"), "is no name of a header field"));
        }
        value(&field, &header.value)?;
    }
    for (index, query) in each.query.iter().enumerate() {
        value(&format!("{field}.queryParams[{index}]"), &query.value)?;
    }
    Ok(())
}

fn value(field: &str, value: &ValueMatch) -> Result<(), Invalid> {
    match value {
        ValueMatch::Exact(_) => Ok(()),
        ValueMatch::Regex(pattern) => regex(&format!("{field}.value"), pattern),
    }
}

/// Whether the matcher will take the pattern (case C18).
fn regex(field: &str, pattern: &str) -> Result<(), Invalid> {
    Pattern::new(pattern).map(drop).map_err(|e| Invalid::value(format!("{field}: {e}")))
}

/// The match as the matcher wants it: a prefix without trailing slash, and of each header and query
/// parameter the first condition alone, as specified.
pub(super) fn normal(each: &RouteMatch) -> RouteMatch {
    RouteMatch {
        path: path(&each.path),
        method: each.method.clone(),
        headers: headers(&each.headers),
        query: query(&each.query),
    }
}

fn path(path: &PathMatch) -> PathMatch {
    match path {
        PathMatch::Prefix(value) => {
            let trimmed = value.trim_end_matches('/');
            PathMatch::Prefix(if trimmed.is_empty() { "/".into() } else { trimmed.into() })
        }
        PathMatch::Exact(_) | PathMatch::Regex(_) => path.clone(),
    }
}

fn headers(all: &[HeaderMatch]) -> Vec<HeaderMatch> {
    let mut kept: Vec<HeaderMatch> = Vec::with_capacity(all.len());
    for header in all {
        let name = header.name.to_ascii_lowercase();
        if !kept.iter().any(|k| k.name == name) {
            kept.push(HeaderMatch { name, value: header.value.clone() });
        }
    }
    kept
}

fn query(all: &[QueryMatch]) -> Vec<QueryMatch> {
    let mut kept: Vec<QueryMatch> = Vec::with_capacity(all.len());
    for query in all {
        if !kept.iter().any(|k| k.name == query.name) {
            kept.push(query.clone());
        }
    }
    kept
}
