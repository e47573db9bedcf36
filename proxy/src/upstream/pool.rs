//! Unused connections of one thread, and its requests in flight, for each endpoint.
//!
//! The last connection that came back is the first to be used again. Nobody reads an unused connection;
//! whether its endpoint has closed it is known from the runtime, without a system call, when it is
//! taken, and once a second when the pool is swept.

use std::{cell::RefCell, rc::Rc, task::Context};

use futures_util::task::noop_waker_ref;

use super::{Sender, Upstream};
use crate::{balance::Endpoint, settings::Limits};

/// See the module.
pub(crate) struct Pool {
    entries: Rc<RefCell<Vec<Entry>>>,
    most: usize,
    /// Milliseconds.
    keep: u64,
}

#[derive(Default)]
struct Entry {
    /// The endpoint's unique number; another one means that the slot changed hands.
    unique: u64,
    in_flight: u32,
    unused: Vec<Unused>,
    /// Connections for streams.
    senders: Vec<Sender>,
}

struct Unused {
    upstream: Upstream,
    since: u64,
}

/// A request in flight to an endpoint, counted until it is dropped.
pub(crate) struct InFlight {
    entries: Rc<RefCell<Vec<Entry>>>,
    slot: u32,
    unique: u64,
}

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            entries: Rc::default(),
            most: limits.upstream_idle_connections,
            keep: u64::try_from(limits.upstream_idle.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// This thread's requests at the endpoint.
    pub(crate) fn in_flight(&self, endpoint: &Endpoint) -> u32 {
        let entries = self.entries.borrow();
        entries
            .get(endpoint.slot.number() as usize)
            .filter(|entry| entry.unique == endpoint.unique)
            .map_or(0, |entry| entry.in_flight)
    }

    /// Counts a request to the endpoint.
    pub(crate) fn begin(&self, endpoint: &Endpoint) -> InFlight {
        self.with_entry(endpoint, |entry| entry.in_flight += 1);
        InFlight {
            entries: Rc::clone(&self.entries),
            slot: endpoint.slot.number(),
            unique: endpoint.unique,
        }
    }

    /// An unused connection to the endpoint that is still open, as far as is known.
    pub(crate) fn take(&self, endpoint: &Endpoint, cx: &mut Context<'_>) -> Option<Upstream> {
        self.with_entry(endpoint, |entry| {
            while let Some(Unused { mut upstream, .. }) = entry.unused.pop() {
                let down = upstream.gateway.as_ref().is_some_and(|g| g.health.is_out());
                if !down && upstream.io.is_quiet(cx) {
                    upstream.reused = true;
                    return Some(upstream);
                }
            }
            None
        })
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, endpoint: &Endpoint, upstream: Upstream, now: u64) {
        self.with_entry(endpoint, |entry| {
            if entry.unused.len() < self.most {
                entry.unused.push(Unused { upstream, since: now });
            }
        });
    }

    /// A connection for streams that has room for one more.
    pub(crate) fn sender(&self, endpoint: &Endpoint) -> Option<Sender> {
        let mut cx = Context::from_waker(noop_waker_ref());
        self.with_entry(endpoint, |entry| {
            entry.senders.retain_mut(|sender| sender.is_open(&mut cx));
            entry.senders.iter().find_map(Sender::one_more)
        })
    }

    /// Keeps a connection for streams.
    pub(crate) fn put_sender(&self, endpoint: &Endpoint, sender: Sender) {
        self.with_entry(endpoint, |entry| entry.senders.push(sender));
    }

    /// Drops connections that were unused for too long, that their endpoint has closed, and those of
    /// endpoints that are gone (they age as well).
    pub(crate) fn sweep(&self, now: u64) {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut dropped = Vec::new();
        for entry in self.entries.borrow_mut().iter_mut() {
            dropped.extend(entry.unused.extract_if(.., |unused| {
                now.saturating_sub(unused.since) > self.keep || !unused.upstream.io.is_quiet(&mut cx)
            }));
            entry.senders.retain_mut(|sender| sender.is_open(&mut cx));
            if entry.unused.is_empty() {
                entry.unused = Vec::new();
            }
        }
    }

    fn with_entry<T>(&self, endpoint: &Endpoint, act: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.entries.borrow_mut();
        let slot = endpoint.slot.number() as usize;
        if entries.len() <= slot {
            entries.resize_with(slot + 1, Entry::default);
        }
        let mut spare = Entry::default();
        let entry = entries.get_mut(slot).unwrap_or(&mut spare);
        if entry.unique != endpoint.unique {
            *entry = Entry { unique: endpoint.unique, ..Entry::default() };
        }
        act(entry)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(self.slot as usize).filter(|entry| entry.unique == self.unique);
        if let Some(entry) = entry {
            entry.in_flight = entry.in_flight.saturating_sub(1);
        }
    }
}
