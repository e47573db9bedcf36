//! What build.rs makes of `proto/`. Nothing is decided here, and nothing outside this crate sees it.

#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}
