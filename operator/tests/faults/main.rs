//! The operator against a real API server when things go wrong: it is killed at a write, the way to the API
//! server is bad, definitions are of another version, rights are missing, namespaces end.
//!
//! There are no nodes and no controllers: what they would do to Deployments, the bench does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_raw_string_hashes,
    reason = "a test fails by a panic; expect-test writes raw strings"
)]

mod bench;
mod cases;
mod commands;
mod crashes;
mod limits;
mod revisions;
mod rights;
mod trouble;
