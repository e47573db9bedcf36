//! Federation: exports, imports, conflict rules, peers and their leases, trust bundles and names.
//!
//! Everything here is a pure function or a state machine without I/O: time comes in as a monotonic
//! [`Duration`](std::time::Duration) since any fixed moment, wall-clock time as seconds since 1970,
//! random bytes as parameters. What a peer says is believed only for that peer's own cluster id and trust
//! domain, within the bounds of [`import`], however it got here; nothing may rely on a peer's good will.

pub mod condition;
pub mod dns;
pub mod export;
pub mod failover;
pub mod handle;
pub mod import;
pub mod invite;
pub mod lease;
pub mod listener;
pub mod names;
pub mod peer;
pub mod refusal;
pub mod subset;
pub mod trust;

mod label;
