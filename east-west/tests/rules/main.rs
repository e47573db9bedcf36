//! Each rule of federation, pinned by the smallest case that breaks without it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    reason = "a test may fail where it stands"
)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod accept;
mod dns;
mod export;
mod fixtures;
mod import;
mod invite;
mod lease;
mod names;
mod peer;
mod trust;
