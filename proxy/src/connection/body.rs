//! Reads the body of a message out of a connection, piece by piece, as it may be forwarded.
//!
//! Two ways: as content, without framing; or raw, when the far end gets the same framing, so that nothing
//! is copied. A request's body may be kept behind its head until the answer begins, so that it can be sent
//! again; it is kept for as long as it fits into the buffer that it was read into.

use std::{
    io,
    ops::Range,
    task::{Context, Poll, ready},
};

use crate::{
    buffer::{BULK, Buffer, SIZE},
    http1::{BodyDecoder, BodyError, BodyLimits, FieldsView, Framing},
    io::Io,
};

/// The body of one message, read from a buffer whose front is the message's head.
pub(crate) struct BodyReader {
    framing: Framing,
    limits: BodyLimits,
    decoder: BodyDecoder,
    raw: bool,
    /// How many bytes of the buffer's front are the head.
    head: usize,
    /// Where the bytes stand that are to be forwarded.
    piece: Range<usize>,
    /// Up to here the decoder has seen the buffer.
    cursor: usize,
    /// How much of the raw trailer section was forwarded.
    trailer: usize,
    /// Everything from the front of the body is still in the buffer.
    kept: bool,
    /// Content and framing bytes that were taken in.
    received: u64,
}

/// Why a body cannot be read on.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The connection failed or ended too early.
    Io(io::Error),
    /// The framing is broken.
    Framing(BodyError),
}

impl BodyReader {
    /// A reader of a body that follows `head` bytes at the front of the buffer.
    pub(crate) fn new(framing: Framing, limits: BodyLimits, head: usize, kept: bool) -> Self {
        Self {
            framing,
            limits,
            decoder: BodyDecoder::new(framing, limits),
            raw: true,
            head,
            piece: 0..0,
            cursor: head,
            trailer: 0,
            kept,
            received: 0,
        }
    }

    /// Chooses between raw bytes and content; before anything is read.
    pub(crate) fn set_raw(&mut self, raw: bool) {
        self.raw = raw;
    }

    /// Begins again at the front; false when that is gone.
    pub(crate) fn rewind(&mut self) -> bool {
        if self.kept {
            self.decoder = BodyDecoder::new(self.framing, self.limits);
            self.piece = 0..0;
            self.cursor = self.head;
            self.trailer = 0;
            self.received = 0;
        }
        self.kept
    }

    /// Stops keeping what was forwarded.
    pub(crate) fn let_go(&mut self) {
        self.kept = false;
    }

    /// Whether the body is read to its end. Bytes of it may still wait to be forwarded.
    pub(crate) fn is_read(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether the body is read and forwarded to its end.
    pub(crate) fn is_done(&self, buffer: &Buffer) -> bool {
        self.decoder.is_done() && self.piece(buffer).is_empty()
    }

    /// Up to here the buffer belongs to this message.
    pub(crate) fn end(&self) -> usize {
        self.cursor
    }

    /// How many bytes of the body were taken in.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// The trailers, once the body is read.
    pub(crate) fn trailers(&self) -> Option<FieldsView<'_>> {
        self.decoder.trailers()
    }

    /// Bytes to forward.
    pub(crate) fn piece<'a>(&'a self, buffer: &'a Buffer) -> &'a [u8] {
        if !self.piece.is_empty() {
            return buffer.filled().get(self.piece.clone()).unwrap_or_default();
        }
        if self.raw && self.decoder.is_done() {
            return self.decoder.trailer_section().get(self.trailer..).unwrap_or_default();
        }
        &[]
    }

    /// `count` bytes of the piece were forwarded.
    pub(crate) fn advance(&mut self, count: usize, buffer: &mut Buffer) {
        if self.piece.is_empty() {
            self.trailer += count;
            return;
        }
        self.piece.start = (self.piece.start + count).min(self.piece.end);
        if self.piece.is_empty() && !self.kept {
            self.discard(buffer);
        }
    }

    /// Waits for bytes to forward, or for the end.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut Io,
        buffer: &mut Buffer,
    ) -> Poll<Result<(), ReadError>> {
        loop {
            if !self.piece.is_empty() || self.decoder.is_done() {
                return Poll::Ready(Ok(()));
            }
            if self.cursor < buffer.len() {
                self.decode(buffer)?;
                continue;
            }
            self.make_room(buffer);
            let full = buffer.room();
            match ready!(io.poll_read(cx, buffer)) {
                Err(error) => return Poll::Ready(Err(ReadError::Io(error))),
                Ok(0) => self.decoder.end_of_input().map_err(ReadError::Framing)?,
                Ok(read) if read == full && !self.kept => buffer.grow(BULK),
                Ok(_) => {}
            }
        }
    }

    /// Decodes what is in the buffer, without reading; true when there are bytes to forward.
    pub(crate) fn decode_buffered(&mut self, buffer: &mut Buffer) -> Result<bool, ReadError> {
        while self.piece.is_empty() && !self.decoder.is_done() && self.cursor < buffer.len() {
            self.decode(buffer)?;
        }
        Ok(!self.piece(buffer).is_empty())
    }

    fn decode(&mut self, buffer: &mut Buffer) -> Result<(), ReadError> {
        let rest = buffer.filled().get(self.cursor..).unwrap_or_default();
        let found = if self.raw { self.decoder.pass(rest) } else { self.decoder.decode(rest) };
        let found = found.map_err(ReadError::Framing)?;
        self.piece = self.cursor + found.data.start..self.cursor + found.data.end;
        self.cursor += found.consumed;
        self.received += found.consumed as u64;
        if self.piece.is_empty() && !self.kept {
            self.discard(buffer);
        }
        Ok(())
    }

    /// Room to read into; gives up keeping the body when it does not fit.
    fn make_room(&mut self, buffer: &mut Buffer) {
        if buffer.room() > 0 {
            return;
        }
        buffer.compact();
        if buffer.room() == 0 {
            self.kept = false;
            self.discard(buffer);
        }
        if buffer.room() == 0 {
            buffer.grow(buffer.len() + SIZE);
        }
    }

    /// Removes what was forwarded from the buffer; the head stays.
    fn discard(&mut self, buffer: &mut Buffer) {
        let done = self.cursor - self.head;
        if self.head == 0 {
            buffer.consume(done);
        } else {
            buffer.cut(self.head, done);
        }
        self.cursor = self.head;
        self.piece = 0..0;
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::Framing(error) => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
