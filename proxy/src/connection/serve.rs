//! The life of a client's connection: handshake, requests one after another, end.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    Client,
    answer::Answer,
    forward::{self, Report, Served, serve},
    http1::{Http1Connection, Http1Request},
    sides::Downstream,
    tunnel,
};
use crate::{
    access_log,
    buffer::{Buffer, SIZE},
    http1::{HeadError, Method, Parse, RequestHead, Version},
    http2,
    thread::Thread,
    timer::Timer,
};

/// What is read and thrown away at most after the last answer, so that the client gets to read it
/// (RFC 9112, section 9.6).
const LINGER_BYTES: usize = 256 * 1024;
/// For how long, in milliseconds.
const LINGER: u64 = 1000;
/// A client whose next request comes within this keeps what serving takes, in milliseconds.
const SOON: u64 = 100;

/// What the wait for a request ended with.
enum Arrived {
    /// A head, complete.
    Head,
    /// Bytes that are none.
    Bad(HeadError),
    /// The client left, or said nothing for too long.
    Nothing,
    /// It began a head and did not end it in time.
    Late,
}

/// How the part of a connection ended that speaks HTTP/1.1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the connection.
    Over,
    /// The client speaks HTTP/2; what it has sent is still there.
    Http2,
}

/// Serves requests until the connection ends.
///
/// What serving takes has a box of its own, which lasts for as long as requests keep coming: a connection
/// that waits for long is its socket and little more, and one in use allocates nothing for a request.
pub(crate) async fn serve_http1(
    thread: &Rc<Thread>,
    connection: &mut Http1Connection,
    client: &Client,
    timer: &Rc<Timer>,
) -> Ended {
    let mut first = true;
    loop {
        let idle = thread.idle_timeout();
        timer.disarm();
        if poll_fn(|cx| wait(thread, connection, (timer, idle), cx)).await != Waited::Bytes {
            return Ended::Over;
        }
        if std::mem::take(&mut first) && !client.is_mesh() {
            // TLS says by ALPN what is spoken; in clear text its first bytes do.
            match poll_fn(|cx| is_http2(thread, connection, timer, cx)).await {
                Some(false) => {}
                Some(true) => return Ended::Http2,
                None => return Ended::Over,
            }
        }
        if Box::pin(serve_requests(thread, connection, client, timer)).await == Busy::Over {
            return Ended::Over;
        }
    }
}

/// Why requests stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Busy {
    /// None came for a while.
    Idle,
    Over,
}

/// Serves the request that has begun to arrive and those that follow it soon.
async fn serve_requests(
    thread: &Rc<Thread>,
    connection: &mut Http1Connection,
    client: &Client,
    timer: &Rc<Timer>,
) -> Busy {
    loop {
        let limits = thread.shared.settings.limits.request_head;
        let mut head = thread.request_heads.take(|| RequestHead::new(limits));
        let mut armed = false;
        match poll_fn(|cx| read_head(thread, connection, &mut head, (timer, &mut armed), cx)).await {
            Arrived::Head => {}
            Arrived::Nothing => return Busy::Over,
            Arrived::Late => {
                refuse(thread, connection, 408, "the head took too long", timer).await;
                return Busy::Over;
            }
            Arrived::Bad(error) => {
                refuse(thread, connection, error.status(), "the head is malformed", timer).await;
                return Busy::Over;
            }
        }
        match serve_request(thread, connection, client, timer, head).await {
            After::Again => {}
            After::Close => {
                linger(thread, connection, timer).await;
                return Busy::Over;
            }
            After::Gone => return Busy::Over,
        }
        timer.disarm();
        match poll_fn(|cx| wait(thread, connection, (timer, SOON), cx)).await {
            Waited::Bytes => {}
            Waited::Late if !thread.shared.drain.closes_idle() => return Busy::Idle,
            Waited::Late | Waited::Gone => return Busy::Over,
        }
    }
}

/// What came of waiting for a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// Its first bytes are there.
    Bytes,
    /// Nothing, for as long as was waited.
    Late,
    Gone,
}

/// Waits for the first byte of a request, for so many milliseconds.
fn wait(
    thread: &Thread,
    connection: &mut Http1Connection,
    (timer, patience): (&Timer, u64),
    cx: &mut Context<'_>,
) -> Poll<Waited> {
    if !connection.input.is_empty() {
        return Poll::Ready(Waited::Bytes);
    }
    match connection.io.poll_read(cx, &mut connection.input) {
        Poll::Ready(Ok(1..)) => Poll::Ready(Waited::Bytes),
        Poll::Ready(_) => Poll::Ready(Waited::Gone),
        // Whose answer has just left may not know yet that there is to be no other.
        Poll::Pending if timer.passed() || (patience != SOON && thread.shared.drain.closes_idle()) => {
            Poll::Ready(Waited::Late)
        }
        Poll::Pending => {
            timer.arm(thread.timers.now() + patience);
            Poll::Pending
        }
    }
}

/// Whether the client begins HTTP/2 with prior knowledge; none when it says too little for too long.
fn is_http2(
    thread: &Thread,
    connection: &mut Http1Connection,
    timer: &Timer,
    cx: &mut Context<'_>,
) -> Poll<Option<bool>> {
    loop {
        if let Some(known) = http2::preface(connection.input.filled()) {
            return Poll::Ready(Some(known));
        }
        match connection.io.poll_read(cx, &mut connection.input) {
            Poll::Ready(Ok(1..)) => timer.arm(thread.timers.now() + thread.header_timeout()),
            Poll::Ready(_) => return Poll::Ready(None),
            Poll::Pending if timer.passed() => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        }
    }
}

fn read_head(
    thread: &Thread,
    connection: &mut Http1Connection,
    head: &mut RequestHead,
    (timer, armed): (&Timer, &mut bool),
    cx: &mut Context<'_>,
) -> Poll<Arrived> {
    loop {
        match head.parse(connection.input.filled()) {
            Ok(Parse::Complete(_)) => return Poll::Ready(Arrived::Head),
            Ok(Parse::Partial) => {}
            Err(error) => return Poll::Ready(Arrived::Bad(error)),
        }
        if *armed && timer.passed() {
            return Poll::Ready(Arrived::Late);
        }
        connection.input.compact();
        if connection.input.room() == 0 {
            connection.input.grow(connection.input.len() + SIZE);
        }
        match connection.io.poll_read(cx, &mut connection.input) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) => return Poll::Ready(Arrived::Nothing),
            Poll::Pending => {
                if !*armed {
                    // From its first byte on, so that one byte now and then buys no time.
                    timer.arm(thread.timers.now() + thread.header_timeout());
                    *armed = true;
                }
                return Poll::Pending;
            }
        }
    }
}

/// What becomes of the connection after a request.
enum After {
    Again,
    Close,
    Gone,
}

async fn serve_request(
    thread: &Rc<Thread>,
    connection: &mut Http1Connection,
    client: &Client,
    timer: &Rc<Timer>,
    head: Box<RequestHead>,
) -> After {
    let started = Instant::now();
    timer.disarm();
    let limits = thread.shared.settings.limits.body;
    let mut request = Http1Request::new(connection, head, limits);
    let mut report = Report::default();
    let context = forward::Context { thread, client, timer };
    let served = serve(&context, &mut request, &mut report).await;
    let mut tunnel = None;
    let after = match served {
        Served::Complete if request.is_persistent() => After::Again,
        Served::Complete => After::Close,
        Served::Broken => After::Gone,
        Served::Answer(answer) => {
            report.status = answer.status;
            if thread.shared.drain.has_begun() {
                request.set_last();
            }
            give(&mut request, &answer).await
        }
        Served::Tunnel(opened) => {
            tunnel = Some(opened);
            After::Gone
        }
    };
    let microseconds = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    forward::count_request(thread, &report, microseconds, request.received());
    access_log::request(thread, client, &request, &report, request.received(), microseconds);
    if let Some(tunnel) = tunnel {
        open_tunnel(thread, &mut request, *tunnel, timer).await;
    }
    let mut head = request.finish();
    head.clear();
    thread.request_heads.give(head);
    after
}

/// Writes an answer of our own.
async fn give(request: &mut Http1Request<'_>, answer: &Answer) -> After {
    let is_whole = request.take_buffered();
    if !is_whole {
        request.set_last();
    }
    let (version, method) = (request.request().version(), request.request().method());
    let persistent = request.is_persistent();
    let head_only = method == Method::Head;
    answer.write(persistent, version, head_only, request.connection().out.writer());
    match poll_fn(|cx| request.poll_flush(cx)).await {
        Err(_) => After::Gone,
        Ok(()) if persistent => After::Again,
        Ok(()) => After::Close,
    }
}

async fn open_tunnel(
    thread: &Rc<Thread>,
    request: &mut Http1Request<'_>,
    (mut upstream, second): (crate::upstream::Upstream, Buffer),
    timer: &Timer,
) {
    if poll_fn(|cx| request.poll_flush(cx)).await.is_err() {
        return;
    }
    let head_len = request.request().head_len();
    let connection = request.connection();
    connection.input.consume(head_len);
    let first = std::mem::take(&mut connection.input);
    let idle = thread.tunnel_idle();
    let tunnel =
        tunnel::run(&mut connection.io, first, &mut upstream.io, second, &thread.timers, timer, idle);
    Box::pin(tunnel).await;
}

/// Answers what is no request, and ends the connection.
async fn refuse(
    thread: &Rc<Thread>,
    connection: &mut Http1Connection,
    status: u16,
    why: &'static str,
    timer: &Timer,
) {
    let report = Report { status, ..Report::default() };
    forward::count_request(thread, &report, 0, 0);
    let answer = Answer::error(status, why);
    answer.write(false, Version::Http11, false, connection.out.writer());
    let Http1Connection { io, out, .. } = &mut *connection;
    if poll_fn(|cx| out.poll_send(cx, io)).await.is_ok() {
        linger(thread, connection, timer).await;
    }
}

/// Ends a connection so that the client gets to read the last answer: says that no more will come, and
/// throws away what still arrives, for a while.
async fn linger(thread: &Rc<Thread>, connection: &mut Http1Connection, timer: &Timer) {
    if poll_fn(|cx| connection.io.poll_shutdown(cx)).await.is_err() {
        return;
    }
    let until = thread.timers.now() + LINGER;
    let mut left = LINGER_BYTES;
    timer.arm(until);
    poll_fn(|cx| {
        loop {
            connection.input.clear();
            match connection.io.poll_read(cx, &mut connection.input) {
                Poll::Ready(Ok(read @ 1..)) if read < left => left -= read,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if timer.passed() => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}
