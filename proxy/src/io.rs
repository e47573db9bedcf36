//! One connection's bytes, in clear text or inside TLS.
//!
//! A read takes exactly one system call when bytes are there and none when the runtime knows that there
//! are none: [`AsyncRead::poll_read`] clears the readiness after a short read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{buffer::Buffer, tls::TlsStream};

/// A connection to a client or to an upstream.
pub(crate) enum Io {
    /// In clear text.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream>),
}

/// Reads once into the room of `buffer`; 0 is the end of the stream, and room there must be.
pub(crate) fn poll_fill(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut Buffer,
) -> Poll<io::Result<usize>> {
    let mut room = ReadBuf::new(buffer.room_mut());
    let result = ready!(Pin::new(stream).poll_read(cx, &mut room));
    let read = room.filled().len();
    buffer.fill(read);
    Poll::Ready(result.map(|()| read))
}

impl Io {
    /// Reads what is there into the room of `buffer`; 0 is the end of the stream. When nothing is there
    /// and nothing is held, the buffer's storage is given back.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let result = match self {
            Self::Plain(stream) => poll_fill(stream, cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
        };
        if result.is_pending() {
            buffer.release();
        }
        result
    }

    /// Writes from the front of `bytes`; what is taken may still be held inside until flushed.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, bytes),
        }
    }

    /// Sends whatever is held inside.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }

    /// Whether nothing has arrived, the end of the stream included, as far as is known without a system
    /// call: what a pooled connection must be.
    pub(crate) fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx).is_pending(),
            Self::Tls(stream) => stream.is_quiet(cx),
        }
    }
}

/// For protocols that bring their own machinery (HTTP/2).
impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Tls(stream) => stream.poll_read_into(cx, out),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_shutdown(cx)
    }
}
