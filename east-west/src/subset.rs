//! Which endpoints of a large service a caller is shown.
//!
//! Rendezvous hashing: each (caller, handle) has a fixed score, and a caller sees the best ones. Callers
//! see different endpoints, so that load spreads; and an endpoint that comes or goes changes one entry.

use sha2::{Digest, Sha256};

/// How many endpoints of a port a caller is shown at most.
pub const SUBSET: usize = 64;

/// The `limit` entries of `all` that `caller` sees, in their order in `all`.
pub fn subset<'a, T>(
    caller: &str,
    all: &'a [T],
    handle: impl Fn(&T) -> &str,
    limit: usize,
) -> Vec<&'a T> {
    if all.len() <= limit {
        return all.iter().collect();
    }
    let mut scored: Vec<_> =
        all.iter().enumerate().map(|(i, item)| (score(caller, handle(item)), i, item)).collect();
    scored.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| handle(a.2).cmp(handle(b.2))));
    scored.truncate(limit);
    scored.sort_by_key(|(_, index, _)| *index);
    scored.into_iter().map(|(_, _, item)| item).collect()
}

fn score(caller: &str, handle: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(caller.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(caller);
    hash.update(handle);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::subset;

    fn handles(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("h{i:04}")).collect()
    }

    #[test]
    fn small_services_are_shown_whole() {
        assert_eq!(subset("east", &handles(64), |h| h, 64).len(), 64);
    }

    #[test]
    fn one_endpoint_that_goes_changes_one_entry() {
        let all = handles(500);
        let before: Vec<_> = subset("east", &all, |h| h, 64).into_iter().cloned().collect();
        let without: Vec<_> = all.iter().filter(|h| **h != before[10]).cloned().collect();
        let after = subset("east", &without, |h| h, 64);
        assert_eq!(after.len(), 64);
        assert_eq!(after.iter().filter(|h| before.contains(h)).count(), 63);
        assert!(after.is_sorted());
    }

    #[test]
    fn callers_see_different_endpoints_and_together_nearly_all() {
        let all = handles(200);
        let mut seen: Vec<_> = (0..20)
            .flat_map(|i| subset(&format!("peer-{i}"), &all, |h| h, 64).into_iter().cloned())
            .collect();
        seen.sort();
        seen.dedup();
        assert!(seen.len() > 195, "only {} of 200 seen", seen.len());
    }
}
