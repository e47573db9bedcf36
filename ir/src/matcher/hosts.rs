//! A map by hostname that is asked for a host: the most specific pattern that matches comes first.
//!
//! Specificity is that of Gateway API: an exact name before wildcards, longer wildcards before shorter
//! ones, and no hostname last. Among the patterns that match one host, that order is total.

use super::shards::Shards;
use crate::HostPattern;

/// See the module.
#[derive(Clone)]
pub(super) struct Hosts<V> {
    exact: Shards<V>,
    wildcard: Shards<V>,
    any: Option<V>,
}

impl<V> Default for Hosts<V> {
    fn default() -> Self {
        Self { exact: Shards::default(), wildcard: Shards::default(), any: None }
    }
}

impl<V> Hosts<V> {
    /// The values of all patterns that match `host`, most specific first.
    pub(super) fn matching<'m>(&'m self, host: &str) -> impl Iterator<Item = &'m V> {
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host.as_bytes())).flatten();
        let host = if self.wildcard.is_empty() { "" } else { host };
        let wildcards = parents(host).filter_map(|parent| self.wildcard.get(parent.as_bytes()));
        exact.into_iter().chain(wildcards).chain(&self.any)
    }

    /// The value of the most specific pattern that matches.
    pub(super) fn best(&self, host: &str) -> Option<&V> {
        self.matching(host).next()
    }

    /// The value for hosts that are not known.
    pub(super) fn any(&self) -> Option<&V> {
        self.any.as_ref()
    }

    /// All values, in no order.
    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }
}

impl<V: Clone> Hosts<V> {
    pub(super) fn get_mut(&mut self, pattern: &HostPattern) -> Option<&mut V> {
        match pattern {
            HostPattern::Any => self.any.as_mut(),
            HostPattern::Wildcard(suffix) => self.wildcard.get_mut(suffix.as_bytes()),
            HostPattern::Exact(host) => self.exact.get_mut(host.as_bytes()),
        }
    }

    /// The value of `pattern`, which is `new` when there was none.
    pub(super) fn get_or_insert(&mut self, pattern: &HostPattern, new: impl FnOnce() -> V) -> &mut V {
        match pattern {
            HostPattern::Any => self.any.get_or_insert_with(new),
            HostPattern::Wildcard(suffix) => self.wildcard.get_or_insert(suffix.as_bytes(), new),
            HostPattern::Exact(host) => self.exact.get_or_insert(host.as_bytes(), new),
        }
    }

    pub(super) fn remove(&mut self, pattern: &HostPattern) -> Option<V> {
        match pattern {
            HostPattern::Any => self.any.take(),
            HostPattern::Wildcard(suffix) => self.wildcard.remove(suffix.as_bytes()),
            HostPattern::Exact(host) => self.exact.remove(host.as_bytes()),
        }
    }
}

/// `b.c` and `c` of `a.b.c`.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    let mut rest = host;
    std::iter::from_fn(move || {
        (_, rest) = rest.split_once('.')?;
        Some(rest)
    })
}
