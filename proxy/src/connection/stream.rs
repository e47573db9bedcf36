//! The two directions of one HTTP/2 stream, of either side.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};

use super::body::ReadError;
use crate::{
    http1::{BodyLimits, FieldsView},
    http2::{Trailers, trailer_map},
};

/// The most that one write hands to the connection.
const WRITE: usize = 32 * 1024;

/// The content that comes.
pub(crate) struct Incoming {
    stream: RecvStream,
    current: Bytes,
    ended: bool,
    trailers: Option<Trailers>,
    limits: BodyLimits,
    received: u64,
}

impl Incoming {
    pub(crate) fn new(stream: RecvStream, limits: BodyLimits) -> Self {
        let ended = stream.is_end_stream();
        Self { stream, current: Bytes::new(), ended, trailers: None, limits, received: 0 }
    }

    /// Waits for content, or for the end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        while self.current.is_empty() && !self.ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    self.received += data.len() as u64;
                    self.current = data;
                }
                Some(Err(error)) => return Poll::Ready(Err(ReadError::Io(io_error(error)))),
                None => {
                    let trailers = ready!(self.stream.poll_trailers(cx));
                    if let Some(map) = trailers.map_err(|error| ReadError::Io(io_error(error)))? {
                        let read = Trailers::read(&map, &self.limits).map_err(ReadError::Framing)?;
                        self.trailers = Some(read);
                    }
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Content to forward.
    pub(crate) fn data(&self) -> &Bytes {
        &self.current
    }

    /// That much was forwarded; the sender may send as much again.
    pub(crate) fn advance(&mut self, count: usize) {
        let count = count.min(self.current.len());
        self.current.advance(count);
        // It fails only when the stream is gone, which shows at the next read.
        let _ = self.stream.flow_control().release_capacity(count);
    }

    /// Whether all was forwarded.
    pub(crate) fn is_done(&self) -> bool {
        self.ended && self.current.is_empty()
    }

    pub(crate) fn trailers(&self) -> Option<FieldsView<'_>> {
        self.trailers.as_ref().map(Trailers::view)
    }

    /// How many bytes of content came.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }
}

/// Takes what the stream's window and buffer allow; how many bytes.
pub(crate) fn poll_send(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    let wanted = bytes.len().min(WRITE);
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
    let count = wanted.min(stream.capacity());
    let data = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
    Poll::Ready(stream.send_data(data, false).map(|()| count).map_err(io_error))
}

/// Ends the content.
pub(crate) fn send_end(
    stream: &mut SendStream<Bytes>,
    trailers: Option<FieldsView<'_>>,
) -> io::Result<()> {
    match trailers.filter(|trailers| !trailers.is_empty()) {
        Some(trailers) => stream.send_trailers(trailer_map(trailers)),
        None => stream.send_data(Bytes::new(), true),
    }
    .map_err(io_error)
}

/// The stream's error as that of its bytes.
pub(crate) fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
