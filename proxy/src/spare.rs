//! Scratch that requests need and idle connections do not, kept by its thread in between.

use std::cell::RefCell;

const KEPT: usize = 256;

/// Unused scratch of one kind.
pub(crate) struct Spares<T>(RefCell<Vec<Box<T>>>);

impl<T> Default for Spares<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T> Spares<T> {
    #[expect(clippy::unnecessary_box_returns, reason = "the box is what is kept")]
    /// One that was given back, else a new one.
    pub(crate) fn take(&self, make: impl FnOnce() -> T) -> Box<T> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Box::new(make()))
    }

    /// Keeps one for the next request; it must be as good as new.
    pub(crate) fn give(&self, spare: Box<T>) {
        let mut list = self.0.borrow_mut();
        if list.len() < KEPT {
            list.push(spare);
        }
    }
}
