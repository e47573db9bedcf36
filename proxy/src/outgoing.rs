//! Bytes that were written for a neighbour and have not left yet.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll, ready},
};

use crate::io::Io;

/// Storage beyond this is not kept.
const KEPT_CAPACITY: usize = 64 * 1024;
const KEPT: usize = 256;
const CAPACITY: usize = 4096;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A queue of bytes for one connection; without storage while empty.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Of all that was ever queued.
    total: u64,
}

impl Outgoing {
    /// Where to append.
    pub(crate) fn writer(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(CAPACITY));
        }
        &mut self.bytes
    }

    /// How much is waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// How much has left of all that was ever queued.
    pub(crate) fn sent(&self) -> u64 {
        self.total
    }

    /// Whether nothing is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what is waiting.
    pub(crate) fn clear(&mut self) {
        self.sent = 0;
        self.bytes.clear();
        if self.bytes.capacity() == 0 {
            return;
        }
        let storage = std::mem::take(&mut self.bytes);
        if storage.capacity() <= KEPT_CAPACITY {
            // A thread that ends has no list any more.
            let _ = FREE.try_with(|list| {
                let mut list = list.borrow_mut();
                if list.len() < KEPT {
                    list.push(storage);
                }
            });
        }
    }

    /// Sends everything.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, io: &mut Io) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let waiting = self.bytes.get(self.sent..).unwrap_or_default();
            let sent = ready!(io.poll_write(cx, waiting))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
            self.total += sent as u64;
        }
        self.clear();
        io.poll_flush(cx)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.clear();
    }
}
