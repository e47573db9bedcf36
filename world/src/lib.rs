//! What is known of all clusters: facts, how objects become facts, and the engine that keeps derived
//! things up to date.
//!
//! No clock, no randomness, no I/O and no client of anything: time and identifiers come in as facts.

pub mod fact;
