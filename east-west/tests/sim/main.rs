//! A seeded simulation of federation: the production state machines of two to four clusters, their proxies
//! and their users, on a network that delays, drops and partitions, with clocks that drift and processes
//! that pause, restart and leave. It checks the design's invariants 1, 2 and 7 and the leases' bounds.
//!
//! `ISTHMUS_SIM_SEED=7 cargo test --test sim` runs one seed; `ISTHMUS_SIM_SEEDS=100000` runs as many.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    reason = "a test may fail where it stands"
)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod bug;
mod check;
mod cluster;
mod data;
mod effects;
mod evil;
mod faults;
mod join;
mod net;
mod rng;
mod sim;
mod stream;
mod truth;

use std::{collections::BTreeSet, env, ops::Range, thread};

use bug::Bug;
use expect_test::expect;
use sim::Sim;

const SEEDS: u64 = 2000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// The first of these seeds that breaks something, and what.
fn first_failure(seeds: Range<u64>, bug: Option<Bug>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| Some((seed, Sim::new(seed, bug).run().err()?)))
}

#[test]
fn h5_h6_e3_thousands_of_seeds_keep_the_invariants() {
    if let Some(seed) = number("ISTHMUS_SIM_SEED") {
        let found = Sim::new(seed, None).run();
        return assert_eq!(found, Ok(()), "seed {seed}");
    }
    let seeds = number("ISTHMUS_SIM_SEEDS").unwrap_or(SEEDS);
    let half = seeds / 2;
    let other = thread::spawn(move || first_failure(half..seeds, None));
    let found = first_failure(0..half, None).or(other.join().unwrap());
    if let Some((seed, what)) = found {
        panic!("{what}; run it again with ISTHMUS_SIM_SEED={seed}");
    }
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        match first_failure(0..400, Some(bug)) {
            Some((seed, what)) => println!("{bug:?}: seed {seed}, {what}"),
            None => missed.push(bug),
        }
    }
    assert_eq!(missed, [], "the checks do not see these");
}

#[test]
fn runs_go_where_it_is_dangerous() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let mut sim = Sim::new(seed, None);
        sim.run().unwrap();
        seen.extend(sim.check.seen);
    }
    expect![[r#"
        {
            "a leave that is told",
            "a peer that is connected",
            "a peer that is forgotten",
            "a peer that is gone",
            "a peer that is lost",
            "a peer whose control link is lost",
            "a peer whose data path is lost",
            "a stream that begins",
            "a stream that resumes",
            "a stream that takes another one's place",
            "an answer to a join that is lost",
        }
    "#]]
    .assert_debug_eq(&seen);
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..20 {
        let runs = [0, 1].map(|_| {
            let mut sim = Sim::new(seed, None);
            let found = sim.run();
            (sim.trace, found)
        });
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}
