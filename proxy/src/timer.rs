//! Deadlines without wakers of their own: one slot for each connection, looked over by one ticker a
//! thread.
//!
//! Arming is a store. The ticker sleeps until the earliest deadline that it knows of, wakes the tasks
//! whose deadline has passed, and never looks more often than [`GRAIN`]; so a deadline is met late by
//! that much at most, and an idle thread sleeps.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::Waker,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// The shortest time between two looks at the deadlines.
const GRAIN: Duration = Duration::from_millis(10);

/// No deadline.
const NEVER: u64 = u64::MAX;
/// The deadline has passed and its task was woken.
const PASSED: u64 = 0;

/// The deadlines of one thread's connections.
pub(crate) struct Timers {
    start: Instant,
    /// Milliseconds since `start`, by slot.
    deadlines: RefCell<Vec<u64>>,
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<u32>>,
    /// When the ticker looks next.
    next: Cell<u64>,
    earlier: Notify,
}

/// The deadline of one connection; the slot is free again when it is dropped.
pub(crate) struct Timer {
    timers: Rc<Timers>,
    slot: u32,
}

impl Timers {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            deadlines: RefCell::default(),
            wakers: RefCell::default(),
            free: RefCell::default(),
            next: Cell::new(NEVER),
            earlier: Notify::new(),
        })
    }

    /// Milliseconds on this thread's clock.
    pub(crate) fn now(&self) -> u64 {
        // Never 0, which stands for a deadline that has passed.
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER - 1).saturating_add(1)
    }

    /// A slot whose task is woken by `waker`.
    pub(crate) fn register(self: &Rc<Self>, waker: Waker) -> Timer {
        let mut deadlines = self.deadlines.borrow_mut();
        let mut wakers = self.wakers.borrow_mut();
        let slot = self.free.borrow_mut().pop().unwrap_or_else(|| {
            deadlines.push(NEVER);
            wakers.push(None);
            u32::try_from(deadlines.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(entry) = wakers.get_mut(slot as usize) {
            *entry = Some(waker);
        }
        Timer { timers: Rc::clone(self), slot }
    }

    /// Wakes tasks at their deadlines, for as long as the thread runs.
    pub(crate) async fn tick(self: Rc<Self>) {
        loop {
            let next = self.next.get();
            let earlier = self.earlier.notified();
            if next == NEVER {
                earlier.await;
                continue;
            }
            tokio::select! {
                () = earlier => continue,
                () = tokio::time::sleep_until(self.start + Duration::from_millis(next)) => {}
            }
            self.wake_passed();
            tokio::time::sleep(GRAIN).await;
        }
    }

    /// Wakes every task, for them to look at something else than their deadline.
    pub(crate) fn wake_all(&self) {
        self.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }

    fn wake_passed(&self) {
        let now = self.now();
        let mut next = NEVER;
        let mut deadlines = self.deadlines.borrow_mut();
        let wakers = self.wakers.borrow();
        for (deadline, waker) in deadlines.iter_mut().zip(wakers.iter()) {
            if *deadline > now {
                next = next.min(*deadline);
            } else if *deadline != PASSED {
                *deadline = PASSED;
                waker.iter().for_each(Waker::wake_by_ref);
            }
        }
        self.next.set(next);
    }
}

impl Timer {
    /// Sets the deadline, in milliseconds of [`Timers::now`].
    pub(crate) fn arm(&self, deadline: u64) {
        self.store(deadline);
        if deadline < self.timers.next.get() {
            self.timers.next.set(deadline);
            self.timers.earlier.notify_one();
        }
    }

    /// Takes the deadline away.
    pub(crate) fn disarm(&self) {
        self.store(NEVER);
    }

    /// Whether the deadline has passed since it was last set.
    pub(crate) fn passed(&self) -> bool {
        self.timers.deadlines.borrow().get(self.slot as usize) == Some(&PASSED)
    }

    fn store(&self, deadline: u64) {
        if let Some(entry) = self.timers.deadlines.borrow_mut().get_mut(self.slot as usize) {
            *entry = deadline;
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
        if let Some(waker) = self.timers.wakers.borrow_mut().get_mut(self.slot as usize) {
            *waker = None;
        }
        self.timers.free.borrow_mut().push(self.slot);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

    use tokio::{task::LocalSet, time::Instant};

    use super::{GRAIN, Timers};

    async fn wait(timers: &Rc<Timers>, milliseconds: u64) -> Duration {
        let start = Instant::now();
        let mut timer = None;
        poll_fn(|cx| {
            let timer = timer.get_or_insert_with(|| {
                let timer = timers.register(cx.waker().clone());
                timer.arm(timers.now() + milliseconds);
                timer
            });
            if timer.passed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_are_met_in_any_order() {
        let timers = Timers::new();
        let local = LocalSet::new();
        local.spawn_local(Rc::clone(&timers).tick());
        local
            .run_until(async {
                let (long, short) = tokio::join!(wait(&timers, 5_000), wait(&timers, 250));
                for (took, wanted) in [(long, 5_000), (short, 250)] {
                    let wanted = Duration::from_millis(wanted);
                    assert!(took >= wanted && took <= wanted + 2 * GRAIN, "{took:?} for {wanted:?}");
                }
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_used_again() {
        let timers = Timers::new();
        let waker = std::task::Waker::noop().clone();
        let first = timers.register(waker.clone());
        first.arm(1);
        drop(first);
        let second = timers.register(waker);
        assert_eq!(second.slot, 0);
        assert!(!second.passed());
    }
}
