//! Keeping equal parts of an output the same pointers.

use std::{collections::BTreeMap, sync::Arc};

/// The old pointer, when what it points to is equal.
pub(super) fn keep<T: PartialEq + ?Sized>(old: &Arc<T>, new: Arc<T>) -> Arc<T> {
    if **old == *new { Arc::clone(old) } else { new }
}

/// The same for each of `new` that has an equal of its name in `old`.
pub(super) fn keep_all<T: PartialEq, N: Ord>(
    old: &[Arc<T>],
    new: Vec<Arc<T>>,
    name: impl Fn(&T) -> &N,
) -> Vec<Arc<T>> {
    let by_name: BTreeMap<&N, &Arc<T>> = old.iter().map(|item| (name(item), item)).collect();
    let kept = |item: Arc<T>| match by_name.get(name(&item)) {
        Some(old) => keep(old, item),
        None => item,
    };
    new.into_iter().map(kept).collect()
}
