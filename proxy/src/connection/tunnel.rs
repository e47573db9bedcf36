//! Bytes both ways, unopened: WebSocket after its 101, and TLS that is passed through.
//!
//! Each direction ends by itself (half-close, cases.md C17): the end of one side's bytes is passed on and
//! the other direction goes on. The tunnel ends when both have ended, when either side fails, or when
//! nothing has moved for the idle time.

use std::{
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use crate::{
    buffer::Buffer,
    io::Io,
    timer::{Timer, Timers},
};

/// One direction.
struct Half {
    buffer: Buffer,
    /// The reader has ended.
    ended: bool,
    /// The end was passed on.
    closed: bool,
    moved: u64,
}

/// Copies until both directions have ended. `first` and `second` are bytes that were read already from
/// `left` and `right`. Returns how many bytes went each way.
pub(crate) async fn run(
    left: &mut Io,
    first: Buffer,
    right: &mut Io,
    second: Buffer,
    timers: &Rc<Timers>,
    timer: &Timer,
    idle: u64,
) -> (u64, u64) {
    let mut up = Half::new(first);
    let mut down = Half::new(second);
    let mut since = timers.now();
    let mut seen = 0;
    std::future::poll_fn(|cx| {
        let results = [up.poll(cx, left, right), down.poll(cx, right, left)];
        if results.iter().any(|r| matches!(r, Poll::Ready(Err(_)))) || (up.closed && down.closed) {
            return Poll::Ready(());
        }
        let now = timers.now();
        if up.moved + down.moved != seen {
            seen = up.moved + down.moved;
            since = now;
        }
        if now.saturating_sub(since) >= idle {
            return Poll::Ready(());
        }
        timer.arm(since.saturating_add(idle));
        Poll::Pending
    })
    .await;
    timer.disarm();
    (up.moved, down.moved)
}

impl Half {
    fn new(buffer: Buffer) -> Self {
        Self { buffer, ended: false, closed: false, moved: 0 }
    }

    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Io, to: &mut Io) -> Poll<io::Result<()>> {
        loop {
            while !self.buffer.is_empty() {
                let sent = ready!(to.poll_write(cx, self.buffer.filled()))?;
                if sent == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.buffer.consume(sent);
                self.moved += sent as u64;
            }
            if self.ended {
                if !self.closed {
                    ready!(to.poll_flush(cx))?;
                    ready!(to.poll_shutdown(cx))?;
                    self.closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            match from.poll_read(cx, &mut self.buffer) {
                Poll::Pending => {
                    ready!(to.poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(read) => self.ended = read? == 0,
            }
        }
    }
}
