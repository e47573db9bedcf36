//! The `ClientHello`, read before anything is decided: by its server name a listener or a handle is chosen.
//!
//! However the hello is cut into segments and records, the decision waits for all of it, within the
//! buffer's size and the handshake's time (cases.md D12). What was read is handed on, so that whoever ends
//! TLS, here or behind a passthrough, sees the same bytes.

use std::{
    io,
    task::{Context, Poll, ready},
};

use rustls::server::Acceptor;
use tokio::net::TcpStream;

use crate::{buffer::Buffer, io::poll_fill};

/// What a hello asks for.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The server name as it was sent; rustls has checked that it is a DNS name.
    pub(crate) server_name: Option<String>,
}

/// A hello under way.
#[derive(Default)]
pub(crate) struct Reading {
    acceptor: Acceptor,
    /// How much of the buffer the acceptor has seen.
    seen: usize,
}

/// Reads the `ClientHello` into `buffer` and leaves it there.
///
/// # Errors
/// When the client leaves, or what it sends is no `ClientHello`; the alert that says so was sent.
pub(crate) async fn read_hello(stream: &mut TcpStream, buffer: &mut Buffer) -> io::Result<Hello> {
    let mut reading = Reading::default();
    std::future::poll_fn(|cx| reading.poll(cx, stream, buffer)).await
}

impl Reading {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<Hello>> {
        loop {
            let mut new = buffer.filled().get(self.seen..).unwrap_or_default();
            while !new.is_empty() {
                self.seen += self.acceptor.read_tls(&mut new)?;
            }
            match self.acceptor.accept() {
                Ok(Some(accepted)) => {
                    let server_name = accepted.client_hello().server_name().map(str::to_owned);
                    return Poll::Ready(Ok(Hello { server_name }));
                }
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    if alert.write(&mut bytes).is_ok() {
                        drop(stream.try_write(&bytes));
                    }
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
            if buffer.room() == 0 {
                let error = io::Error::new(io::ErrorKind::InvalidData, "the ClientHello is too long");
                return Poll::Ready(Err(error));
            }
            match ready!(poll_fill(stream, cx, buffer)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Refuses a handshake because of its server name (RFC 6066, section 3; RFC 8446, section 6).
pub(crate) fn refuse_name(stream: &TcpStream) {
    // An alert record of TLS 1.2 form, which every version reads: fatal, unrecognized_name.
    const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
    drop(stream.try_write(&ALERT));
}
