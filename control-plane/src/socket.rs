//! The control socket: how the other `isthmus` commands ask the instance that runs on a state directory.
//!
//! HTTP/1.1 over the Unix socket [`SOCKET`], one operation a request, JSON both ways. Who may reach it is
//! decided by the state directory, which is for its owner alone. What an operation does is up to the
//! running instance, which implements [`Api`]; here requests are read, bounded and answered.

mod api;
mod client;
mod http;
pub mod kinds;
mod protocol;
mod proxies;
mod server;
#[cfg(test)]
mod tests;

pub use api::{Api, ApiError};
pub use client::{CallError, Client};
pub use protocol::{
    Invited, Joined, Listed, ObjectQuery, PeerInfo, ProxyAnswer, ProxyInfo, Question, Request,
};
pub use proxies::{ask, explain, is_ready};
pub use server::Server;

/// The name of the socket in the state directory.
pub const SOCKET: &str = "control.sock";
