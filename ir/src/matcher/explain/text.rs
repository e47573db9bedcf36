//! The words of an explanation, so that every place that prints one uses the same.

use std::fmt;

use super::{Criterion, Fate, ListenerFate};
use crate::{PathMatch, RouteMatch, ValueMatch};

/// What a match asks for: `path /a (prefix), method GET, header x: 1, query a=~[0-9]+`.
pub(super) fn conditions(of: &RouteMatch) -> String {
    let mut parts = vec![match &of.path {
        PathMatch::Exact(path) => format!("path {path} (exact)"),
        PathMatch::Prefix(path) => format!("path {path} (prefix)"),
        PathMatch::Regex(path) => format!("path {path} (regular expression)"),
    }];
    parts.extend(of.method.iter().map(|method| format!("method {method}")));
    let headers =
        of.headers.iter().map(|header| format!("header {}: {}", header.name, value(&header.value)));
    parts.extend(headers);
    parts.extend(of.query.iter().map(|query| format!("query {}={}", query.name, value(&query.value))));
    parts.join(", ")
}

fn value(of: &ValueMatch) -> String {
    match of {
        ValueMatch::Exact(text) => text.clone(),
        ValueMatch::Regex(text) => format!("~{text}"),
    }
}

impl fmt::Display for ListenerFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chosen => "chosen: the most specific hostname that matches",
            Self::OwnsHost => "the host belongs to it, but the TLS server name chose another listener",
            Self::OtherProtocol => "it speaks another protocol",
            Self::OtherHost => "its hostname does not match",
            Self::LessSpecific => "another listener's hostname is more specific",
        })
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won => f.write_str("won"),
            Self::Outranked { by } => write!(f, "matches, but {by}"),
            Self::Method => f.write_str("the method differs"),
            Self::Header { name, found } => differs(f, "header", name, found.as_ref()),
            Self::Query { name, found } => differs(f, "query parameter", name, found.as_ref()),
            Self::Path => f.write_str("the path does not match"),
            Self::Host => f.write_str("the host does not match"),
        }
    }
}

fn differs(f: &mut fmt::Formatter<'_>, what: &str, name: &str, found: Option<&String>) -> fmt::Result {
    match found {
        Some(found) => write!(f, "{what} {name} is {found:?}"),
        None => write!(f, "{what} {name} is missing"),
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hostname => "the winner's hostname is more specific",
            Self::PathKind => "the winner's kind of path match comes first",
            Self::PathLength => "the winner's path is longer",
            Self::Method => "the winner asks for the method",
            Self::Headers => "the winner asks for more headers",
            Self::QueryParameters => "the winner asks for more query parameters",
            Self::Age => "the winner's route is older",
            Self::Name => "the winner's route comes first by namespace/name",
            Self::Rule => "the winner is an earlier rule of the route",
            Self::Match => "the winner is an earlier match of the rule",
        })
    }
}
