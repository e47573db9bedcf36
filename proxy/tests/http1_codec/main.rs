//! The HTTP/1.1 codec against a corpus, a slow reference, other servers' answers, and itself.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod bodies;
mod connection;
mod corpus;
mod differential;
mod forwarding;
mod limits;
mod mutation;
mod property;
mod reference;
mod responses;
