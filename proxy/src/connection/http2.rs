//! The client's side of an exchange in HTTP/2, and the connection that carries its streams.
//!
//! A task for the connection and one for each stream, all on one thread. The head of a request is written
//! as one of HTTP/1.1 and read by the strict reader; from there on there is no difference.

use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};

use super::{
    Client,
    answer::Answer,
    body::ReadError,
    forward::{self, Report, Served, serve},
    gathered::Gathered,
    sides::Downstream,
    stream::{self, Incoming},
};
use crate::{
    access_log,
    buffer::Buffer,
    http1::{
        BodyCoding, Edits, FieldsView, Framing, Method, Persistence, Request, RequestHead, Response,
    },
    http2,
    io::Io,
    thread::Thread,
    timer::Timer,
};

/// Bytes of a request's body that are kept for another attempt.
const KEPT: usize = 64 * 1024;

/// One request.
pub(crate) struct Http2Request {
    head: Box<RequestHead>,
    text: Vec<u8>,
    body: Incoming,
    /// What was forwarded of the body; none when it is not kept any more.
    kept: Option<Vec<Bytes>>,
    kept_bytes: usize,
    /// What is to be forwarded once more, last first.
    again: Vec<Bytes>,
    respond: SendResponse<Bytes>,
    send: Option<SendStream<Bytes>>,
    /// The answer was sent to its end, or cannot be any more.
    ended: bool,
    broken: bool,
}

impl Http2Request {
    fn current(&self) -> &Bytes {
        self.again.last().unwrap_or_else(|| self.body.data())
    }
}

impl Downstream for Http2Request {
    fn request(&self) -> Request<'_> {
        self.head.view(&self.text)
    }

    fn is_wire(&self) -> bool {
        false
    }

    fn set_raw(&mut self, _raw: bool) {}

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        if self.again.is_empty() { self.body.poll(cx) } else { Poll::Ready(Ok(())) }
    }

    fn body(&self) -> &[u8] {
        self.current()
    }

    fn advance(&mut self, count: usize) {
        let data = self.current();
        let front = data.slice(..count.min(data.len()));
        match self.again.pop() {
            Some(mut rest) => {
                let _ = rest.split_to(front.len());
                if !rest.is_empty() {
                    self.again.push(rest);
                }
            }
            None => self.body.advance(front.len()),
        }
        self.kept_bytes += front.len();
        if self.kept_bytes > KEPT {
            self.kept = None;
        }
        self.kept.iter_mut().for_each(|kept| kept.push(front.clone()));
    }

    fn is_body_done(&self) -> bool {
        self.again.is_empty() && self.body.is_done()
    }

    fn trailers(&self) -> Option<FieldsView<'_>> {
        self.body.trailers()
    }

    fn rewind(&mut self) -> bool {
        let Some(kept) = &mut self.kept else { return false };
        let mut again = std::mem::take(kept);
        again.reverse();
        // What was left of an earlier repetition comes behind.
        self.again.extend(again);
        self.kept_bytes = 0;
        true
    }

    fn let_go(&mut self) {
        self.kept = None;
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(cx),
            None if self.ended => return Poll::Pending,
            None => self.respond.poll_reset(cx),
        };
        reset.map(drop)
    }

    fn coding(&mut self, response: &Response<'_>, framing: Framing) -> (BodyCoding, Persistence) {
        let coding = match framing {
            Framing::Chunked | Framing::UntilClose => BodyCoding::Unframed,
            Framing::None if response.content_length().is_some_and(|n| n > 0) => BodyCoding::Described,
            _ => BodyCoding::Same,
        };
        (coding, Persistence::Default)
    }

    fn send_interim(&mut self, response: Response<'_>, edits: &Edits) {
        // A client that is gone shows elsewhere.
        let _ = self.respond.send_informational(http2::write_response(response, edits));
    }

    fn send_head(&mut self, response: Response<'_>, edits: &Edits, framing: Framing, _: bool) {
        let ended = framing == Framing::None;
        match self.respond.send_response(http2::write_response(response, edits), ended) {
            Ok(send) if !ended => self.send = Some(send),
            Ok(_) => self.ended = true,
            Err(_) => self.broken = true,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.send {
            Some(send) => stream::poll_send(send, cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn send_end(&mut self, trailers: Option<FieldsView<'_>>) {
        if let Some(mut send) = self.send.take() {
            self.ended = true;
            self.broken |= stream::send_end(&mut send, trailers).is_err();
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The connection's task writes.
        Poll::Ready(if self.broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) })
    }
}

/// Serves a connection that speaks HTTP/2 until it ends. Some of its bytes were read already.
pub(crate) async fn serve_http2(
    thread: &Rc<Thread>,
    (io, read): (Io, Buffer),
    client: Client,
    timer: &Rc<Timer>,
) {
    let (io, sending) = Gathered::new(io, read);
    let limits = &thread.shared.settings.limits;
    let settings = http2::Settings { streams: limits.http2_streams, ..http2::Settings::default() };
    timer.arm(thread.timers.now() + thread.handshake_timeout());
    let mut handshake = Box::pin(settings.server().handshake::<_, Bytes>(io));
    let shaken = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Pending if timer.passed() || sending.send(cx).is_err() => Poll::Ready(None),
        result => result.map(Result::ok),
    });
    let Some(mut connection) = shaken.await else { return };
    drop(handshake);
    let client = Rc::new(client);
    let mut leaving = false;
    loop {
        let accepted = poll_fn(|cx| {
            if thread.shared.drain.has_begun() && !leaving {
                leaving = true;
                connection.graceful_shutdown();
            }
            if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                return Poll::Ready(accepted);
            }
            if connection.has_streams() {
                timer.disarm();
            } else if timer.passed() {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                if let Poll::Ready(accepted) = connection.poll_accept(cx) {
                    return Poll::Ready(accepted);
                }
            } else {
                timer.arm(thread.timers.now() + thread.idle_timeout());
            }
            if sending.send(cx).is_ok() { Poll::Pending } else { Poll::Ready(None) }
        })
        .await;
        match accepted {
            Some(Ok((request, respond))) => {
                tokio::task::spawn_local(serve_stream(
                    Rc::clone(thread),
                    Rc::clone(&client),
                    request,
                    respond,
                ));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "HTTP/2 connection ended");
                return;
            }
            None => return,
        }
    }
}

async fn serve_stream(
    thread: Rc<Thread>,
    client: Rc<Client>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let started = Instant::now();
    let timer = poll_fn(|cx| Poll::Ready(Rc::new(thread.timers.register(cx.waker().clone())))).await;
    let limits = &thread.shared.settings.limits;
    let mut head = thread.request_heads.take(|| RequestHead::new(limits.request_head));
    let mut text = thread.targets.take(Vec::new);
    let ended = request.body().is_end_stream();
    let mut report = Report::default();
    if let Err(error) = http2::read_request(&request, ended, &mut text, &mut head) {
        report.status = error.status();
        answer(&mut respond, &Answer::error(error.status(), "the head is malformed"), false);
        forward::count_request(&thread, &report, 0, 0);
        return;
    }
    let mut down = Http2Request {
        head,
        text: std::mem::take(&mut *text),
        body: Incoming::new(request.into_body(), limits.body),
        kept: Some(Vec::new()),
        kept_bytes: 0,
        again: Vec::new(),
        respond,
        send: None,
        ended: false,
        broken: false,
    };
    let context = forward::Context { thread: &thread, client: &client, timer: &timer };
    match serve(&context, &mut down, &mut report).await {
        Served::Complete => {}
        Served::Answer(own) => {
            report.status = own.status;
            let head_only = down.request().method() == Method::Head;
            answer(&mut down.respond, &own, head_only);
            // A client that still sends is told to stop (RFC 9113, section 8.1) when the stream is dropped, and
            // not by a reset of ours, which would take the answer back that is still queued.
        }
        Served::Broken | Served::Tunnel(_) => match &mut down.send {
            Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
            None if !down.ended => down.respond.send_reset(Reason::INTERNAL_ERROR),
            None => {}
        },
    }
    let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let received = down.body.received();
    forward::count_request(&thread, &report, microseconds, received);
    access_log::request(&thread, &client, &down, &report, received, microseconds);
    let Http2Request { mut head, text: used, .. } = down;
    head.clear();
    thread.request_heads.give(head);
    *text = used;
    text.clear();
    thread.targets.give(text);
}

/// Sends an answer of our own.
fn answer(respond: &mut SendResponse<Bytes>, answer: &Answer, head_only: bool) {
    let (response, body) = answer.response();
    let ended = head_only || body.is_empty();
    // A client that is gone needs none.
    if let Ok(mut send) = respond.send_response(response, ended)
        && !ended
    {
        drop(send.send_data(body, true));
    }
}
