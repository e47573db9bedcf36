//! The end of the proxy as a timeline: not ready, a minimum wait, no new connections, last answers, deadline.
//!
//! From the beginning on `/ready` says no. For the minimum wait everything is served as before, so that
//! whoever sends traffic here has time to hear of it. Then nothing is accepted, and every answer ends its
//! connection; so connections in use close when their clients know it. Connections on which no request
//! comes are closed after [`IDLE`]; at the deadline whatever is left is dropped.

use std::{
    sync::atomic::{AtomicU8, Ordering::Relaxed},
    time::Duration,
};

/// For so long an idle connection may still bring a request.
pub(crate) const IDLE: Duration = Duration::from_secs(2);

const LEAVING: u8 = 1;
const BEGUN: u8 = 2;
const CLOSES_IDLE: u8 = 3;

/// How far the drain is.
#[derive(Default)]
pub(crate) struct Drain(AtomicU8);

impl Drain {
    /// Whether the end has come into sight: it should be sent nothing new.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0.load(Relaxed) >= LEAVING
    }

    /// Whether answers end their connections.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Relaxed) >= BEGUN
    }

    /// Whether connections without a request are closed.
    pub(crate) fn closes_idle(&self) -> bool {
        self.0.load(Relaxed) >= CLOSES_IDLE
    }

    pub(crate) fn leave(&self) {
        self.0.fetch_max(LEAVING, Relaxed);
    }

    pub(crate) fn begin(&self) {
        self.0.fetch_max(BEGUN, Relaxed);
    }

    pub(crate) fn close_idle(&self) {
        self.0.fetch_max(CLOSES_IDLE, Relaxed);
    }
}
