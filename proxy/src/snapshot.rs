//! Everything that requests are served by, put in force as a whole.
//!
//! A snapshot never changes. A commit builds the next one from this one and the edits, and swaps it in;
//! each thread holds the one that it uses through a pointer of its own, so that serving touches no
//! shared count. Old snapshots are kept on a list of the control thread until no request holds them;
//! so they are never freed on a request thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    ops::Deref,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use isthmus_ir::{Name, matcher::Tables};

use crate::{
    balance::ServiceState,
    plan::Plan,
    tls::{HandleState, ListenerTls, MeshTls},
};

/// Tables, services and TLS settings of one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// The control plane's revision; 0 before the first commit.
    pub(crate) revision: u64,
    pub(crate) tables: Tables<Plan>,
    /// By slot.
    pub(crate) services: Vec<Option<Arc<ServiceState>>>,
    /// Of HTTPS listeners, by name.
    pub(crate) listeners: HashMap<Name, Arc<ListenerTls>>,
    pub(crate) handles: HashMap<Name, Arc<HandleState>>,
    pub(crate) mesh: Arc<MeshTls>,
}

impl Snapshot {
    /// The service in `slot`.
    pub(crate) fn service(&self, slot: u32) -> Option<&Arc<ServiceState>> {
        self.services.get(slot as usize)?.as_ref()
    }
}

/// The snapshot in force, and those before it that are still in use.
#[derive(Default)]
pub(crate) struct Current {
    snapshot: ArcSwap<Snapshot>,
    generation: AtomicU64,
    retired: Mutex<Vec<Arc<Snapshot>>>,
}

impl Current {
    /// The snapshot in force, for threads that serve no requests.
    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts `next` in force.
    pub(crate) fn swap(&self, next: Arc<Snapshot>) {
        let old = self.snapshot.swap(next);
        self.generation.fetch_add(1, Ordering::Release);
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(old);
    }

    /// Frees the snapshots that nobody uses any more; called by the control thread.
    pub(crate) fn free_retired(&self) {
        let unused = {
            let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
            let (unused, used) = retired.drain(..).partition(|s| Arc::strong_count(s) == 1);
            *retired = used;
            let unused: Vec<Arc<Snapshot>> = unused;
            unused
        };
        drop(unused);
    }
}

/// A snapshot as one thread holds it.
pub(crate) struct Held {
    snapshot: Arc<Snapshot>,
    generation: u64,
}

impl Deref for Held {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// One thread's pointer to the snapshot in force.
pub(crate) struct Local(RefCell<Rc<Held>>);

impl Local {
    pub(crate) fn new(current: &Current) -> Self {
        Self(RefCell::new(Rc::new(Held::of(current))))
    }

    /// The snapshot in force, for the life of one request.
    pub(crate) fn get(&self, current: &Current) -> Rc<Held> {
        let mut held = self.0.borrow_mut();
        if held.generation != current.generation.load(Ordering::Acquire) {
            *held = Rc::new(Held::of(current));
        }
        Rc::clone(&held)
    }
}

impl Held {
    fn of(current: &Current) -> Self {
        // The generation first: a swap between the two is noticed at the next look.
        let generation = current.generation.load(Ordering::Acquire);
        Self { generation, snapshot: current.load() }
    }
}
