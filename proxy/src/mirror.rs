//! Copies of requests, whose answers are thrown away (Gateway API, `HTTPRequestMirrorFilter`).
//!
//! A copy is fed with the bytes of the body as they leave for the backend, through a buffer of its own that
//! is bounded: a mirror that takes too long, or answers without end, is given up and the request does not
//! notice (cases.md C11). It is never tried again.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use isthmus_ir::Fraction;

use crate::{
    balance::{Endpoint, Failure, Tried},
    connection::{Forwarded, UpstreamSide},
    http1::{Method, ResponseHead, write_chunk, write_end},
    plan::Mirror,
    snapshot::{Held, Snapshot},
    thread::{Pick, Thread},
    upstream::{Http1Attempt, connect},
};

/// The longest that a copy may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read before it is given up.
const ANSWER: u64 = 1 << 20;

/// What feeds the copies of one request. Dropped before the end, it ends them.
#[derive(Default)]
pub(crate) struct Tee {
    feeds: Vec<Rc<RefCell<Feed>>>,
    /// Content is to be written as chunks.
    chunks: bool,
    limit: usize,
    /// How far the current attempt has come, and the furthest that any has.
    position: u64,
    fed: u64,
}

/// Bytes that wait to be sent to one mirror.
#[derive(Default)]
struct Feed {
    bytes: Vec<u8>,
    state: State,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    Ended,
    GivenUp,
}

/// Begins the copies that `mirrors` ask for of a request whose head is `head`.
pub(crate) fn begin<'m>(
    thread: &Rc<Thread>,
    snapshot: &Rc<Held>,
    mirrors: impl Iterator<Item = &'m Mirror>,
    head: &Forwarded,
    chunks: bool,
) -> Tee {
    let limit = thread.shared.settings.limits.mirror_buffer;
    let mut tee = Tee { feeds: Vec::new(), chunks, limit, position: 0, fed: 0 };
    for mirror in mirrors.filter(|mirror| is_drawn(thread, mirror.fraction)) {
        let Some(endpoint) = endpoint(thread, snapshot, mirror) else {
            thread.metrics.mirrors_dropped.add(1);
            continue;
        };
        let feed = Rc::new(RefCell::new(Feed { bytes: head.text.clone(), ..Feed::default() }));
        tee.feeds.push(Rc::clone(&feed));
        tokio::task::spawn_local(copy(
            Rc::clone(thread),
            Rc::clone(snapshot),
            endpoint,
            feed,
            head.method,
        ));
    }
    tee
}

fn is_drawn(thread: &Thread, fraction: Fraction) -> bool {
    thread.random.below(u64::from(fraction.denominator.max(1))) < u64::from(fraction.numerator)
}

fn endpoint(thread: &Thread, snapshot: &Snapshot, mirror: &Mirror) -> Option<Arc<Endpoint>> {
    let service = snapshot.service(mirror.service)?;
    match thread.pick(service, &Tried::default(), false) {
        Pick::Endpoint(index) => service.endpoints.get(index).map(Arc::clone),
        Pick::Down | Pick::Empty => None,
    }
}

impl Tee {
    /// Bytes of the body left for the backend.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        if self.feeds.is_empty() {
            return;
        }
        let seen = usize::try_from(self.fed.saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.position += bytes.len() as u64;
        let Some(new) = bytes.get(seen.min(bytes.len())..).filter(|new| !new.is_empty()) else { return };
        self.fed = self.position;
        for feed in &self.feeds {
            let mut feed = feed.borrow_mut();
            if feed.bytes.len() + new.len() > self.limit {
                feed.end(State::GivenUp);
            } else if self.chunks {
                write_chunk(new, &mut feed.bytes);
            } else {
                feed.bytes.extend_from_slice(new);
            }
            feed.wake();
        }
    }

    /// The body is sent again from its front.
    pub(crate) fn rewind(&mut self) {
        self.position = 0;
    }

    /// The body has left.
    pub(crate) fn end(&mut self) {
        for feed in self.feeds.drain(..) {
            let mut feed = feed.borrow_mut();
            if self.chunks {
                write_end(None, &mut feed.bytes);
            }
            feed.end(State::Ended);
        }
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        for feed in self.feeds.drain(..) {
            feed.borrow_mut().end(State::GivenUp);
        }
    }
}

impl Feed {
    fn end(&mut self, state: State) {
        if self.state == State::Open {
            self.state = state;
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

async fn copy(
    thread: Rc<Thread>,
    snapshot: Rc<Held>,
    endpoint: Arc<Endpoint>,
    feed: Rc<RefCell<Feed>>,
    method: Method,
) {
    let sent = tokio::time::timeout(PATIENCE, send(&thread, &snapshot, &endpoint, &feed, method)).await;
    feed.borrow_mut().end(State::GivenUp);
    match sent {
        Ok(Ok(())) => thread.metrics.mirrored.add(1),
        _ => thread.metrics.mirrors_dropped.add(1),
    }
}

async fn send(
    thread: &Thread,
    snapshot: &Snapshot,
    endpoint: &Arc<Endpoint>,
    feed: &RefCell<Feed>,
    method: Method,
) -> io::Result<()> {
    let limits = &thread.shared.settings.limits;
    let _in_flight = thread.pool.begin(endpoint);
    let pooled = thread.pool.take(endpoint, &mut Context::from_waker(Waker::noop()));
    let upstream = match pooled {
        Some(upstream) => upstream,
        None => connect(endpoint, &snapshot.mesh, limits.connect_timeout).await.map_err(|error| {
            thread.shared.probes.endpoint_failed(endpoint, Failure::Connection);
            io::Error::other(error)
        })?,
    };
    let head = thread.response_heads.take(|| ResponseHead::new(limits.response_head));
    let mut up = Http1Attempt::new(upstream, head, limits.body);
    up.set_method(method);
    poll_fn(|cx| poll_exchange(cx, &mut up, feed)).await?;
    let (upstream, head, reusable) = up.finish();
    thread.response_heads.give(head);
    if reusable {
        thread.pool.put(endpoint, upstream, thread.timers.now());
    }
    Ok(())
}

/// Sends what is fed and throws away what is answered, until both have ended.
fn poll_exchange(
    cx: &mut Context<'_>,
    up: &mut Http1Attempt,
    feed: &RefCell<Feed>,
) -> Poll<io::Result<()>> {
    let sent = poll_feed(cx, up, feed)?;
    loop {
        if up.is_answering() {
            let count = up.body().len();
            if count > 0 {
                up.advance(count);
                if up.received() > ANSWER {
                    return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
                }
            } else if up.is_body_done() {
                return sent.map(Ok);
            } else {
                ready!(up.poll_body(cx)).map_err(io::Error::from)?;
            }
            continue;
        }
        ready!(up.poll_head(cx)).map_err(io::Error::other)?;
        let response = up.response();
        if response.is_interim() {
            up.next_head();
        } else {
            let framing = response.framing(up.method(), false).map_err(io::Error::other)?;
            up.begin_body(framing, false);
        }
    }
}

fn poll_feed(cx: &mut Context<'_>, up: &mut Http1Attempt, feed: &RefCell<Feed>) -> Poll<io::Result<()>> {
    let mut feed = feed.borrow_mut();
    if feed.state == State::GivenUp {
        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
    }
    while !feed.bytes.is_empty() {
        match up.poll_send(cx, &feed.bytes) {
            Poll::Ready(count) => drop(feed.bytes.drain(..count?)),
            Poll::Pending => break,
        }
    }
    feed.waker = Some(cx.waker().clone());
    if up.poll_flush(cx)?.is_ready() && feed.bytes.is_empty() && feed.state == State::Ended {
        return Poll::Ready(Ok(()));
    }
    Poll::Pending
}
