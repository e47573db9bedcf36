//! The endpoint's side of an attempt in HTTP/1.1.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::Upstream;
use crate::{
    buffer::{Buffer, SIZE},
    connection::{
        AnswerError, BodyReader, ReadError, UpstreamSide,
        wire::{self, Coding},
    },
    http1::{
        BodyLimits, Edits, FieldsView, Framing, HeadError, InvalidValue, Method, Parse, Request,
        Response, ResponseHead,
    },
    outgoing::Outgoing,
};

/// One attempt on an HTTP/1.1 connection.
pub(crate) struct Http1Attempt {
    upstream: Upstream,
    input: Buffer,
    out: Outgoing,
    head: Box<ResponseHead>,
    body: BodyReader,
    limits: BodyLimits,
    /// Bytes were written to the socket, or may have been.
    wrote: bool,
    /// Of the request.
    method: Method,
    /// The head of the answer was read.
    answering: bool,
    /// How the request's content is written.
    coding: Coding,
    /// The whole answer was read and the connection may be used again.
    reusable: bool,
}

impl Http1Attempt {
    /// An attempt on `upstream`, with scratch for the answer's head.
    pub(crate) fn new(upstream: Upstream, head: Box<ResponseHead>, limits: BodyLimits) -> Self {
        Self {
            upstream,
            input: Buffer::default(),
            out: Outgoing::default(),
            head,
            body: BodyReader::new(Framing::None, limits, 0, false),
            limits,
            wrote: false,
            method: Method::Get,
            answering: false,
            coding: Coding::Raw,
            reusable: false,
        }
    }

    /// The connection, scratch, and whether the connection can be used again.
    pub(crate) fn finish(self) -> (Upstream, Box<ResponseHead>, bool) {
        // Bytes behind the answer are nobody's (cases.md A15).
        let clean = self.input.is_empty() && self.out.is_empty();
        let reusable = self.reusable && self.body.is_read() && clean;
        let mut head = self.head;
        head.clear();
        (self.upstream, head, reusable)
    }

    /// What came behind the head of an answer that opened a tunnel, with the connection.
    pub(crate) fn into_tunnel(self) -> (Upstream, Buffer, Box<ResponseHead>) {
        (self.upstream, self.input, self.head)
    }

    /// How many bytes of the answer's body came.
    pub(crate) fn received(&self) -> u64 {
        self.body.received()
    }

    /// Says which method the request has, when its head is not written by this.
    pub(crate) fn set_method(&mut self, method: Method) {
        self.method = method;
    }

    /// The method of the request.
    pub(crate) fn method(&self) -> Method {
        self.method
    }

    /// Whether the head of the answer was read.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering
    }
}

impl UpstreamSide for Http1Attempt {
    fn send_head(
        &mut self,
        request: Request<'_>,
        edits: &Edits,
        target: Option<&[u8]>,
        coding: Coding,
    ) -> Result<(), InvalidValue> {
        self.method = request.method();
        self.coding = coding;
        edits.write_request(request, target, self.out.writer())
    }

    fn is_wire(&self) -> bool {
        true
    }

    fn wrote(&self) -> bool {
        self.wrote
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.wrote = true;
        wire::poll_send(&mut self.out, &mut self.upstream.io, self.coding, cx, bytes)
    }

    fn send_end(&mut self, trailers: Option<FieldsView<'_>>) {
        wire::send_end(&mut self.out, self.coding, trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wrote = true;
        self.out.poll_send(cx, &mut self.upstream.io)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AnswerError>> {
        loop {
            if !self.input.is_empty() {
                match self.head.parse(self.input.filled()) {
                    Ok(Parse::Complete(_)) => return Poll::Ready(Ok(())),
                    Ok(Parse::Partial) => {}
                    Err(error) => return Poll::Ready(Err(AnswerError::Malformed(error))),
                }
            }
            if self.input.room() == 0 {
                self.input.grow(self.input.len() + SIZE);
            }
            let read = ready!(self.upstream.io.poll_read(cx, &mut self.input));
            let error = match read {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            return Poll::Ready(Err(if self.input.is_empty() {
                AnswerError::Nothing(error)
            } else {
                AnswerError::Partial(error)
            }));
        }
    }

    fn response(&self) -> Response<'_> {
        self.head.view(self.input.filled())
    }

    fn next_head(&mut self) {
        let length = self.response().head_len();
        self.input.consume(length);
        self.head.clear();
    }

    fn begin_body(&mut self, framing: Framing, raw: bool) {
        let ends = matches!(framing, Framing::UntilClose | Framing::Tunnel);
        self.answering = true;
        self.reusable = self.response().is_persistent() && !ends;
        let length = self.response().head_len();
        self.input.consume(length);
        self.body = BodyReader::new(framing, self.limits, 0, false);
        self.body.set_raw(raw);
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        self.body.poll(cx, &mut self.upstream.io, &mut self.input)
    }

    fn body(&self) -> &[u8] {
        self.body.piece(&self.input)
    }

    fn advance(&mut self, count: usize) {
        self.body.advance(count, &mut self.input);
    }

    fn is_body_done(&self) -> bool {
        self.body.is_done(&self.input)
    }

    fn trailers(&self) -> Option<FieldsView<'_>> {
        self.body.trailers()
    }
}

/// A head that is complete but makes no sense for the request is as bad as a malformed one.
impl From<HeadError> for AnswerError {
    fn from(error: HeadError) -> Self {
        Self::Malformed(error)
    }
}
