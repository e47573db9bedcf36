//! The rules of one hostname in one listener, found by path.
//!
//! Exact paths and prefixes share one hash map, which a path asks once for itself and once for each of
//! its leading elements; so the cost grows with the depth of the path and not with the number of routes.
//! Regular expressions are tried one after another.

use std::sync::Arc;

use super::{
    conditions::PathTest,
    precedence,
    rule::{Candidate, Rule},
    shards::Shards,
};
use crate::HostPattern;

/// See the module.
pub(super) struct Bucket<P> {
    /// The hostname.
    pub(super) pattern: HostPattern,
    paths: Shards<Arc<Entry<P>>>,
    /// In order of precedence.
    regexes: Arc<Vec<Candidate<P>>>,
    /// How many prefix candidates there are by number of elements; the last is not 0.
    depths: Vec<u32>,
}

/// The rules of one path, each list in order of precedence.
struct Entry<P> {
    exact: Vec<Candidate<P>>,
    prefix: Vec<Candidate<P>>,
}

/// What a visitor answers: whether it wants more.
pub(super) type More = bool;

impl<P> Clone for Bucket<P> {
    fn clone(&self) -> Self {
        Self {
            pattern: self.pattern.clone(),
            paths: self.paths.clone(),
            regexes: self.regexes.clone(),
            depths: self.depths.clone(),
        }
    }
}

impl<P> Clone for Entry<P> {
    fn clone(&self) -> Self {
        Self { exact: self.exact.clone(), prefix: self.prefix.clone() }
    }
}

impl<P> Bucket<P> {
    pub(super) fn new(pattern: HostPattern) -> Self {
        Self { pattern, paths: Shards::default(), regexes: Arc::default(), depths: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.regexes.is_empty()
    }

    /// Shows `visit` each candidate whose path condition `path` meets, in order of precedence, until it
    /// wants no more.
    pub(super) fn visit<'t>(
        &'t self,
        path: &[u8],
        mut visit: impl FnMut(&'t Candidate<P>) -> More,
    ) -> More {
        let exact = self.paths.get(path).map_or(&[][..], |entry| &entry.exact);
        exact.iter().all(&mut visit)
            && self.regexes.iter().filter(|c| is_regex_of(c, path)).all(&mut visit)
            && self.prefixes(path).all(visit)
    }

    /// The candidates of the prefixes of `path`, longest first.
    fn prefixes<'t>(&'t self, path: &[u8]) -> impl Iterator<Item = &'t Candidate<P>> {
        let start = self.deepest(path);
        let ends = std::iter::successors(Some(start), move |&(depth, end)| {
            let shorter = memchr::memrchr(b'/', path.get(..end)?)?;
            Some((depth.checked_sub(1)?, shorter))
        });
        let used = ends.filter(|&(depth, _)| self.depths.get(depth).is_some_and(|&n| n > 0));
        let entries = used.filter_map(move |(_, end)| self.paths.get(path.get(..end)?));
        entries.flat_map(|entry| &entry.prefix)
    }

    /// The number of elements and the end of the longest prefix of `path` that can be there.
    fn deepest(&self, path: &[u8]) -> (usize, usize) {
        let limit = self.depths.len().saturating_sub(1);
        let mut depth = 0;
        for slash in memchr::memchr_iter(b'/', path) {
            if depth == limit {
                return (depth, slash);
            }
            depth += 1;
        }
        (depth, path.len())
    }

    /// All that is in it, for tests that compare.
    #[cfg(test)]
    pub(super) fn dump(&self) -> String {
        let names = |list: &[Candidate<P>]| -> Vec<String> {
            list.iter().map(|c| format!("{}#{}", c.rule.route.name, c.index)).collect()
        };
        let entry =
            |entry: &Arc<Entry<P>>| format!("{:?} {:?}", names(&entry.exact), names(&entry.prefix));
        let mut entries: Vec<String> = self.paths.values().map(entry).collect();
        entries.sort();
        format!("{} {entries:?} {:?} {:?}", self.pattern, names(&self.regexes), self.depths)
    }

    /// Adds the matches of `rule`.
    pub(super) fn insert(&mut self, rule: &Arc<Rule<P>>) {
        for (conditions, candidate) in rule.matches.iter().zip(rule.candidates()) {
            match &conditions.path {
                PathTest::Exact(path) => _ = put(&mut self.entry(path).exact, candidate),
                PathTest::Prefix(path) => {
                    let new = put(&mut self.entry(path).prefix, candidate);
                    self.count(path, |n| n + u32::from(new));
                }
                PathTest::Regex(_) => _ = put(Arc::make_mut(&mut self.regexes), candidate),
            }
        }
    }

    /// Removes the matches of `rule`, which is told by its pointer.
    pub(super) fn remove(&mut self, rule: &Arc<Rule<P>>) {
        for conditions in rule.matches.iter() {
            match &conditions.path {
                PathTest::Exact(path) | PathTest::Prefix(path) => self.remove_at(path, rule),
                PathTest::Regex(_) => {
                    Arc::make_mut(&mut self.regexes).retain(|c| !Arc::ptr_eq(&c.rule, rule));
                }
            }
        }
    }

    fn remove_at(&mut self, path: &[u8], rule: &Arc<Rule<P>>) {
        let Some(entry) = self.paths.get_mut(path).map(Arc::make_mut) else { return };
        entry.exact.retain(|c| !Arc::ptr_eq(&c.rule, rule));
        let before = entry.prefix.len();
        entry.prefix.retain(|c| !Arc::ptr_eq(&c.rule, rule));
        let removed = u32::try_from(before - entry.prefix.len()).unwrap_or(u32::MAX);
        if entry.exact.is_empty() && entry.prefix.is_empty() {
            self.paths.remove(path);
        }
        self.count(path, |n| n.saturating_sub(removed));
    }

    fn entry(&mut self, path: &[u8]) -> &mut Entry<P> {
        let empty = || Arc::new(Entry { exact: Vec::new(), prefix: Vec::new() });
        Arc::make_mut(self.paths.get_or_insert(path, empty))
    }

    /// Edits the number of candidates of prefixes with as many elements as `prefix`.
    fn count(&mut self, prefix: &[u8], edit: impl FnOnce(u32) -> u32) {
        let depth = memchr::memchr_iter(b'/', prefix).count();
        if self.depths.len() <= depth {
            self.depths.resize(depth + 1, 0);
        }
        if let Some(count) = self.depths.get_mut(depth) {
            *count = edit(*count);
        }
        let used = self.depths.iter().rposition(|&n| n > 0).map_or(0, |last| last + 1);
        self.depths.truncate(used);
    }
}

fn is_regex_of<P>(candidate: &Candidate<P>, path: &[u8]) -> bool {
    let condition = candidate.conditions().map(|c| &c.path);
    matches!(condition, Some(PathTest::Regex(pattern)) if pattern.matches(path))
}

/// Puts a candidate in its place; false when it is there already.
fn put<P>(list: &mut Vec<Candidate<P>>, candidate: Candidate<P>) -> bool {
    match list.binary_search_by(|other| precedence::compare(other, &candidate).0) {
        Ok(_) => false,
        Err(place) => {
            list.insert(place, candidate);
            true
        }
    }
}
