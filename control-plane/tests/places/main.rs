//! Two places, one meaning: what is declared in a directory and what is declared on a real API server is
//! taken or refused alike, and leads to the same (design, invariant 9).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod case;
mod cluster;
mod corpus;
mod directory;
mod faults;
mod golden;
mod proxy;
mod server;
mod statuses;
