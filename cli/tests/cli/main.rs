//! The program as people run it: what it prints, and what it exits with.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::needless_raw_string_hashes,
    reason = "tests fail by panicking; expect-test writes raw strings"
)]

mod common;
mod exit_codes;
mod instance;
mod offline;
