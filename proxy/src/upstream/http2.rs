//! The endpoint's side of an attempt in HTTP/2, and the connections that carry the streams.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    client::{ResponseFuture, SendRequest},
};

use super::connect::direct;
use crate::{
    buffer::Buffer,
    connection::{
        AnswerError, Gathered, ReadError, UpstreamSide,
        stream::{self, Incoming},
        wire::Coding,
    },
    http1::{
        BodyLimits, Edits, FieldsView, Framing, InvalidValue, Method, Request, Response, ResponseHead,
    },
    http2,
    io::Io,
};

/// Streams on a connection to an endpoint; each copy is for one of them.
pub(crate) struct Sender {
    requests: SendRequest<Bytes>,
    /// As many as there are copies.
    streams: Rc<()>,
}

impl Sender {
    /// A copy for one more stream, when the endpoint takes one more.
    pub(crate) fn one_more(&self) -> Option<Self> {
        // The first copy is the pool's.
        let open = Rc::strong_count(&self.streams) - 1;
        let has_room = open < self.requests.current_max_send_streams();
        has_room.then(|| Self { requests: self.requests.clone(), streams: Rc::clone(&self.streams) })
    }

    /// Whether the connection is still there.
    pub(crate) fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        !matches!(self.requests.poll_ready(cx), Poll::Ready(Err(_)))
    }
}

/// Opens a connection with prior knowledge; its task runs on this thread.
///
/// # Errors
/// When nobody answers, or not in HTTP/2.
pub(crate) async fn connect(addresses: &[SocketAddr], within: Duration) -> io::Result<Sender> {
    let tcp = direct(addresses, within).await?;
    let (io, sending) = Gathered::new(Io::Plain(tcp), Buffer::default());
    let settings = http2::Settings::default();
    let handshake = settings.client().handshake::<_, Bytes>(io);
    let (sender, mut connection) =
        tokio::time::timeout(within, handshake).await?.map_err(stream::io_error)?;
    tokio::task::spawn_local(async move {
        let ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Pending => match sending.send(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            Poll::Ready(ended) => Poll::Ready(ended.map_err(stream::io_error)),
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "HTTP/2 connection to an endpoint ended");
        }
    });
    Ok(Sender { requests: sender, streams: Rc::default() })
}

/// One attempt on a stream.
pub(crate) struct Http2Attempt {
    sender: Sender,
    send: Option<SendStream<Bytes>>,
    answer: Option<ResponseFuture>,
    /// The answer's head in the form of HTTP/1.1.
    text: Vec<u8>,
    head: Box<ResponseHead>,
    body: Option<Incoming>,
    /// What came with the head of the final answer.
    next: Option<h2::RecvStream>,
    method: Method,
    limits: BodyLimits,
    /// The endpoint said that it has not begun with the request.
    refused: bool,
}

impl Http2Attempt {
    pub(crate) fn new(sender: Sender, head: Box<ResponseHead>, limits: BodyLimits) -> Self {
        Self {
            sender,
            send: None,
            answer: None,
            text: Vec::new(),
            head,
            body: None,
            next: None,
            method: Method::Get,
            limits,
            refused: false,
        }
    }

    /// Gives the scratch back.
    pub(crate) fn finish(mut self) -> Box<ResponseHead> {
        self.head.clear();
        self.head
    }

    /// How many bytes of the answer's body came.
    pub(crate) fn received(&self) -> u64 {
        self.body.as_ref().map_or(0, Incoming::received)
    }

    fn failed(&mut self, error: h2::Error) -> AnswerError {
        self.refused = error.reason() == Some(Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR));
        AnswerError::Nothing(stream::io_error(error))
    }
}

impl UpstreamSide for Http2Attempt {
    fn send_head(
        &mut self,
        request: Request<'_>,
        edits: &Edits,
        target: Option<&[u8]>,
        _: Coding,
    ) -> Result<(), InvalidValue> {
        self.method = request.method();
        let ended = request.framing() == Framing::None;
        let head = http2::write_request(request, edits, target, http2::Scheme::Http)?;
        match self.sender.requests.send_request(head, ended) {
            Ok((answer, send)) => {
                self.answer = Some(answer);
                self.send = (!ended).then_some(send);
            }
            // Nothing was sent; there will be no answer.
            Err(_) => self.refused = true,
        }
        Ok(())
    }

    fn is_wire(&self) -> bool {
        false
    }

    fn reached(&self) -> bool {
        !self.refused
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.send {
            Some(send) => stream::poll_send(send, cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn send_end(&mut self, trailers: Option<FieldsView<'_>>) {
        if let Some(mut send) = self.send.take() {
            // An endpoint that takes no more may have answered already.
            let _ = stream::send_end(&mut send, trailers);
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AnswerError>> {
        let Some(answer) = &mut self.answer else {
            return Poll::Ready(Err(AnswerError::Nothing(io::ErrorKind::NotConnected.into())));
        };
        match answer.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => {
                let read =
                    http2::read_response(&interim, self.method, false, &mut self.text, &mut self.head);
                return Poll::Ready(read.map_err(AnswerError::Malformed));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.failed(error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        match ready!(Pin::new(answer).poll(cx)) {
            Ok(response) => {
                let ended = response.body().is_end_stream();
                let read =
                    http2::read_response(&response, self.method, ended, &mut self.text, &mut self.head);
                self.next = Some(response.into_body());
                self.answer = None;
                Poll::Ready(read.map_err(AnswerError::Malformed))
            }
            Err(error) => Poll::Ready(Err(self.failed(error))),
        }
    }

    fn response(&self) -> Response<'_> {
        self.head.view(&self.text)
    }

    fn next_head(&mut self) {
        self.head.clear();
        self.text.clear();
    }

    fn begin_body(&mut self, _: Framing, _: bool) {
        self.body = self.next.take().map(|body| Incoming::new(body, self.limits));
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        match &mut self.body {
            Some(body) => body.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn body(&self) -> &[u8] {
        self.body.as_ref().map(|body| &**body.data()).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        if let Some(body) = &mut self.body {
            body.advance(count);
        }
    }

    fn is_body_done(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_done)
    }

    fn trailers(&self) -> Option<FieldsView<'_>> {
        self.body.as_ref().and_then(Incoming::trailers)
    }
}
