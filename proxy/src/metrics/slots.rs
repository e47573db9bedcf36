//! Cells by slot number, and the names behind the numbers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

const CHUNK: usize = 64;
const CHUNKS: usize = 4096;

/// Cells that come into being in chunks when they are first used, and never move.
pub(crate) struct Slots<T>(Box<[OnceLock<Box<[T]>>]>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self((0..CHUNKS).map(|_| OnceLock::new()).collect())
    }
}

impl<T: Default> Slots<T> {
    /// The cells of `slot`; none beyond the bound, where nothing is counted.
    pub(crate) fn at(&self, slot: u32) -> Option<&T> {
        let slot = slot as usize;
        let chunk = self.0.get(slot / CHUNK)?;
        chunk.get_or_init(|| (0..CHUNK).map(|_| T::default()).collect()).get(slot % CHUNK)
    }

    /// The cells of `slot`, when they were ever used.
    pub(crate) fn existing(&self, slot: u32) -> Option<&T> {
        let slot = slot as usize;
        self.0.get(slot / CHUNK)?.get()?.get(slot % CHUNK)
    }
}

/// The numbers of names. A name keeps its number for the life of the process, so that its counters
/// never go back.
#[derive(Default)]
pub(crate) struct Names(Mutex<BTreeMap<String, u32>>);

impl Names {
    /// The slot of `name`.
    pub(crate) fn slot(&self, name: &str) -> u32 {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = names.get(name) {
            return *slot;
        }
        let slot = u32::try_from(names.len()).unwrap_or(u32::MAX);
        names.insert(name.to_owned(), slot);
        slot
    }

    /// All names in order.
    pub(crate) fn all(&self) -> Vec<(String, u32)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(|(name, slot)| (name.clone(), *slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, CHUNKS, Names, Slots};
    use crate::metrics::Counter;

    #[test]
    fn a_name_keeps_its_slot() {
        let names = Names::default();
        let a = names.slot("a");
        assert_ne!(a, names.slot("b"));
        assert_eq!(a, names.slot("a"));
    }

    #[test]
    fn cells_exist_once_used_and_end_at_the_bound() {
        let slots = Slots::<Counter>::default();
        assert!(slots.existing(70).is_none());
        slots.at(70).unwrap().add(2);
        assert_eq!(slots.existing(70).unwrap().read(), 2);
        assert!(slots.at(u32::try_from(CHUNK * CHUNKS).unwrap()).is_none());
    }
}
