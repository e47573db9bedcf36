//! Serves one request: decides, sends it where it goes, and passes the answer back.

use std::{rc::Rc, sync::Arc, task::Poll};

use super::{
    Client,
    answer::{self, Answer},
    attempt::{Attempts, Destination, Failed, Next, count},
    carry::Try,
    decide::{Matched, decide},
    exchange::Failure,
    sides::Downstream,
    watch::Watch,
};
use crate::{
    buffer::Buffer,
    metrics::count_class,
    mirror::Tee,
    plan::{Action, Plan},
    snapshot::Held,
    thread::Thread,
    timer::Timer,
    upstream::Upstream,
};

/// What serving a request needs beside its two sides.
pub(crate) struct Context<'c> {
    pub(crate) thread: &'c Rc<Thread>,
    pub(crate) client: &'c Client,
    pub(crate) timer: &'c Rc<Timer>,
}

/// How a request ended.
pub(crate) enum Served {
    /// With an answer that was passed on whole.
    Complete,
    /// With an answer of our own that is still to be written.
    Answer(Answer),
    /// With nothing more to say: the connection is to be closed.
    Broken,
    /// As a tunnel; the answer's head is queued for the client.
    Tunnel(Box<(Upstream, Buffer)>),
}

/// What is told of a request when it is over.
#[derive(Default)]
pub(crate) struct Report {
    /// The slot of the rule, when one was found.
    pub(crate) route: Option<u32>,
    pub(crate) route_name: Option<isthmus_ir::Name>,
    pub(crate) endpoint: Option<Arc<str>>,
    pub(crate) service: Option<isthmus_ir::Name>,
    pub(crate) status: u16,
    pub(crate) retries: u32,
    pub(crate) response_bytes: u64,
}

/// Serves the request of `down`. What is told of it goes to `report`.
pub(crate) async fn serve<D: Downstream>(
    context: &Context<'_>,
    down: &mut D,
    report: &mut Report,
) -> Served {
    let snapshot = context.thread.snapshot();
    let request = down.request();
    let matched = match decide(&snapshot, context.client, request) {
        Ok(matched) => matched,
        Err(refused) => return Served::Answer(Answer::error(refused.status, refused.why)),
    };
    report.route = Some(matched.plan.slot);
    if context.thread.log.is_some() {
        report.route_name = Some(matched.plan.name.clone());
    }
    if let Some(fields) = matched.plan.cors.as_ref().and_then(|cors| cors.preflight(request)) {
        return Served::Answer(Answer { fields, ..Answer::error(204, "") });
    }
    match &matched.plan.action {
        Action::Forward => forward(context, &snapshot, &matched, down, report).await,
        Action::Nowhere => Served::Answer(Answer::error(500, "the route has no valid backend")),
        Action::Redirect(redirect) => {
            Served::Answer(answer::redirect(redirect, request, matched.prefix, context.client))
        }
    }
}

async fn forward<D: Downstream>(
    context: &Context<'_>,
    snapshot: &Rc<Held>,
    matched: &Matched<'_>,
    down: &mut D,
    report: &mut Report,
) -> Served {
    let thread = context.thread;
    let plan = matched.plan;
    let limits = &thread.shared.settings.limits;
    let stall = u64::try_from(limits.stall_timeout.as_millis()).unwrap_or(u64::MAX);
    let mut watch = Watch::new(&thread.timers, context.timer, plan.request_timeout(), stall);
    let mut attempts = Attempts::new(plan, down.request().method().is_idempotent());
    let mut same: Option<Destination<'_>> = None;
    let mut fresh = false;
    let mut tee = None;
    let mut before: Option<(u16, Failed)> = None;
    loop {
        let destination = match same.take() {
            Some(destination) => destination,
            None => match (attempts.choose(thread, snapshot, plan), before.take()) {
                (Ok(destination), _) => destination,
                (Err(_), Some((status, failed))) => return give_up(context, status, &failed),
                (Err(500), None) => {
                    return Served::Answer(Answer::error(500, "the backend is not valid"));
                }
                (Err(status), None) => return unreached(context, status, "no endpoint is ready"),
            },
        };
        if attempts.retries == 0 && !fresh {
            thread.count_request(destination.service);
        }
        let (watch, tee) = (&mut watch, &mut tee);
        let mut try_one = Try { context, snapshot, matched, down, report, watch, tee };
        let failed = match try_one.run(&attempts, &destination, fresh).await {
            Ok(served) => {
                report.retries = attempts.retries;
                return served;
            }
            Err(failed) => failed,
        };
        count(thread, destination.service, |cells| cells.failures.add(1));
        let rewound = down.rewind();
        tee.iter_mut().for_each(Tee::rewind);
        let next = attempts.failed(thread, &destination, &failed, rewound);
        tracing::debug!(rule = %plan.name, endpoint = %destination.endpoint.spec.id, %failed, ?next,
            "attempt failed");
        report.retries = attempts.retries;
        report.endpoint = Some(Arc::clone(&destination.endpoint.spec.id));
        match next {
            Next::Elsewhere(status) => {
                fresh = false;
                before = Some((status, failed));
                if let Some(failure) = pause(context, plan, &attempts, down, watch).await {
                    return match failure {
                        Failure::ClientGone => Served::Broken,
                        _ => Served::Answer(Answer::error(504, why(504))),
                    };
                }
            }
            Next::Same => {
                fresh = true;
                same = Some(destination);
            }
            Next::Drop => return Served::Broken,
            Next::GiveUp(status) => return give_up(context, status, &failed),
        }
    }
}

/// Waits as the rule wants it before the next attempt; what ended the request meanwhile, if anything did.
async fn pause<D: Downstream>(
    context: &Context<'_>,
    plan: &Plan,
    attempts: &Attempts,
    down: &mut D,
    watch: &mut Watch,
) -> Option<Failure> {
    let timers = &context.thread.timers;
    let wait = attempts.pause(plan.backoff?, &context.thread.random);
    let mut timer = None;
    watch.begin_attempt(None);
    std::future::poll_fn(|cx| {
        let timer = timer.get_or_insert_with(|| {
            let timer = timers.register(cx.waker().clone());
            timer.arm(timers.now().saturating_add(wait));
            timer
        });
        if timer.passed() {
            return Poll::Ready(None);
        }
        if down.is_body_done() && down.poll_gone(cx).is_ready() {
            return Poll::Ready(Some(Failure::ClientGone));
        }
        match watch.poll(false) {
            Some(expired) => Poll::Ready(Some(Failure::Expired(expired))),
            None => Poll::Pending,
        }
    })
    .await
}

fn give_up(context: &Context<'_>, status: u16, failed: &Failed) -> Served {
    match failed {
        Failed::Connect(_) | Failed::Unreached => {
            unreached(context, status, "the endpoint is not reached")
        }
        _ => Served::Answer(Answer::error(status, why(status))),
    }
}

fn why(status: u16) -> &'static str {
    match status {
        400 => "the body is malformed",
        408 => "the request took too long to arrive",
        504 => "the backend did not answer in time",
        _ => "the backend gave no answer",
    }
}

/// Between clusters the caller is told that nothing was reached, so that it tries elsewhere.
fn unreached(context: &Context<'_>, status: u16, why: &'static str) -> Served {
    let unreached = context.client.is_mesh();
    Served::Answer(Answer { unreached, ..Answer::error(status, why) })
}

/// Counts a request that is over.
pub(crate) fn count_request(thread: &Thread, report: &Report, microseconds: u64, request_bytes: u64) {
    let Some(cells) = report.route.and_then(|slot| thread.metrics.routes.at(slot)) else {
        count_class(&thread.metrics.refused, report.status);
        return;
    };
    count_class(&cells.requests, report.status);
    cells.latency.record(microseconds);
    cells.request_bytes.add(request_bytes);
    cells.response_bytes.add(report.response_bytes);
    if report.retries > 0 {
        cells.retries.add(u64::from(report.retries));
    }
}
