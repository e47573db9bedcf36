//! Which endpoint serves a request, by what this proxy knows of each one's health.
//!
//! State that means something across threads is shared and rarely written: one health record for each
//! endpoint and for each gateway address of a peer. What every request changes (requests in flight, the
//! turn of a round robin, the retry budget) is each thread's own. A thread looks at the records of a
//! service only when the service's epoch moved; then it computes its [`View`] anew.

mod budget;
mod health;
mod pick;
mod probe;
mod service;
mod view;

pub(crate) use budget::Budget;
pub(crate) use health::{Ejected, Failure, Health};
pub(crate) use pick::{Random, Tried};
pub(crate) use probe::Probes;
pub(crate) use service::{Endpoint, Epoch, Gateway, Peer, ServiceState, Slot, Way};
pub(crate) use view::View;
