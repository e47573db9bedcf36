//! Connections to endpoints: how they are made, kept while unused, and used again.

mod connect;
mod http1;
mod http2;
mod pool;

pub(crate) use connect::{ConnectError, connect};
pub(crate) use http1::Http1Attempt;
pub(crate) use http2::{Http2Attempt, Sender, connect as connect_http2};
pub(crate) use pool::Pool;

use std::sync::Arc;

use crate::{balance::Gateway, io::Io};

/// An HTTP/1.1 connection to an endpoint.
pub(crate) struct Upstream {
    pub(crate) io: Io,
    /// The gateway address that it leads through.
    pub(crate) gateway: Option<Arc<Gateway>>,
    /// Whether it was used before.
    pub(crate) reused: bool,
}
