//! One match of a rule, compiled: what must hold of a request beside its host.

use std::{borrow::Cow, sync::Arc};

use super::{
    pattern::{BadPattern, Pattern},
    query,
    request::Request,
};
use crate::{
    HeaderMatch, PathMatch, QueryMatch, RouteMatch, ValueMatch,
    normalize::{self, BadPath},
};

/// A compiled [`RouteMatch`].
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) path: PathTest,
    method: Option<Box<[u8]>>,
    headers: Box<[(Box<str>, ValueTest)]>,
    query: Box<[(Box<str>, ValueTest)]>,
}

/// A compiled [`PathMatch`].
#[derive(Debug)]
pub(super) enum PathTest {
    /// In normal form.
    Exact(Arc<[u8]>),
    /// In normal form, without trailing slash; so it is empty for `/`.
    Prefix(Arc<[u8]>),
    Regex(Pattern),
}

#[derive(Debug)]
enum ValueTest {
    Exact(Box<str>),
    Regex(Pattern),
}

/// The condition that a request fails first, by its index in the [`RouteMatch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmet {
    /// The method is another one.
    Method,
    /// A header field is missing or has another value.
    Header(usize),
    /// A query parameter is missing or has another value.
    Query(usize),
}

/// Why a rule is left out of the tables.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It has no matches, so it could never win.
    #[error("the rule has no matches")]
    Empty,
    /// The path of a match has no normal form, so that no request could have it.
    #[error("matches[{index}].path: {reason}")]
    Path {
        /// The match.
        index: usize,
        /// What is wrong with it.
        reason: BadPath,
    },
    /// A regular expression of a match is not allowed.
    #[error("matches[{index}]: {reason}")]
    Pattern {
        /// The match.
        index: usize,
        /// What is wrong with it.
        reason: BadPattern,
    },
    /// The caller could make nothing of it.
    #[error("{0}")]
    Payload(String),
}

impl Conditions {
    /// Compiles the match of this index.
    pub(super) fn compile(index: usize, of: &RouteMatch) -> Result<Self, Refusal> {
        let pattern = |reason| Refusal::Pattern { index, reason };
        let headers = of.headers.iter().map(|HeaderMatch { name, value }| test(name, value));
        let query = of.query.iter().map(|QueryMatch { name, value }| test(name, value));
        Ok(Self {
            path: match &of.path {
                PathMatch::Exact(text) => PathTest::Exact(path(index, text)?[..].into()),
                PathMatch::Prefix(text) => {
                    let normal = path(index, text)?;
                    PathTest::Prefix(normal.strip_suffix(b"/").unwrap_or(&normal).into())
                }
                PathMatch::Regex(text) => PathTest::Regex(Pattern::new(text).map_err(pattern)?),
            },
            method: of.method.as_ref().map(|method| method.as_bytes().into()),
            headers: headers.collect::<Result<_, _>>().map_err(pattern)?,
            query: query.collect::<Result<_, _>>().map_err(pattern)?,
        })
    }

    /// Whether nothing but the path is asked for.
    pub(super) fn only_path(&self) -> bool {
        self.method.is_none() && self.headers.is_empty() && self.query.is_empty()
    }

    /// The first condition beside the path that does not hold.
    pub(super) fn unmet<R: Request>(&self, request: &R) -> Option<Unmet> {
        if self.method.as_ref().is_some_and(|method| **method != *request.method()) {
            return Some(Unmet::Method);
        }
        let header = self.headers.iter().position(|(name, test)| !test.joined(|| request.header(name)));
        header.map(Unmet::Header).or_else(|| {
            let parameters = request.query().unwrap_or_default();
            let fails = |(name, test): &(Box<str>, ValueTest)| {
                !query::first(parameters, name).is_some_and(|value| test.encoded(value))
            };
            self.query.iter().position(fails).map(Unmet::Query)
        })
    }
}

fn path(index: usize, text: &str) -> Result<Cow<'_, [u8]>, Refusal> {
    normalize::path(text.as_bytes()).map_err(|reason| Refusal::Path { index, reason })
}

fn test(name: &str, value: &ValueMatch) -> Result<(Box<str>, ValueTest), BadPattern> {
    let test = match value {
        ValueMatch::Exact(text) => ValueTest::Exact(text.as_str().into()),
        ValueMatch::Regex(text) => ValueTest::Regex(Pattern::new(text)?),
    };
    Ok((name.into(), test))
}

impl ValueTest {
    /// Of the values of a field, joined by commas (RFC 9110, section 5.3). No value meets no test.
    fn joined<'a, I: Iterator<Item = &'a [u8]>>(&self, values: impl Fn() -> I) -> bool {
        match self {
            Self::Exact(text) => is_joined(values(), text.as_bytes()),
            Self::Regex(pattern) => {
                let mut values = values();
                let Some(first) = values.next() else { return false };
                match values.next() {
                    None => pattern.matches(first),
                    Some(second) => {
                        let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
                        pattern.matches(&all.join(&b','))
                    }
                }
            }
        }
    }

    /// Of a value in a query.
    fn encoded(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => query::means(value, text),
            Self::Regex(pattern) => pattern.matches(&query::decode(value)),
        }
    }
}

/// Whether `text` is these values, at least one, with commas between.
fn is_joined<'a>(mut values: impl Iterator<Item = &'a [u8]>, text: &[u8]) -> bool {
    let first = values.next().and_then(|value| text.strip_prefix(value));
    let rest = values.try_fold(first, |rest, value| {
        let next = rest.and_then(|rest| rest.strip_prefix(b",")?.strip_prefix(value));
        next.map(Some)
    });
    rest.flatten().is_some_and(<[u8]>::is_empty)
}
