//! A hash map from byte strings, of which a copy shares all that is not edited afterwards.
//!
//! Tables are replaced as a whole at each commit, and nearly all of each is as it was. The map is cut
//! into shards of bounded size behind pointers: a copy clones the pointers, an edit clones one shard.

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Entries that a shard has on average before the number of shards is doubled.
const LOAD: usize = 64;

type Shard<V> = Arc<HashTable<(Arc<[u8]>, V)>>;

/// See the module. There is always a power of two of shards, at least one.
#[derive(Clone)]
pub(super) struct Shards<V> {
    all: Vec<Shard<V>>,
    len: usize,
    hasher: RandomState,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self { all: vec![Arc::default()], len: 0, hasher: RandomState::default() }
    }
}

impl<V> Shards<V> {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        let hash = self.hash(key);
        let shard = self.all.get(self.index(hash))?;
        shard.find(hash, |(k, _)| **k == *key).map(|(_, value)| value)
    }

    /// All entries, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.all.iter().flat_map(|shard| shard.iter().map(|(_, value)| value))
    }

    fn hash(&self, key: &[u8]) -> u64 {
        hash(self.hasher, key)
    }

    /// By bits that the tables themselves use for neither place nor tag.
    fn index(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.all.len() - 1)
    }
}

impl<V: Clone> Shards<V> {
    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<&mut V> {
        let hash = self.hash(key);
        self.shard_mut(hash).find_mut(hash, |(k, _)| **k == *key).map(|(_, value)| value)
    }

    /// The value of `key`, which is `new` when there was none.
    pub(super) fn get_or_insert(&mut self, key: &[u8], new: impl FnOnce() -> V) -> &mut V {
        if self.get(key).is_none() {
            self.grow();
            self.len += 1;
        }
        let (hash, rehash) = (self.hash(key), self.rehash());
        let entry = self.shard_mut(hash).entry(hash, |(k, _)| **k == *key, rehash);
        &mut entry.or_insert_with(|| (key.into(), new())).into_mut().1
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<V> {
        let hash = self.hash(key);
        let entry = self.shard_mut(hash).find_entry(hash, |(k, _)| **k == *key).ok()?;
        let ((_, value), _) = entry.remove();
        self.len -= 1;
        Some(value)
    }

    /// Makes room for one more.
    fn grow(&mut self) {
        if self.len < self.all.len() * LOAD {
            return;
        }
        let count = self.all.len() * 2;
        let old = std::mem::replace(&mut self.all, vec![Arc::default(); count]);
        for (key, value) in old.iter().flat_map(|shard| shard.iter()) {
            let (hash, rehash) = (self.hash(key), self.rehash());
            self.shard_mut(hash).insert_unique(hash, (key.clone(), value.clone()), rehash);
        }
    }

    fn rehash(&self) -> impl Fn(&(Arc<[u8]>, V)) -> u64 + use<V> {
        let hasher = self.hasher;
        move |(key, _)| hash(hasher, key)
    }

    #[expect(clippy::indexing_slicing, reason = "the mask keeps the index below the number of shards")]
    fn shard_mut(&mut self, hash: u64) -> &mut HashTable<(Arc<[u8]>, V)> {
        let index = self.index(hash);
        Arc::make_mut(&mut self.all[index])
    }
}

fn hash(hasher: RandomState, key: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(key);
    state.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::Shards;

    proptest! {
        #[test]
        fn any_edits_give_a_map_and_leave_copies_alone(
            edits in vec((0_u16..600, any::<Option<u8>>()), 0..1500),
        ) {
            let (mut map, mut model) = (Shards::default(), BTreeMap::new());
            let (mut copy, mut copy_model) = (map.clone(), model.clone());
            for (i, (key, value)) in edits.into_iter().enumerate() {
                let name = key.to_string();
                if let Some(value) = value {
                    *map.get_or_insert(name.as_bytes(), || 0) = value;
                    model.insert(key, value);
                } else {
                    prop_assert_eq!(map.remove(name.as_bytes()), model.remove(&key));
                }
                if i % 500 == 0 {
                    (copy, copy_model) = (map.clone(), model.clone());
                }
            }
            for (map, model) in [(map, model), (copy, copy_model)] {
                prop_assert_eq!(map.is_empty(), model.is_empty());
                prop_assert_eq!(map.values().count(), model.len());
                for key in 0..600 {
                    prop_assert_eq!(map.get(key.to_string().as_bytes()), model.get(&key));
                }
            }
        }
    }
}
