//! The engine: keeps what follows from a World up to date, one keyed unit at a time.
//!
//! A [`Unit`] gathers its inputs for a key, as pointers to facts and to what earlier stages derived, and
//! translates them. Nothing but the inputs is in scope of a translation, so that nothing is read
//! unlisted. A [`Stage`] holds all cells of one unit. What may have changed is marked by whoever knows
//! what changed; marking too much costs time and nothing else, since a cell whose inputs are the same
//! pointers keeps its output, and an output that equals the old one is dropped and wakes nobody.
//!
//! A panic in a translation stays in its cell: the last good output stands, and the fault is told.

mod same;

pub use same::{Plain, Same};

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// One kind of derived thing.
pub trait Unit {
    /// What tells its cells apart.
    type Key: Ord + Clone + fmt::Debug;
    /// What is read for one cell.
    type Inputs: Same;
    /// What follows from it.
    type Output: PartialEq;
    /// What inputs are gathered from.
    type Context<'a>;

    /// Inputs of the cell of `key`; none when there is nothing to derive for it.
    fn gather(context: &Self::Context<'_>, key: &Self::Key) -> Option<Self::Inputs>;

    /// What follows from `inputs`, and from nothing else.
    fn translate(key: &Self::Key, inputs: &Self::Inputs) -> Self::Output;

    /// Takes over from `old` those parts of a new output that are equal, so that they stay the same
    /// pointers for whoever gathers them.
    fn settle(_old: &Self::Output, new: Self::Output) -> Self::Output {
        new
    }
}

/// All cells of one unit, and which of them may be out of date.
pub struct Stage<U: Unit> {
    cells: BTreeMap<U::Key, Cell<U>>,
    marked: BTreeSet<U::Key>,
    /// Those with a fault.
    faulty: BTreeSet<U::Key>,
}

struct Cell<U: Unit> {
    inputs: U::Inputs,
    output: Option<Arc<U::Output>>,
    fault: Option<Arc<str>>,
}

/// What became of one cell: its output is another one, or a fault came or went.
pub struct Edit<U: Unit> {
    /// Which.
    pub key: U::Key,
    /// Its output before.
    pub old: Option<Arc<U::Output>>,
    /// Its output now.
    pub new: Option<Arc<U::Output>>,
}

impl<U: Unit> Default for Stage<U> {
    fn default() -> Self {
        Self { cells: BTreeMap::new(), marked: BTreeSet::new(), faulty: BTreeSet::new() }
    }
}

impl<U: Unit> Stage<U> {
    /// Says that the cell of `key` may be out of date, or not be there yet.
    pub fn mark(&mut self, key: U::Key) {
        self.marked.insert(key);
    }

    /// Says so of every cell that there is.
    pub fn mark_all(&mut self) {
        self.marked.extend(self.cells.keys().cloned());
    }

    /// The output of a cell.
    pub fn output(&self, key: &U::Key) -> Option<&Arc<U::Output>> {
        self.cells.get(key)?.output.as_ref()
    }

    /// Why the newest inputs of a cell have no output.
    pub fn fault(&self, key: &U::Key) -> Option<&Arc<str>> {
        self.cells.get(key)?.fault.as_ref()
    }

    /// Every output, in order of key.
    pub fn outputs(&self) -> impl DoubleEndedIterator<Item = (&U::Key, &Arc<U::Output>)> {
        self.cells.iter().filter_map(|(key, cell)| Some((key, cell.output.as_ref()?)))
    }

    /// Outputs of keys in `range`, in order.
    pub fn range(
        &self,
        range: impl std::ops::RangeBounds<U::Key>,
    ) -> impl Iterator<Item = (&U::Key, &Arc<U::Output>)> {
        self.cells.range(range).filter_map(|(key, cell)| Some((key, cell.output.as_ref()?)))
    }

    /// Keys of cells in `range`, with an output or without.
    pub fn keys(&self, range: impl std::ops::RangeBounds<U::Key>) -> impl Iterator<Item = &U::Key> {
        self.cells.range(range).map(|(key, _)| key)
    }

    /// Every fault, in order of key.
    pub fn faults(&self) -> impl Iterator<Item = (&U::Key, &Arc<str>)> {
        self.faulty.iter().filter_map(|key| Some((key, self.cells.get(key)?.fault.as_ref()?)))
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Brings every marked cell up to date and answers with those that are different now, in order.
    pub fn refresh(&mut self, context: &U::Context<'_>) -> Vec<Edit<U>> {
        let marked = std::mem::take(&mut self.marked);
        marked.into_iter().filter_map(|key| self.update(context, key)).collect()
    }

    fn update(&mut self, context: &U::Context<'_>, key: U::Key) -> Option<Edit<U>> {
        let Some(inputs) = U::gather(context, &key) else { return self.drop(key) };
        let Some(cell) = self.cells.get_mut(&key) else {
            let (output, fault) = outcome(translated::<U>(&key, &inputs));
            if fault.is_some() {
                self.faulty.insert(key.clone());
            }
            let new = output.map(Arc::new);
            self.cells.insert(key.clone(), Cell { inputs, output: new.clone(), fault });
            return Some(Edit { key, old: None, new });
        };
        if cell.inputs.same(&inputs) {
            return None;
        }
        let (output, fault) = outcome(translated::<U>(&key, &inputs));
        cell.inputs = inputs;
        let faults = cell.fault != fault;
        if fault.is_some() {
            self.faulty.insert(key.clone());
        } else if faults {
            self.faulty.remove(&key);
        }
        cell.fault = fault;
        let old = cell.output.clone();
        let changed = output.is_some_and(|output| cell.put(output));
        let new = cell.output.clone();
        (changed || faults).then_some(Edit { key, old, new })
    }

    fn drop(&mut self, key: U::Key) -> Option<Edit<U>> {
        let old = self.cells.remove(&key)?.output;
        self.faulty.remove(&key);
        Some(Edit { key, old, new: None })
    }
}

impl<U: Unit> Cell<U> {
    /// Keeps `output` unless it equals the one that is there.
    fn put(&mut self, output: U::Output) -> bool {
        let output = match &self.output {
            Some(old) => {
                let settled = U::settle(old, output);
                if **old == settled {
                    return false;
                }
                settled
            }
            None => output,
        };
        self.output = Some(Arc::new(output));
        true
    }
}

fn translated<U: Unit>(key: &U::Key, inputs: &U::Inputs) -> Result<U::Output, Arc<str>> {
    // Inputs are shared facts that nobody writes to, and the output of a panic is thrown away.
    catch_unwind(AssertUnwindSafe(|| U::translate(key, inputs))).map_err(|cause| said(&*cause))
}

fn outcome<T>(result: Result<T, Arc<str>>) -> (Option<T>, Option<Arc<str>>) {
    match result {
        Ok(output) => (Some(output), None),
        Err(fault) => (None, Some(fault)),
    }
}

/// What a panic said.
fn said(cause: &(dyn Any + Send)) -> Arc<str> {
    let text = cause.downcast_ref::<&str>().copied();
    text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked").into()
}

impl<U: Unit> fmt::Debug for Stage<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("cells", &self.cells.len()).finish_non_exhaustive()
    }
}
