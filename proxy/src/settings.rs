//! What a proxy is started with, and the limits that hold when nobody says otherwise.

use std::{path::PathBuf, time::Duration};

use crate::http1;

/// How a proxy is started. What it serves is not here: that comes as resources.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Request threads; at least 1.
    pub threads: usize,
    /// Where last good resources and the SVID's key are kept; none keeps nothing.
    pub state_dir: Option<PathBuf>,
    /// The Unix socket of the admin interface.
    pub admin: Option<PathBuf>,
    /// Where access log lines go; none writes none.
    pub access_log: Option<AccessLog>,
    /// Bounds on what strangers may use.
    pub limits: Limits,
}

/// Where access log lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// Bounds on what strangers may use, on by default.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Clients' connections; more are closed at once.
    pub connections: usize,
    /// A request head.
    pub request_head: http1::Limits,
    /// A response head.
    pub response_head: http1::Limits,
    /// Chunked bodies.
    pub body: http1::BodyLimits,
    /// From the first byte of a request head to its last.
    pub header_timeout: Duration,
    /// Between requests on a client's connection.
    pub idle_timeout: Duration,
    /// For the TLS handshake, the `ClientHello` included.
    pub handshake_timeout: Duration,
    /// Without progress while a client sends a body, or takes an answer.
    pub stall_timeout: Duration,
    /// Without a byte in either direction of a tunnel.
    pub tunnel_idle: Duration,
    /// For a connection to an endpoint, the TLS handshake included.
    pub connect_timeout: Duration,
    /// An unused connection to an endpoint is kept for so long.
    pub upstream_idle: Duration,
    /// Unused connections kept for each endpoint and thread.
    pub upstream_idle_connections: usize,
    /// Interim answers (1xx) to one request.
    pub interim_answers: u32,
    /// Bytes of a request's body that are held for its mirrors.
    pub mirror_buffer: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub http2_streams: u32,
    /// After the signal to end: how long everything is served as before, not ready.
    pub drain_wait: Duration,
    /// After that: time to finish requests.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: available_threads(),
            state_dir: None,
            admin: None,
            access_log: None,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            request_head: http1::Limits::default(),
            response_head: http1::Limits::default(),
            body: http1::BodyLimits::default(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_mins(1),
            tunnel_idle: Duration::from_hours(1),
            connect_timeout: Duration::from_secs(2),
            upstream_idle: Duration::from_mins(1),
            upstream_idle_connections: 512,
            interim_answers: 16,
            mirror_buffer: 64 * 1024,
            http2_streams: 128,
            drain_wait: Duration::ZERO,
            drain: Duration::from_secs(10),
        }
    }
}

/// The cores that this process may use: its CPU quota, or those of the machine.
pub fn available_threads() -> usize {
    // The standard library reads cgroup quotas and affinity on Linux.
    std::thread::available_parallelism().map_or(1, usize::from)
}
