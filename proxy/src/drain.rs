//! The end of the proxy as a timeline: not ready, no new connections, last answers, deadline.
//!
//! From the beginning on `/ready` says no, nothing is accepted, and every answer ends its connection. So
//! connections in use close when their clients know it. Connections on which no request comes are closed
//! after [`IDLE`]; at the deadline whatever is left is dropped.

use std::{
    sync::atomic::{AtomicU8, Ordering::Relaxed},
    time::Duration,
};

/// For so long an idle connection may still bring a request.
pub(crate) const IDLE: Duration = Duration::from_secs(2);

const BEGUN: u8 = 1;
const CLOSES_IDLE: u8 = 2;

/// How far the drain is.
#[derive(Default)]
pub(crate) struct Drain(AtomicU8);

impl Drain {
    /// Whether answers end their connections.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Relaxed) >= BEGUN
    }

    /// Whether connections without a request are closed.
    pub(crate) fn closes_idle(&self) -> bool {
        self.0.load(Relaxed) >= CLOSES_IDLE
    }

    pub(crate) fn begin(&self) {
        self.0.fetch_max(BEGUN, Relaxed);
    }

    pub(crate) fn close_idle(&self) {
        self.0.fetch_max(CLOSES_IDLE, Relaxed);
    }
}
