//! What every kind is read with: strictness, and the types that kinds share.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use bytes::Bytes;
use isthmus_ir::{HostPattern, ObjectRef, SpiffeId};
use prost::Message;

use super::{FEATURES, Refusal};
use crate::proto::proxy::{self, host_pattern::Pattern};

pub(super) fn message<M: Message + Default>(value: &Bytes) -> Result<M, Refusal> {
    M::decode(value.clone()).map_err(|e| Refusal::Malformed(e.to_string()))
}

pub(super) fn features(requires: &[String]) -> Result<(), Refusal> {
    let unknown = requires.iter().find(|feature| !FEATURES.contains(&feature.as_str()));
    unknown.map_or(Ok(()), |feature| Err(Refusal::Feature(feature.clone())))
}

pub(super) fn set<T>(field: &'static str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or(Refusal::Unset(field))
}

pub(super) fn invalid(field: &'static str, why: impl Into<String>) -> Refusal {
    Refusal::Invalid { field, why: why.into() }
}

/// Refuses what must not be when `allowed` is false.
pub(super) fn check(allowed: bool, field: &'static str, why: &str) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(invalid(field, why)) }
}

pub(super) fn filled<T>(field: &'static str, list: Vec<T>) -> Result<Vec<T>, Refusal> {
    check(!list.is_empty(), field, "must not be empty")?;
    Ok(list)
}

/// Copies of parts of a message, so that they do not keep all of it in memory.
pub(super) fn owned(parts: &[Bytes]) -> Vec<Bytes> {
    parts.iter().map(|part| Bytes::copy_from_slice(part)).collect()
}

/// A number in the IR's range for it.
pub(super) fn number<T: TryFrom<u32>>(field: &'static str, value: u32) -> Result<T, Refusal> {
    T::try_from(value).map_err(|_| invalid(field, format!("{value} is out of range")))
}

pub(super) fn parsed<T: FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|e: T::Err| invalid(field, e.to_string()))
}

pub(super) fn all_parsed<T: FromStr<Err: ToString>>(
    field: &'static str,
    texts: &[String],
) -> Result<Vec<T>, Refusal> {
    texts.iter().map(|text| parsed(field, text)).collect()
}

pub(super) fn each<T, U>(
    list: Vec<T>,
    read: impl Fn(T) -> Result<U, Refusal>,
) -> Result<Vec<U>, Refusal> {
    list.into_iter().map(read).collect()
}

pub(super) fn identities(texts: &[String]) -> Result<Vec<SpiffeId>, Refusal> {
    filled("identities", all_parsed("identities", texts)?)
}

pub(super) fn write_all(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

pub(super) fn addresses(texts: &[String]) -> Result<Vec<SocketAddr>, Refusal> {
    all_parsed("addresses", texts)
}

pub(super) fn object(object: Option<proxy::ObjectRef>) -> Result<ObjectRef, Refusal> {
    let proxy::ObjectRef { namespace, name } = set("object", object)?;
    Ok(ObjectRef { namespace, name })
}

pub(super) fn write_object(object: &ObjectRef) -> proxy::ObjectRef {
    let ObjectRef { namespace, name } = object;
    proxy::ObjectRef { namespace: namespace.clone(), name: name.clone() }
}

pub(super) fn duration(field: &'static str, span: proxy::Duration) -> Result<Duration, Refusal> {
    check(span.nanos < 1_000_000_000, field, "a second has fewer nanoseconds")?;
    Ok(Duration::new(span.seconds, span.nanos))
}

pub(super) fn write_duration(span: Duration) -> proxy::Duration {
    proxy::Duration { seconds: span.as_secs(), nanos: span.subsec_nanos() }
}

pub(super) fn host(pattern: proxy::HostPattern) -> Result<HostPattern, Refusal> {
    match set("hostname", pattern.pattern)? {
        Pattern::Any(proxy::host_pattern::Any {}) => Ok(HostPattern::Any),
        Pattern::Wildcard(text) | Pattern::Exact(text) => {
            HostPattern::parse(&text).map_err(|e| invalid("hostname", e.to_string()))
        }
    }
}

pub(super) fn write_host(pattern: &HostPattern) -> proxy::HostPattern {
    let pattern = match pattern {
        HostPattern::Any => Pattern::Any(proxy::host_pattern::Any {}),
        HostPattern::Wildcard(_) => Pattern::Wildcard(pattern.to_string()),
        HostPattern::Exact(host) => Pattern::Exact(host.clone()),
    };
    proxy::HostPattern { pattern: Some(pattern) }
}
