//! Whether inputs are the same as before: by pointer where they are shared, by value where they are small.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A comparison that may say "different" of equal things, and never "same" of different ones.
pub trait Same {
    /// Whether nothing can follow from `self` that does not follow from `other`.
    fn same(&self, other: &Self) -> bool;
}

/// A small value, compared as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Plain<T>(pub T);

impl<T: PartialEq> Same for Plain<T> {
    fn same(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: ?Sized> Same for Arc<T> {
    fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(self, other)
    }
}

impl<T: Same> Same for Option<T> {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Some(a), Some(b)) => a.same(b),
            (None, None) => true,
            _ => false,
        }
    }
}

impl<T: Same> Same for Vec<T> {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a.same(b))
    }
}

impl<K: Eq, V: Same> Same for BTreeMap<K, V> {
    fn same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|((k, a), (l, b))| k == l && a.same(b))
    }
}

impl<T: Eq> Same for BTreeSet<T> {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Same for () {
    fn same(&self, (): &Self) -> bool {
        true
    }
}

impl<A: Same, B: Same> Same for (A, B) {
    fn same(&self, other: &Self) -> bool {
        self.0.same(&other.0) && self.1.same(&other.1)
    }
}

/// Implements [`Same`] for a struct, field by field. A field that is left out does not compile.
#[macro_export]
macro_rules! same_fields {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::engine::Same for $name {
            fn same(&self, other: &Self) -> bool {
                let $name { $($field),+ } = self;
                $($crate::engine::Same::same($field, &other.$field))&&+
            }
        }
    };
}
