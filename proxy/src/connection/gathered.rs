//! A connection as `h2` uses it: reads begin with what was read already, writes are gathered.
//!
//! `h2` writes frame by frame, the nine bytes of a head apart from a large payload, and flushes after each.
//! Here a flush does nothing: who drives the connection sends everything in one write, through [`Sending`],
//! once `h2` has nothing more to add. With TLS a write is a record, too.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{buffer::Buffer, io::Io, outgoing::Outgoing};

/// With so much gathered nothing is taken before it has left.
const MOST: usize = 32 * 1024;

/// See the module.
pub(crate) struct Gathered(Rc<RefCell<Inner>>);

/// Sends what was gathered.
pub(crate) struct Sending(Rc<RefCell<Inner>>);

struct Inner {
    io: Io,
    read: Buffer,
    out: Outgoing,
}

impl Gathered {
    /// The connection `io`, of which `read` was read already.
    pub(crate) fn new(io: Io, read: Buffer) -> (Self, Sending) {
        let inner = Rc::new(RefCell::new(Inner { io, read, out: Outgoing::default() }));
        (Self(Rc::clone(&inner)), Sending(inner))
    }
}

impl Sending {
    /// Sends what can be sent now; to be called whenever `h2` is left waiting. The task is woken when there
    /// is room for the rest.
    ///
    /// # Errors
    /// When the connection is broken.
    pub(crate) fn send(&self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.0.borrow_mut().poll_send(cx) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl Inner {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_send(cx, &mut self.io)
    }
}

impl AsyncRead for Gathered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Inner { io, read, .. } = &mut *self.0.borrow_mut();
        if read.is_empty() {
            return AsyncRead::poll_read(Pin::new(io), cx, out);
        }
        let count = read.len().min(out.remaining());
        out.put_slice(read.filled().get(..count).unwrap_or_default());
        read.consume(count);
        read.release();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if inner.out.len() >= MOST {
            ready!(inner.poll_send(cx))?;
        }
        let count = bytes.len().min(MOST);
        inner.out.writer().extend_from_slice(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(cx))?;
        inner.io.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Read, net::TcpListener, task::Poll};

    use tokio::io::{AsyncWrite, AsyncWriteExt};

    use super::{Gathered, MOST};
    use crate::{buffer::Buffer, io::Io};

    #[tokio::test]
    async fn what_was_written_leaves_at_once_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.set_nonblocking(true).unwrap();
        let (mut gathered, sending) = Gathered::new(Io::Plain(near), Buffer::default());
        gathered.write_all(b"head").await.unwrap();
        gathered.flush().await.unwrap();
        gathered.write_all(b"payload").await.unwrap();
        let mut read = [0; 64];
        assert!(far.read(&mut read).is_err(), "nothing has left");
        poll_fn(|cx| Poll::Ready(sending.send(cx))).await.unwrap();
        far.set_nonblocking(false).unwrap();
        assert_eq!(far.read(&mut read).unwrap(), 11);
        assert_eq!(&read[..11], b"headpayload");
    }

    #[tokio::test]
    async fn no_more_is_gathered_than_a_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _far = listener.accept().unwrap();
        let (mut gathered, _sending) = Gathered::new(Io::Plain(near), Buffer::default());
        let piece = vec![0; MOST];
        let taken = poll_fn(|cx| {
            let mut taken = 0;
            // The far end reads nothing, so that its kernel's buffers and the bound end this.
            while let Poll::Ready(count) = std::pin::Pin::new(&mut gathered).poll_write(cx, &piece) {
                taken += count.unwrap();
                assert!(gathered.0.borrow().out.len() < 2 * MOST);
            }
            Poll::Ready(taken)
        })
        .await;
        assert!(taken > MOST);
    }
}
