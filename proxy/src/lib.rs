//! The data plane: one program in the roles ingress gateway, east-west gateway and, later, sidecar.
//!
//! It is told what to do as resources of [`isthmus_ir`] and knows nothing of Kubernetes. [`Proxy`] is the
//! whole of it; the program adds a control plane's stream and signals.

pub mod admin;
pub mod control_plane;
pub mod http1;
pub mod http2;

mod access_log;
mod balance;
mod buffer;
mod clock;
mod config;
mod connection;
mod cors;
mod drain;
mod io;
mod listen;
mod metrics;
mod mirror;
mod outgoing;
mod plan;
mod proxy;
mod runtime;
mod settings;
mod snapshot;
mod spare;
mod sys;
mod thread;
mod timer;
mod tls;
mod upstream;

pub use proxy::{Applied, Proxy};
pub use settings::{AccessLog, Limits, Settings, available_threads};
pub use sys::disable_huge_pages;
