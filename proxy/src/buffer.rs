//! Byte buffers of one thread, taken when there is something to hold and given back when there is not.
//!
//! A connection that waits holds no buffer; so its cost is that of its task and its socket. Buffers of
//! the standard size go back to a list of the thread that drops them, up to a bound.

use std::cell::RefCell;

/// The size of a buffer from the list: a head with its first body bytes, or one full TLS record.
pub(crate) const SIZE: usize = 16 * 1024 + 512;

/// The size that a buffer grows to when a long body streams through it.
pub(crate) const BULK: usize = 64 * 1024;

const KEPT: usize = 256;
const KEPT_BULK: usize = 16;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static FREE_BULK: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet used, or made and not yet written.
#[derive(Default)]
pub(crate) struct Buffer {
    /// Empty while nothing is held.
    storage: Box<[u8]>,
    start: usize,
    end: usize,
}

fn storage_of(size: usize) -> Box<[u8]> {
    let list = if size <= SIZE { &FREE } else { &FREE_BULK };
    let size = if size <= SIZE { SIZE } else { size.max(BULK) };
    if size > BULK {
        return vec![0; size].into_boxed_slice();
    }
    list.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; size].into_boxed_slice())
}

fn give_back(storage: Box<[u8]>) {
    let (list, kept) = match storage.len() {
        SIZE => (&FREE, KEPT),
        BULK => (&FREE_BULK, KEPT_BULK),
        _ => return,
    };
    // A thread that ends has no list any more; then the storage is simply freed.
    let _ = list.try_with(|list| {
        let mut list = list.borrow_mut();
        if list.len() < kept {
            list.push(storage);
        }
    });
}

impl Buffer {
    /// What is held.
    pub(crate) fn filled(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// What is held, for in-place work.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        self.storage.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// How much is held.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room behind what is held, after taking storage when there is none.
    pub(crate) fn room_mut(&mut self) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage = storage_of(SIZE);
        }
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    /// The length of the room behind what is held.
    pub(crate) fn room(&self) -> usize {
        if self.storage.is_empty() { SIZE } else { self.storage.len() - self.end }
    }

    /// The size of the storage, 0 when none is held.
    pub(crate) fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Counts `n` bytes of the room as held.
    pub(crate) fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.storage.len());
    }

    /// Drops `n` bytes from the front.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Removes `count` bytes that begin at `at`, moving what follows to the front.
    pub(crate) fn cut(&mut self, at: usize, count: usize) {
        let held = self.filled_mut();
        let to = (at + count).min(held.len());
        if at <= to {
            held.copy_within(to.., at);
            self.end -= to - at;
        }
    }

    /// Moves what is held to the front of the storage, so that the room is as large as can be.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Moves to a storage of at least `size`, keeping what is held.
    pub(crate) fn grow(&mut self, size: usize) {
        if self.storage.len() >= size {
            return;
        }
        let mut storage = storage_of(size);
        let held = self.filled();
        if let Some(front) = storage.get_mut(..held.len()) {
            front.copy_from_slice(held);
        }
        self.end -= self.start;
        self.start = 0;
        give_back(std::mem::replace(&mut self.storage, storage));
    }

    /// Appends `bytes`, growing as needed.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.room() < bytes.len() {
            self.compact();
            if self.room() < bytes.len() {
                self.grow((self.len() + bytes.len()).next_power_of_two());
            }
        }
        let room = self.room_mut();
        if let Some(front) = room.get_mut(..bytes.len()) {
            front.copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// Gives the storage back when nothing is held.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// Drops what is held and gives the storage back.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        if !self.storage.is_empty() {
            give_back(std::mem::take(&mut self.storage));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{BULK, Buffer, SIZE};

    #[test]
    fn storage_comes_with_bytes_and_goes_without() {
        let mut buffer = Buffer::default();
        assert_eq!((buffer.capacity(), buffer.room()), (0, SIZE));
        buffer.append(b"abc");
        assert_eq!((buffer.capacity(), buffer.filled()), (SIZE, &b"abc"[..]));
        buffer.release();
        assert_eq!(buffer.capacity(), SIZE, "what is held is kept");
        buffer.consume(3);
        buffer.release();
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn growing_keeps_what_is_held() {
        let mut buffer = Buffer::default();
        buffer.append(&vec![7; SIZE]);
        buffer.consume(10);
        buffer.append(b"tail");
        assert_eq!(buffer.len(), SIZE - 6);
        buffer.append(&vec![8; SIZE]);
        assert_eq!((buffer.capacity(), buffer.len()), (BULK, 2 * SIZE - 6));
        assert!(buffer.filled().starts_with(&[7; 16]) && buffer.filled().ends_with(&[8; 16]));
    }

    #[test]
    fn cutting_moves_what_follows() {
        let mut buffer = Buffer::default();
        buffer.append(b"head-body-next");
        buffer.consume(1);
        buffer.cut(3, 6);
        assert_eq!(buffer.filled(), b"eadnext");
        buffer.cut(5, 100);
        assert_eq!(buffer.filled(), b"eadne");
    }
}
