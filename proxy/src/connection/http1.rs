//! The client's side of an exchange in HTTP/1.1.

use std::{
    io,
    task::{Context, Poll},
};

use super::{
    body::{BodyReader, ReadError},
    sides::Downstream,
    wire::{self, Coding},
};
use crate::{
    buffer::Buffer,
    http1::{
        BodyCoding, BodyLimits, Edits, FieldsView, Framing, Persistence, Request, RequestHead, Response,
        Version,
    },
    io::Io,
    outgoing::Outgoing,
};

/// A client's connection that speaks HTTP/1.1.
pub(crate) struct Http1Connection {
    pub(crate) io: Io,
    pub(crate) input: Buffer,
    pub(crate) out: Outgoing,
}

/// One request on it.
pub(crate) struct Http1Request<'c> {
    connection: &'c mut Http1Connection,
    head: Box<RequestHead>,
    body: BodyReader,
    coding: Coding,
    /// Whether the connection is used again after this request.
    persistent: bool,
}

impl<'c> Http1Request<'c> {
    /// The request whose complete head is at the front of the connection's input.
    pub(crate) fn new(
        connection: &'c mut Http1Connection,
        head: Box<RequestHead>,
        limits: BodyLimits,
    ) -> Self {
        let request = head.view(connection.input.filled());
        let persistent = request.is_persistent();
        let body = BodyReader::new(request.framing(), limits, request.head_len(), true);
        Self { connection, head, body, coding: Coding::Raw, persistent }
    }

    /// Whether the connection may be used again, once the answer has left.
    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent && self.body.is_read()
    }

    /// How many bytes of body came.
    pub(crate) fn received(&self) -> u64 {
        self.body.received()
    }

    /// Ends the request: what belongs to it leaves the input. Gives the scratch back.
    pub(crate) fn finish(self) -> Box<RequestHead> {
        let end = self.body.end();
        self.connection.input.consume(end);
        self.head
    }

    /// The connection, for bytes of no message.
    pub(crate) fn connection(&mut self) -> &mut Http1Connection {
        self.connection
    }

    /// Takes in what of the body is there already; whether that is all of it.
    pub(crate) fn take_buffered(&mut self) -> bool {
        self.body.let_go();
        while let Ok(true) = self.body.decode_buffered(&mut self.connection.input) {
            let count = self.body.piece(&self.connection.input).len();
            self.body.advance(count, &mut self.connection.input);
        }
        self.body.is_read()
    }
}

impl Downstream for Http1Request<'_> {
    fn request(&self) -> Request<'_> {
        self.head.view(self.connection.input.filled())
    }

    fn set_last(&mut self) {
        self.persistent = false;
    }

    fn is_wire(&self) -> bool {
        true
    }

    fn set_raw(&mut self, raw: bool) {
        self.body.set_raw(raw);
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        self.body.poll(cx, &mut self.connection.io, &mut self.connection.input)
    }

    fn body(&self) -> &[u8] {
        self.body.piece(&self.connection.input)
    }

    fn advance(&mut self, count: usize) {
        self.body.advance(count, &mut self.connection.input);
    }

    fn is_body_done(&self) -> bool {
        self.body.is_done(&self.connection.input)
    }

    fn trailers(&self) -> Option<FieldsView<'_>> {
        self.body.trailers()
    }

    fn rewind(&mut self) -> bool {
        self.body.rewind()
    }

    fn let_go(&mut self) {
        self.body.let_go();
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Http1Connection { io, input, .. } = &mut *self.connection;
        // A client that sends its next request early is bounded by the buffer.
        while input.room() > 0 {
            match io.poll_read(cx, input) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
            }
        }
        Poll::Pending
    }

    fn coding(&mut self, response: &Response<'_>, framing: Framing) -> (BodyCoding, Persistence) {
        let http10 = self.request().version() == Version::Http10;
        let coding = match framing {
            Framing::Chunked | Framing::UntilClose if http10 => {
                self.persistent = false;
                BodyCoding::Unframed
            }
            Framing::UntilClose => BodyCoding::Chunked,
            Framing::None if response.content_length().is_some_and(|n| n > 0) => BodyCoding::Described,
            _ => BodyCoding::Same,
        };
        let persistence = match (framing, self.persistent, http10) {
            (Framing::Tunnel, ..) => Persistence::Upgrade,
            (_, false, _) => Persistence::Close,
            (_, true, true) => Persistence::KeepAlive,
            (_, true, false) => Persistence::Default,
        };
        (coding, persistence)
    }

    fn send_interim(&mut self, response: Response<'_>, edits: &Edits) {
        if self.request().version() == Version::Http11 {
            edits.write_response(response, self.connection.out.writer());
        }
    }

    fn send_head(&mut self, response: Response<'_>, edits: &Edits, _: Framing, chunks: bool) {
        edits.write_response(response, self.connection.out.writer());
        self.coding = if chunks { Coding::Chunks } else { Coding::Raw };
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Http1Connection { io, out, .. } = &mut *self.connection;
        wire::poll_send(out, io, self.coding, cx, bytes)
    }

    fn send_end(&mut self, trailers: Option<FieldsView<'_>>) {
        wire::send_end(&mut self.connection.out, self.coding, trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Http1Connection { io, out, .. } = &mut *self.connection;
        out.poll_send(cx, io)
    }
}
