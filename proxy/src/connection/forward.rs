//! Serves one request: decides, sends it where it goes, and passes the answer back.

use std::{future::poll_fn, rc::Rc, sync::Arc, task::Poll};

use isthmus_ir::BackendProtocol;

use super::{
    Client,
    answer::{self, Answer},
    attempt::{Attempts, Destination, Failed, Next, count},
    decide::{Matched, decide},
    edit,
    exchange::{Exchange, Failure},
    sides::{Downstream, UpstreamSide},
    watch::{Expired, Watch},
    wire::Coding,
};
use crate::{
    buffer::Buffer,
    http1::{BodyCoding, Edits, Framing, Known, Method, Persistence},
    metrics::count_class,
    mirror::{self, Tee},
    plan::Action,
    snapshot::Held,
    thread::Thread,
    timer::Timer,
    upstream::{ConnectError, Http1Attempt, Upstream, connect},
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
    loop {
        let destination = match same.take() {
            Some(destination) => destination,
            None => match attempts.choose(thread, snapshot, plan) {
                Ok(destination) => destination,
                Err(500) => return Served::Answer(Answer::error(500, "the backend is not valid")),
                Err(status) => return unreached(context, status, "no endpoint is ready"),
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
            Next::Elsewhere => fresh = false,
            Next::Same => {
                fresh = true;
                same = Some(destination);
            }
            Next::Drop => return Served::Broken,
            Next::GiveUp(status) => return give_up(context, status, &failed),
        }
    }
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

/// One attempt.
struct Try<'t, 's, D> {
    context: &'t Context<'t>,
    snapshot: &'s Rc<Held>,
    matched: &'t Matched<'s>,
    down: &'t mut D,
    report: &'t mut Report,
    watch: &'t mut Watch,
    tee: &'t mut Option<Tee>,
}

impl<D: Downstream> Try<'_, '_, D> {
    async fn run(
        &mut self,
        attempts: &Attempts,
        destination: &Destination<'_>,
        fresh: bool,
    ) -> Result<Served, Failed> {
        let thread = self.context.thread;
        let _in_flight = thread.pool.begin(destination.endpoint);
        self.watch.begin_attempt(self.matched.plan.attempt_timeout());
        if let Some(gateway) = destination.endpoint.gateway() {
            self.watch.through(gateway, &thread.shared.probes);
        }
        match destination.service.spec.protocol {
            BackendProtocol::Http1 | BackendProtocol::H2c => {
                let upstream = self.open(destination, fresh).await?;
                let limits = &thread.shared.settings.limits;
                let head =
                    thread.response_heads.take(|| crate::http1::ResponseHead::new(limits.response_head));
                let mut up = Http1Attempt::new(upstream, head, limits.body);
                let result = self.exchange(attempts, destination, &mut up).await;
                self.close(destination, up, result)
            }
        }
    }

    /// Gives the connection back, keeps it as a tunnel, or drops it.
    fn close(
        &mut self,
        destination: &Destination<'_>,
        up: Http1Attempt,
        result: Result<Ended, Failed>,
    ) -> Result<Served, Failed> {
        let thread = self.context.thread;
        self.report.response_bytes = up.received();
        let ended = result?;
        if ended == Ended::Tunnel {
            let (upstream, rest, _) = up.into_tunnel();
            return Ok(Served::Tunnel(Box::new((upstream, rest))));
        }
        let (upstream, head, reusable) = up.finish();
        thread.response_heads.give(head);
        if reusable && ended == Ended::Complete {
            thread.pool.put(destination.endpoint, upstream, thread.timers.now());
        }
        Ok(if ended == Ended::Broken { Served::Broken } else { Served::Complete })
    }

    /// A connection: an unused one, else a new one. The client and the deadlines are watched meanwhile.
    async fn open(&mut self, destination: &Destination<'_>, fresh: bool) -> Result<Upstream, Failed> {
        let thread = self.context.thread;
        let endpoint = destination.endpoint;
        if !fresh {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            if let Some(upstream) = thread.pool.take(endpoint, &mut cx) {
                return Ok(upstream);
            }
        }
        count(thread, destination.service, |cells| cells.connects.add(1));
        let within = thread.shared.settings.limits.connect_timeout;
        let mut opening = Box::pin(connect(endpoint, &self.snapshot.mesh, within));
        let opened = poll_fn(|cx| {
            if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                return Poll::Ready(opened.map_err(Failed::Connect));
            }
            let ended =
                |failure| Poll::Ready(Err(Failed::Exchange { failure, reused: false, wrote: false }));
            if self.down.is_body_done() && self.down.poll_gone(cx).is_ready() {
                return ended(Failure::ClientGone);
            }
            match self.watch.poll(false) {
                Some(Expired::Gateway) => {
                    let error = std::io::ErrorKind::TimedOut.into();
                    let failed = endpoint.gateway().map_or(ConnectError::NoWay, |gateway| {
                        ConnectError::Gateway(Arc::clone(gateway), error)
                    });
                    Poll::Ready(Err(Failed::Connect(failed)))
                }
                Some(expired) => ended(Failure::Expired(expired)),
                None => Poll::Pending,
            }
        })
        .await;
        if opened.is_err() {
            count(thread, destination.service, |cells| cells.connect_failures.add(1));
        }
        opened
    }

    async fn exchange(
        &mut self,
        attempts: &Attempts,
        destination: &Destination<'_>,
        up: &mut Http1Attempt,
    ) -> Result<Ended, Failed> {
        let thread = self.context.thread;
        let mut edits = thread.edits.take(Edits::default);
        let result = self.pass(attempts, destination, up, &mut edits).await;
        thread.edits.give(edits);
        result
    }

    async fn pass(
        &mut self,
        attempts: &Attempts,
        destination: &Destination<'_>,
        up: &mut Http1Attempt,
        edits: &mut Edits,
    ) -> Result<Ended, Failed> {
        let thread = self.context.thread;
        let plan = self.matched.plan;
        let reused = up.upstream().reused;
        let raw = self.down.is_wire() && up.is_wire();
        self.down.set_raw(raw);
        let request = self.down.request();
        let (method, websocket) = (request.method(), request.is_websocket());
        let option = if websocket { Persistence::Upgrade } else { Persistence::Default };
        edits.begin_request(request, BodyCoding::Same, option);
        let mut target = thread.targets.take(Vec::new);
        let backend = Some(destination.backend);
        edit::request(self.context.client, self.matched, backend, request, edits, &mut target);
        let rewritten = (!target.is_empty()).then_some(target.as_slice());
        let chunks = !raw && request.framing() == Framing::Chunked;
        let coding = if chunks { Coding::Chunks } else { Coding::Raw };
        let sent = up.send_head(request, edits, rewritten, coding);
        target.clear();
        thread.targets.give(target);
        if sent.is_err() {
            let failure = Failure::BadBody;
            return Err(Failed::Exchange { failure, reused, wrote: false });
        }

        let interim = thread.shared.settings.limits.interim_answers;
        if self.tee.is_none() {
            *self.tee = Some(self.mirrors(destination, chunks));
        }
        let mut unused = Tee::default();
        let tee = self.tee.as_mut().unwrap_or(&mut unused);
        let mut exchange = Exchange::new(self.down, up, edits, self.watch, tee, interim);
        if let Err(failure) = poll_fn(|cx| exchange.poll_answer(cx)).await {
            let wrote = exchange.up.wrote();
            return Err(Failed::Exchange { failure, reused, wrote });
        }
        let response = exchange.up.response();
        let status = response.status();
        let malformed = |error| {
            let failure = Failure::Malformed(error);
            Failed::Exchange { failure, reused: true, wrote: true }
        };
        let framing = response.framing(method, websocket).map_err(malformed)?;
        if destination.endpoint.gateway().is_some() {
            if status == 503 && response.fields().has(Known::IsthmusUnreached) {
                return Err(Failed::Unreached);
            }
            if destination.endpoint.gateway().is_some_and(|g| g.health.succeeded()) {
                destination.service.peers_epoch.advance();
            }
        }
        Attempts::answered(thread, destination, status);
        if plan.retry_statuses.contains(&status) && attempts.may_retry() {
            return Err(Failed::Status(status));
        }
        exchange.watch.answered();
        exchange.down.let_go();
        self.report.status = status;
        if thread.log.is_some() {
            self.report.endpoint = Some(Arc::clone(&destination.endpoint.spec.id));
            self.report.service = Some(destination.service.spec.name.clone());
        }

        let (coding, persistence) = exchange.down.coding(&response, framing);
        exchange.edits.begin_response(response, coding, persistence);
        edit::response(self.context.client, plan, destination.backend, response, exchange.edits);
        exchange.down.send_head(response, exchange.edits, coding, framing);
        if framing == Framing::Tunnel {
            exchange.up.next_head();
            return Ok(Ended::Tunnel);
        }
        let raw = raw && matches!(coding, BodyCoding::Same | BodyCoding::Described)
            || framing == Framing::Chunked && coding == BodyCoding::Chunked;
        exchange.up.begin_body(framing, raw);
        let relayed = poll_fn(|cx| exchange.poll_relay(cx)).await;
        let uploaded = exchange.is_uploaded();
        Ok(match relayed {
            Ok(()) if uploaded => Ended::Complete,
            Ok(()) => Ended::Early,
            Err(broken) => {
                tracing::debug!(rule = %plan.name, %broken, "answer broken off");
                Ended::Broken
            }
        })
    }
}

impl<D: Downstream> Try<'_, '_, D> {
    /// Begins the copies that the rule and the backend ask for.
    fn mirrors(&self, destination: &Destination<'_>, chunks: bool) -> Tee {
        let plan = self.matched.plan;
        if plan.mirrors.is_empty() && destination.backend.mirrors.is_empty() {
            return Tee::default();
        }
        let request = self.down.request();
        let mut edits = Edits::default();
        edits.begin_request(request, BodyCoding::Same, Persistence::Default);
        let (mut target, mut text) = (Vec::new(), Vec::new());
        edit::request(self.context.client, self.matched, None, request, &mut edits, &mut target);
        let rewritten = (!target.is_empty()).then_some(target.as_slice());
        if edits.write_request(request, rewritten, &mut text).is_err() {
            return Tee::default();
        }
        let head = Forwarded { text, method: request.method() };
        let mirrors = plan.mirrors.iter().chain(&destination.backend.mirrors);
        mirror::begin(self.context.thread, self.snapshot, mirrors, &head, chunks)
    }
}

/// The head of a request as it goes to mirrors.
pub(crate) struct Forwarded {
    pub(crate) text: Vec<u8>,
    pub(crate) method: Method,
}

/// How an answer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Both messages are complete.
    Complete,
    /// The answer is complete, and the request is not: neither connection can be used again.
    Early,
    Broken,
    Tunnel,
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
