//! What is known of all clusters: facts, how objects become facts, and the engine that keeps derived
//! things up to date.
//!
//! No clock, no randomness, no I/O and no client of anything: time and identifiers come in as facts.

pub mod change;
pub mod engine;
pub mod fact;
pub mod ingest;
pub mod kind;
mod state;

pub use change::Change;
pub use ingest::ingest;
pub use kind::{Kind, KindState, ObjectKey};
pub use state::{Mention, PeerExport, Reports, Touched, World};
