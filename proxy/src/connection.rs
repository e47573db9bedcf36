//! One client's connection, from its first byte to its last.
//!
//! One task serves it and drives the upstream's connection as well. While it waits for a request it holds
//! no buffer and no scratch.

mod answer;
mod attempt;
mod body;
mod carry;
mod decide;
mod door;
mod edit;
mod exchange;
mod forward;
mod gathered;
mod http1;
mod http2;
mod serve;
mod sides;
pub(crate) mod stream;
mod tunnel;
mod watch;
pub(crate) mod wire;

pub(crate) use body::{BodyReader, ReadError};
pub(crate) use carry::Forwarded;
pub(crate) use door::accept;
pub(crate) use forward::Report;
pub(crate) use gathered::Gathered;
pub(crate) use sides::{AnswerError, Downstream, UpstreamSide};

use std::{net::SocketAddr, sync::Arc};

use isthmus_ir::{Name, matcher::Bind};

/// What is known of a client's connection: facts that are kept apart from what the client says.
pub(crate) struct Client {
    /// How it came in.
    pub(crate) door: Door,
    address: SocketAddr,
    /// The address as text, for `X-Forwarded-For`.
    text: Box<str>,
    port: u16,
}

/// How a connection came in.
pub(crate) enum Door {
    /// In clear text.
    Clear(Bind),
    /// Inside TLS that was ended here, for this server name.
    Tls(Bind, Option<Arc<str>>),
    /// From a peer, by a handle.
    Handle(Name),
}

impl Client {
    /// A client at `address` that came in by `door` on `port`.
    pub(crate) fn new(door: Door, address: SocketAddr, port: u16) -> Self {
        let text = address.ip().to_canonical().to_string().into();
        Self { door, address, text, port }
    }

    /// Where it connects from.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn address_text(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Whether the other end is a peer's proxy, which did the edge's work already.
    pub(crate) fn is_mesh(&self) -> bool {
        matches!(self.door, Door::Handle(_))
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if matches!(self.door, Door::Clear(_)) { "http" } else { "https" }
    }

    /// The port that it came in on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
