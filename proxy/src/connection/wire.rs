//! The writing end of an HTTP/1.1 message, of either side.

use std::{
    io,
    task::{Context, Poll, ready},
};

use crate::{
    http1::{FieldsView, write_chunk, write_end},
    io::Io,
    outgoing::Outgoing,
};

/// Pieces up to this size are copied behind what is queued, so that they leave with it in one write.
const COALESCE: usize = 16 * 1024;
/// With more than this queued nothing is taken until it left.
const QUEUE: usize = 32 * 1024;

/// How the bytes of a body are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    /// As they come.
    Raw,
    /// Each piece as a chunk.
    Chunks,
}

/// Takes bytes of a body; how many were taken.
pub(crate) fn poll_send(
    out: &mut Outgoing,
    io: &mut Io,
    coding: Coding,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    if coding == Coding::Raw && out.is_empty() {
        return io.poll_write(cx, bytes);
    }
    if out.len() + bytes.len().min(COALESCE) > QUEUE {
        ready!(out.poll_send(cx, io))?;
        return poll_send(out, io, coding, cx, bytes);
    }
    let taken = bytes.get(..bytes.len().min(COALESCE)).unwrap_or_default();
    match coding {
        Coding::Raw => out.writer().extend_from_slice(taken),
        Coding::Chunks => write_chunk(taken, out.writer()),
    }
    Poll::Ready(Ok(taken.len()))
}

/// Queues the end of a body.
pub(crate) fn send_end(out: &mut Outgoing, coding: Coding, trailers: Option<FieldsView<'_>>) {
    if coding == Coding::Chunks {
        write_end(trailers, out.writer());
    }
}
