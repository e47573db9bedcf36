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
    io::Io,
    outgoing::Outgoing,
    sys,
};

/// One attempt on an HTTP/1.1 connection.
pub(crate) struct Http1Attempt {
    upstream: Upstream,
    input: Buffer,
    out: Outgoing,
    head: Box<ResponseHead>,
    body: BodyReader,
    limits: BodyLimits,
    /// Bytes of the body that were handed to the connection past what is queued.
    passed: u64,
    /// The endpoint has closed the connection.
    closed: bool,
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
            passed: 0,
            closed: false,
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

    /// A close acknowledges all that came before it, and what comes after it nobody reads; so what is not
    /// acknowledged by then was never seen. A reset acknowledges nothing, and says nothing.
    fn reached(&self) -> bool {
        let written = self.out.sent() + self.passed;
        match &self.upstream.io {
            Io::Plain(tcp) if self.closed => {
                sys::unacknowledged(tcp).map_or(written > 0, |left| (left as u64) < written)
            }
            _ => written > 0,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = wire::poll_send(&mut self.out, &mut self.upstream.io, self.coding, cx, bytes);
        // What was taken and is not queued went straight to the socket.
        if let (true, Poll::Ready(Ok(count))) = (self.out.is_empty(), &sent) {
            self.passed += *count as u64;
        }
        sent
    }

    fn send_end(&mut self, trailers: Option<FieldsView<'_>>) {
        wire::send_end(&mut self.out, self.coding, trailers);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
                Ok(0) => {
                    self.closed = true;
                    io::ErrorKind::UnexpectedEof.into()
                }
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

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        io::Read,
        net::{TcpListener, TcpStream},
    };

    use super::{Http1Attempt, Upstream};
    use crate::{
        connection::{UpstreamSide, wire::Coding},
        http1::{BodyLimits, Edits, Limits, RequestHead, ResponseHead},
        io::Io,
    };

    /// Whether a request to `endpoint`, which gives no answer, may have come to it. The endpoint acts
    /// before the request is sent when `first` says so, else after that.
    async fn reached(endpoint: impl FnOnce(TcpStream) + Send + 'static, first: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().unwrap();
        let acting = std::thread::spawn(move || endpoint(far));
        let acting = if first { acting.join().map(|()| None).unwrap() } else { Some(acting) };
        let upstream = Upstream { io: Io::Plain(near), gateway: None, reused: true };
        let mut attempt = Http1Attempt::new(
            upstream,
            Box::new(ResponseHead::new(Limits::default())),
            BodyLimits::default(),
        );
        let text = b"POST /orders HTTP/1.1\r\nhost: a.test\r\n\r\n";
        let mut head = RequestHead::new(Limits::default());
        head.parse(text).unwrap();
        attempt.send_head(head.view(text), &Edits::default(), None, Coding::Raw).unwrap();
        let _ = poll_fn(|cx| attempt.poll_flush(cx)).await;
        assert!(poll_fn(|cx| attempt.poll_head(cx)).await.is_err());
        if let Some(acting) = acting {
            acting.join().unwrap();
        }
        attempt.reached()
    }

    #[tokio::test]
    async fn what_was_sent_after_the_endpoint_closed_has_reached_nobody() {
        assert!(!reached(drop, true).await);
    }

    #[tokio::test]
    async fn what_was_read_has_reached_somebody_however_the_connection_ends() {
        assert!(reached(|mut far| drop(far.read(&mut [0; 4096])), false).await, "closed");
        assert!(reached(|mut far| drop(far.read(&mut [0; 5])), false).await, "reset");
    }
}
