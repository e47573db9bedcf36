//! What an exchange needs of its two sides, whatever they speak.
//!
//! Heads have the form of HTTP/1.1 on both sides: what HTTP/2 brings is written as such a head first and
//! read by the same strict reader, so that there is one normalisation and one set of edits.

use std::{
    io,
    task::{Context, Poll},
};

use super::{body::ReadError, wire::Coding};
use crate::http1::{
    BodyCoding, Edits, FieldsView, Framing, HeadError, InvalidValue, Persistence, Request, Response,
};

/// The client's side of one exchange.
pub(crate) trait Downstream {
    /// The head of the request.
    fn request(&self) -> Request<'_>;
    /// Whether request bodies can be passed on raw, chunked framing included.
    fn is_wire(&self) -> bool;
    /// Chooses between raw bytes and content.
    fn set_raw(&mut self, raw: bool);
    /// Waits for bytes of the body to forward, or for its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>>;
    /// Bytes of the body to forward.
    fn body(&self) -> &[u8];
    /// That many were forwarded.
    fn advance(&mut self, count: usize);
    /// Whether the body is forwarded to its end.
    fn is_body_done(&self) -> bool;
    /// The trailers of the body, once it is done and when it was not raw.
    fn trailers(&self) -> Option<FieldsView<'_>>;
    /// Begins the body again, for another attempt; false when that cannot be.
    fn rewind(&mut self) -> bool;
    /// Stops keeping the body for another attempt.
    fn let_go(&mut self);
    /// Waits for the client to go away, while it has nothing to send.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Says that no other request may follow, where that is said in an answer.
    fn set_last(&mut self) {}
    /// How an answer with this framing is framed for the client, and what is said of the connection.
    fn coding(&mut self, response: &Response<'_>, framing: Framing) -> (BodyCoding, Persistence);
    /// Queues an interim answer.
    fn send_interim(&mut self, response: Response<'_>, edits: &Edits);
    /// Queues the head of an answer that came with this framing; `chunks` says that its content is to be
    /// written as chunks.
    fn send_head(&mut self, response: Response<'_>, edits: &Edits, framing: Framing, chunks: bool);
    /// Takes bytes of the answer's body; how many.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Queues the end of the answer.
    fn send_end(&mut self, trailers: Option<FieldsView<'_>>);
    /// Sends what is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// The endpoint's side of one attempt.
pub(crate) trait UpstreamSide {
    /// Queues the head of the request. `coding` is how its content is to be framed.
    ///
    /// # Errors
    /// When `target` is none that may be sent.
    fn send_head(
        &mut self,
        request: Request<'_>,
        edits: &Edits,
        target: Option<&[u8]>,
        coding: Coding,
    ) -> Result<(), InvalidValue>;
    /// Whether bodies are passed on raw, chunked framing included.
    fn is_wire(&self) -> bool;
    /// Whether anything may have reached the endpoint.
    fn reached(&self) -> bool;
    /// Takes bytes of the request's body; how many.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    /// Queues the end of the request.
    fn send_end(&mut self, trailers: Option<FieldsView<'_>>);
    /// Sends what is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits for the head of an answer, interim ones included.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AnswerError>>;
    /// The head that came.
    fn response(&self) -> Response<'_>;
    /// Makes ready for the head after an interim one.
    fn next_head(&mut self);
    /// Goes on to the body of the answer.
    fn begin_body(&mut self, framing: Framing, raw: bool);
    /// Waits for bytes of the body to forward, or for its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>>;
    /// Bytes of the body to forward.
    fn body(&self) -> &[u8];
    /// That many were forwarded.
    fn advance(&mut self, count: usize);
    /// Whether the body is forwarded to its end.
    fn is_body_done(&self) -> bool;
    /// The trailers of the body.
    fn trailers(&self) -> Option<FieldsView<'_>>;
}

/// Why there is no head of an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The connection ended or failed before the first byte of an answer.
    #[error("the connection ended before the answer")]
    Nothing(#[source] io::Error),
    /// It ended or failed within the head.
    #[error("the connection ended within the answer's head")]
    Partial(#[source] io::Error),
    /// What came is no answer.
    #[error("the answer is malformed")]
    Malformed(#[source] HeadError),
}
