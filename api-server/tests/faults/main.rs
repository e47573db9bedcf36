//! What becomes of watches and Leases when an API server, or the way to it, fails: a real API server behind
//! a proxy that makes the faults.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod lease;
mod proxy;
mod watch;
