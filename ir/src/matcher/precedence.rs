//! Which of two matches of one hostname wins when a request meets both (Gateway API,
//! `HTTPRouteRule.matches`).
//!
//! Where the specification leaves a choice: a regular expression stands between exact paths and
//! prefixes, and of two the one with more characters comes first.

use std::cmp::{Ordering, Reverse};

use serde::{Deserialize, Serialize};

use super::{conditions::PathTest, rule::Candidate};
use crate::{ObjectRef, PathMatch, RouteMatch};

/// What decided between two matches; in order of weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Criterion {
    /// The hostname is more specific.
    Hostname,
    /// An exact path before a regular expression before a prefix.
    PathKind,
    /// The regular expression or prefix has more characters.
    PathLength,
    /// There is a condition on the method.
    Method,
    /// There are more conditions on headers.
    Headers,
    /// There are more conditions on query parameters.
    QueryParameters,
    /// The route is older.
    Age,
    /// The route is first in the alphabet by `namespace/name`.
    Name,
    /// The rule stands first in its route.
    Rule,
    /// The match stands first in its rule.
    Match,
}

/// Whether `a` comes before `b`, and by what.
pub(super) fn compare<P>(a: &Candidate<P>, b: &Candidate<P>) -> (Ordering, Criterion) {
    let (a_route, b_route) = (&a.rule.route, &b.rule.route);
    let (a_kind, b_kind) = (kind(a), kind(b));
    let counts = |c: &Candidate<P>| c.declared().map_or((true, Reverse(0), Reverse(0)), counts);
    let ((a_any, a_headers, a_query), (b_any, b_headers, b_query)) = (counts(a), counts(b));
    let by = |criterion, ordering: Ordering| ordering.is_ne().then_some((ordering, criterion));
    by(Criterion::PathKind, a_kind.0.cmp(&b_kind.0))
        .or_else(|| by(Criterion::PathLength, a_kind.1.cmp(&b_kind.1)))
        .or_else(|| by(Criterion::Method, a_any.cmp(&b_any)))
        .or_else(|| by(Criterion::Headers, a_headers.cmp(&b_headers)))
        .or_else(|| by(Criterion::QueryParameters, a_query.cmp(&b_query)))
        .or_else(|| by(Criterion::Age, a_route.created.cmp(&b_route.created)))
        .or_else(|| by(Criterion::Name, alphabetical(a.object(), b.object())))
        .or_else(|| by(Criterion::Name, a_route.route.kind.cmp(&b_route.route.kind)))
        .or_else(|| by(Criterion::Rule, a_route.rule.cmp(&b_route.rule)))
        .unwrap_or((a.index.cmp(&b.index), Criterion::Match))
}

/// The kind of path condition, and how it stands among its kind.
fn kind<P>(candidate: &Candidate<P>) -> (u8, Reverse<usize>) {
    match candidate.conditions().map(|c| &c.path) {
        Some(PathTest::Exact(_)) => (0, Reverse(0)),
        Some(PathTest::Regex(_)) => (1, Reverse(characters(candidate))),
        Some(PathTest::Prefix(prefix)) => (2, Reverse(prefix.len())),
        None => (3, Reverse(0)),
    }
}

fn characters<P>(candidate: &Candidate<P>) -> usize {
    match candidate.declared().map(|m| &m.path) {
        Some(PathMatch::Regex(text)) => text.chars().count(),
        _ => 0,
    }
}

/// Whether any method will do, and the numbers of other conditions.
fn counts(of: &RouteMatch) -> (bool, Reverse<usize>, Reverse<usize>) {
    (of.method.is_none(), Reverse(of.headers.len()), Reverse(of.query.len()))
}

/// By the text `namespace/name`, in which a slash comes after `-` and `.`.
fn alphabetical(a: &ObjectRef, b: &ObjectRef) -> Ordering {
    fn text(o: &ObjectRef) -> impl Iterator<Item = u8> {
        o.namespace.bytes().chain([b'/']).chain(o.name.bytes())
    }
    text(a).cmp(text(b))
}
