//! The engine with toy units: what is translated anew, what stops, and where a panic ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::{collections::BTreeMap, sync::Arc};

use isthmus_world::engine::{Edit, Plain, Stage, Unit};

/// Divides a hundred by a number, and has a neighbour's doubled number beside it.
struct Share;

#[derive(Clone, PartialEq, Debug)]
struct Shared {
    share: u32,
    sign: Arc<str>,
}

type Numbers = BTreeMap<u8, Arc<u32>>;

impl Unit for Share {
    type Key = u8;
    type Inputs = (Arc<u32>, Plain<bool>);
    type Output = Shared;
    type Context<'a> = &'a Numbers;

    fn gather(numbers: &&Numbers, key: &u8) -> Option<Self::Inputs> {
        Some((Arc::clone(numbers.get(key)?), Plain(*key > 100)))
    }

    fn translate(_: &u8, (number, _): &Self::Inputs) -> Shared {
        let sign = if **number > 50 { "large" } else { "small" };
        Shared { share: 100 / **number, sign: sign.into() }
    }

    fn settle(old: &Shared, new: Shared) -> Shared {
        let sign = if old.sign == new.sign { Arc::clone(&old.sign) } else { new.sign };
        Shared { sign, ..new }
    }
}

fn numbers(all: &[(u8, u32)]) -> Numbers {
    all.iter().map(|(key, number)| (*key, Arc::new(*number))).collect()
}

fn edits(edits: &[Edit<Share>]) -> Vec<(u8, Option<u32>, Option<u32>)> {
    let share = |output: &Option<Arc<Shared>>| output.as_ref().map(|shared| shared.share);
    edits.iter().map(|edit| (edit.key, share(&edit.old), share(&edit.new))).collect()
}

fn stage(numbers: &Numbers) -> Stage<Share> {
    let mut stage = Stage::default();
    for key in numbers.keys() {
        stage.mark(*key);
    }
    stage.refresh(&numbers);
    stage
}

#[test]
fn a_cell_comes_changes_and_goes() {
    let mut world = numbers(&[(1, 10)]);
    let mut stage = Stage::default();
    stage.mark(1);
    stage.mark(2);
    assert_eq!(edits(&stage.refresh(&&world)), [(1, None, Some(10))]);
    world.insert(1, Arc::new(20));
    assert_eq!(edits(&stage.refresh(&&world)), [], "an unmarked cell is not looked at");
    stage.mark(1);
    assert_eq!(edits(&stage.refresh(&&world)), [(1, Some(10), Some(5))]);
    world.clear();
    stage.mark_all();
    assert_eq!(edits(&stage.refresh(&&world)), [(1, Some(5), None)]);
    assert!(stage.is_empty());
}

#[test]
fn the_same_pointers_keep_the_output() {
    let world = numbers(&[(1, 10)]);
    let mut stage = stage(&world);
    let before = Arc::clone(stage.output(&1).unwrap());
    stage.mark_all();
    assert_eq!(edits(&stage.refresh(&&world)), []);
    assert!(Arc::ptr_eq(&before, stage.output(&1).unwrap()));
}

#[test]
fn an_equal_output_wakes_nobody_and_equal_parts_stay() {
    let mut world = numbers(&[(1, 30)]);
    let mut stage = stage(&world);
    let before = Arc::clone(stage.output(&1).unwrap());
    world.insert(1, Arc::new(33));
    stage.mark(1);
    assert_eq!(edits(&stage.refresh(&&world)), []);
    assert!(Arc::ptr_eq(&before, stage.output(&1).unwrap()));
    world.insert(1, Arc::new(40));
    stage.mark(1);
    assert_eq!(edits(&stage.refresh(&&world)), [(1, Some(3), Some(2))]);
    assert!(Arc::ptr_eq(&before.sign, &stage.output(&1).unwrap().sign));
}

#[test]
fn a_panic_stays_in_its_cell_and_the_last_good_output_stands() {
    let mut world = numbers(&[(1, 10), (2, 10), (3, 0)]);
    let mut stage = stage(&world);
    assert_eq!(stage.output(&3), None);
    assert_eq!(stage.fault(&3).unwrap().as_ref(), "attempt to divide by zero");
    world.insert(1, Arc::new(0));
    world.insert(2, Arc::new(50));
    stage.mark_all();
    let changed = edits(&stage.refresh(&&world));
    assert_eq!(changed, [(1, Some(10), Some(10)), (2, Some(10), Some(2))]);
    assert!(stage.fault(&1).is_some());
    world.insert(1, Arc::new(10));
    stage.mark(1);
    assert_eq!(edits(&stage.refresh(&&world)), [(1, Some(10), Some(10))], "the fault went");
    assert!(stage.fault(&1).is_none());
}
