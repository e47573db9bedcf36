//! What is counted, by the thread that sees it, and how it is merged for who asks.
//!
//! Every thread has cells of its own, of which it is the only writer: counting is a load and a store,
//! and no cache line moves between cores. Routes and services have a slot number, found when tables are
//! built; so nothing is looked up by name while serving. A scrape adds the threads up.

mod cells;
mod slots;
mod text;

pub(crate) use cells::{Counter, Gauge, LATENCY_BOUNDS_US, Latency};
pub(crate) use slots::{Names, Slots};
pub(crate) use text::render;

use std::sync::Arc;

/// What one thread counts.
#[derive(Default)]
pub(crate) struct ThreadMetrics {
    pub(crate) routes: Slots<RouteCells>,
    pub(crate) services: Slots<ServiceCells>,
    pub(crate) connections: ConnectionCells,
    /// Tasks that panicked; their connections were dropped and nothing else.
    pub(crate) panics: Counter,
    /// Requests that no route was asked about, by the class of the status that answered them.
    pub(crate) refused: [Counter; 5],
    /// Copies of requests that were made, and that were given up.
    pub(crate) mirrored: Counter,
    pub(crate) mirrors_dropped: Counter,
    /// Access log lines that found no room.
    pub(crate) log_lines_dropped: Counter,
}

/// Of one rule of a route.
#[derive(Default)]
pub(crate) struct RouteCells {
    /// By class of the answer's status: 1xx to 5xx.
    pub(crate) requests: [Counter; 5],
    pub(crate) latency: Latency,
    pub(crate) request_bytes: Counter,
    pub(crate) response_bytes: Counter,
    pub(crate) retries: Counter,
}

/// Of one service.
#[derive(Default)]
pub(crate) struct ServiceCells {
    /// Attempts by class of the answer's status.
    pub(crate) attempts: [Counter; 5],
    /// Attempts that got no answer.
    pub(crate) failures: Counter,
    pub(crate) retries: Counter,
    /// Retries that the budget did not allow.
    pub(crate) retries_refused: Counter,
    pub(crate) connects: Counter,
    pub(crate) connect_failures: Counter,
}

/// Of clients' connections.
#[derive(Default)]
pub(crate) struct ConnectionCells {
    pub(crate) accepted: Counter,
    pub(crate) open: Gauge,
    /// Refused because of the limit on connections.
    pub(crate) refused: Counter,
    pub(crate) tls_handshakes: Counter,
    pub(crate) tls_failures: Counter,
}

/// The cells of all threads and the names of their slots.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) threads: Vec<Arc<ThreadMetrics>>,
    pub(crate) routes: Names,
    pub(crate) services: Names,
}

/// The index of the class of `status` in an array by class.
pub(crate) fn class(status: u16) -> usize {
    usize::from(status / 100).clamp(1, 5) - 1
}

/// Counts one in the class of `status`.
pub(crate) fn count_class(cells: &[Counter; 5], status: u16) {
    if let Some(cell) = cells.get(class(status)) {
        cell.add(1);
    }
}
