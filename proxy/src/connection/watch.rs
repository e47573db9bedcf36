//! The deadlines of one request, on the one timer of its task.
//!
//! Nothing is armed unless the request waits, and then only the earliest deadline. An attempt through a
//! peer's gateway also has a silence: when no byte came for 250 ms, the gateway is probed; while the probe
//! is out, its verdict is looked for every 25 ms. So requests leave a frozen gateway after about half a
//! second, whatever their own timeouts are.

use std::{rc::Rc, sync::Arc, sync::atomic::Ordering::Relaxed};

use crate::{
    balance::{Gateway, Probes},
    timer::{Timer, Timers},
};

/// Without a byte for so long a gateway is suspected, in milliseconds.
const SILENCE: u64 = 250;
/// How often the verdict on a suspect is looked for, in milliseconds.
const VERDICT: u64 = 25;

/// What ended a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Expired {
    /// The time for the whole request.
    #[error("the time for the request is over")]
    Request,
    /// The time for the attempt.
    #[error("the time for the attempt is over")]
    Attempt,
    /// Nothing moved for too long, and the client is what was waited for.
    #[error("the client has stalled")]
    Stall,
    /// The gateway does not answer.
    #[error("the peer's gateway is silent")]
    Gateway,
}

/// See the module.
pub(crate) struct Watch {
    timers: Rc<Timers>,
    timer: Rc<Timer>,
    request: Option<u64>,
    attempt: Option<u64>,
    /// Milliseconds.
    stall: u64,
    /// When anything moved last, as far as anyone looked.
    moved: bool,
    stalled_since: Option<u64>,
    gateway: Option<Suspicion>,
}

struct Suspicion {
    gateway: Arc<Gateway>,
    probes: Probes,
    at: u64,
    asked: bool,
}

impl Watch {
    /// Deadlines of a request that may take `request` milliseconds from now.
    pub(crate) fn new(timers: &Rc<Timers>, timer: &Rc<Timer>, request: Option<u64>, stall: u64) -> Self {
        let request = request.map(|limit| timers.now().saturating_add(limit));
        Self {
            timers: Rc::clone(timers),
            timer: Rc::clone(timer),
            request,
            attempt: None,
            stall,
            moved: false,
            stalled_since: None,
            gateway: None,
        }
    }

    /// A new attempt begins, which may take `limit` milliseconds.
    pub(crate) fn begin_attempt(&mut self, limit: Option<u64>) {
        self.attempt = limit.map(|limit| self.timers.now().saturating_add(limit));
        self.gateway = None;
        self.stalled_since = None;
        self.timer.disarm();
    }

    /// The attempt leads through a gateway.
    pub(crate) fn through(&mut self, gateway: &Arc<Gateway>, probes: &Probes) {
        self.gateway = Some(Suspicion {
            gateway: Arc::clone(gateway),
            probes: probes.clone(),
            at: self.timers.now() + SILENCE,
            asked: false,
        });
    }

    /// The answer has begun: the attempt's limit is met.
    pub(crate) fn answered(&mut self) {
        self.attempt = None;
        self.moved = true;
    }

    /// Bytes moved.
    pub(crate) fn progress(&mut self) {
        self.moved = true;
    }

    /// Looks whether a deadline has passed, and arms the timer for the next. To be called whenever the
    /// request is left waiting; `stalls` says that it waits for the client.
    pub(crate) fn poll(&mut self, stalls: bool) -> Option<Expired> {
        if self.request.is_none() && self.attempt.is_none() && self.gateway.is_none() && !stalls {
            return None;
        }
        let now = self.timers.now();
        if self.moved || !stalls {
            self.stalled_since = stalls.then_some(now);
            if let (true, Some(suspicion)) = (self.moved, &mut self.gateway) {
                suspicion.heard(now);
            }
            self.moved = false;
        }
        let since = *self.stalled_since.get_or_insert(now);
        let stall = stalls.then(|| since.saturating_add(self.stall));
        for (deadline, expired) in
            [(self.request, Expired::Request), (self.attempt, Expired::Attempt), (stall, Expired::Stall)]
        {
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Some(expired);
            }
        }
        if self.gateway.as_mut().is_some_and(|suspicion| suspicion.is_down(now)) {
            return Some(Expired::Gateway);
        }
        let silence = self.gateway.as_ref().map(|suspicion| suspicion.at);
        let next = [self.request, self.attempt, stall, silence].into_iter().flatten().min();
        if let Some(next) = next {
            self.timer.arm(next);
        }
        None
    }
}

impl Suspicion {
    fn heard(&mut self, now: u64) {
        self.at = now + SILENCE;
        self.asked = false;
    }

    fn is_down(&mut self, now: u64) -> bool {
        // A gateway that is out may still finish what it has begun; only silence ends an attempt.
        if now < self.at {
            return false;
        }
        if self.gateway.health.is_out() {
            return true;
        }
        if !self.asked {
            self.probes.suspect(&self.gateway);
            self.asked = true;
            self.at = now + VERDICT;
        } else if self.gateway.suspected.load(Relaxed) {
            self.at = now + VERDICT;
        } else {
            self.heard(now);
        }
        false
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.timer.disarm();
    }
}
