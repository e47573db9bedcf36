//! Heads between HTTP/1.1 and HTTP/2, and what a connection with our settings bears.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod floods;
mod inbound;
mod outbound;
mod streams;
