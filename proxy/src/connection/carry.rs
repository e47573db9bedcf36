//! One attempt: a connection, the request on it, the answer back.

use std::{future::poll_fn, io, pin::Pin, rc::Rc, sync::Arc, task::Poll};

use isthmus_ir::BackendProtocol;

use super::{
    attempt::{Attempts, Destination, Failed, count},
    decide::Matched,
    edit,
    exchange::{Exchange, Failure},
    forward::{Context, Report, Served},
    sides::{Downstream, UpstreamSide},
    watch::{Expired, Watch},
    wire::Coding,
};
use crate::{
    balance::Way,
    http1::{BodyCoding, Edits, Framing, InvalidValue, Known, Method, Persistence, ResponseHead},
    mirror::{self, Tee},
    snapshot::Held,
    upstream::{ConnectError, Http1Attempt, Http2Attempt, Sender, Upstream, connect, connect_http2},
};

/// One attempt.
pub(super) struct Try<'t, 's, D> {
    pub(super) context: &'t Context<'t>,
    pub(super) snapshot: &'s Rc<Held>,
    pub(super) matched: &'t Matched<'s>,
    pub(super) down: &'t mut D,
    pub(super) report: &'t mut Report,
    pub(super) watch: &'t mut Watch,
    pub(super) tee: &'t mut Option<Tee>,
}

impl<D: Downstream> Try<'_, '_, D> {
    /// Carries the request to `destination`. `fresh` wants a new connection.
    pub(super) async fn run(
        &mut self,
        attempts: &Attempts,
        destination: &Destination<'_>,
        fresh: bool,
    ) -> Result<Served, Failed> {
        let thread = self.context.thread;
        let endpoint = destination.endpoint;
        let _in_flight = thread.pool.begin(endpoint);
        self.watch.begin_attempt(self.matched.plan.attempt_timeout());
        if let Some(gateway) = endpoint.gateway() {
            self.watch.through(gateway, &thread.shared.probes);
        }
        let limits = &thread.shared.settings.limits;
        let scratch = || thread.response_heads.take(|| ResponseHead::new(limits.response_head));
        // Between clusters it is HTTP/1.1 inside; the gateway there speaks what the workload does.
        let http2 = destination.service.spec.protocol == BackendProtocol::H2c;
        if let (true, Way::Direct(_)) = (http2, &endpoint.way) {
            let (sender, reused) = self.open_http2(destination, fresh).await?;
            let mut up = Http2Attempt::new(sender, scratch(), limits.body);
            let result = self.exchange(attempts, destination, &mut up, reused).await;
            self.report.response_bytes = up.received();
            thread.response_heads.give(up.finish());
            return Ok(if result? == Ended::Broken { Served::Broken } else { Served::Complete });
        }
        let upstream = self.open(destination, fresh).await?;
        let reused = upstream.reused;
        let mut up = Http1Attempt::new(upstream, scratch(), limits.body);
        let result = self.exchange(attempts, destination, &mut up, reused).await;
        self.close(destination, up, result)
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

    /// A connection: an unused one, else a new one.
    async fn open(&mut self, destination: &Destination<'_>, fresh: bool) -> Result<Upstream, Failed> {
        let thread = self.context.thread;
        let endpoint = destination.endpoint;
        if !fresh {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            if let Some(upstream) = thread.pool.take(endpoint, &mut cx) {
                return Ok(upstream);
            }
        }
        let within = thread.shared.settings.limits.connect_timeout;
        let snapshot = Rc::clone(self.snapshot);
        let opening = Arc::clone(endpoint);
        let opening = async move { connect(&opening, &snapshot.mesh, within).await };
        self.opened(destination, Box::pin(opening)).await
    }

    /// A connection for streams, with room for one more; whether it was there already.
    async fn open_http2(
        &mut self,
        destination: &Destination<'_>,
        fresh: bool,
    ) -> Result<(Sender, bool), Failed> {
        let thread = self.context.thread;
        let endpoint = destination.endpoint;
        if !fresh && let Some(sender) = thread.pool.sender(endpoint) {
            return Ok((sender, true));
        }
        let within = thread.shared.settings.limits.connect_timeout;
        let opening = Arc::clone(endpoint);
        let opening = async move {
            let Way::Direct(addresses) = &opening.way else { return Err(ConnectError::NoWay) };
            connect_http2(addresses, within).await.map_err(ConnectError::Endpoint)
        };
        let kept = self.opened(destination, Box::pin(opening)).await?;
        let sender = kept.one_more().ok_or(Failed::Connect(ConnectError::NoWay))?;
        thread.pool.put_sender(endpoint, kept);
        Ok((sender, false))
    }

    /// Waits for a connection. The client and the deadlines are watched meanwhile. What is waited for has
    /// a box of its own, so that it takes no room in the tasks of connections that wait for nothing.
    async fn opened<T>(
        &mut self,
        destination: &Destination<'_>,
        mut opening: Pin<Box<impl Future<Output = Result<T, ConnectError>>>>,
    ) -> Result<T, Failed> {
        let thread = self.context.thread;
        count(thread, destination.service, |cells| cells.connects.add(1));
        let opened = poll_fn(|cx| {
            if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                return Poll::Ready(opened.map_err(Failed::Connect));
            }
            let ended =
                |failure| Poll::Ready(Err(Failed::Exchange { failure, reused: false, reached: false }));
            if self.down.is_body_done() && self.down.poll_gone(cx).is_ready() {
                return ended(Failure::ClientGone);
            }
            match self.watch.poll(false) {
                Some(Expired::Gateway) => {
                    let error = io::ErrorKind::TimedOut.into();
                    let gateway = destination.endpoint.gateway();
                    let failed = gateway.map_or(ConnectError::NoWay, |gateway| {
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

    async fn exchange<U: UpstreamSide>(
        &mut self,
        attempts: &Attempts,
        destination: &Destination<'_>,
        up: &mut U,
        reused: bool,
    ) -> Result<Ended, Failed> {
        let thread = self.context.thread;
        let mut edits = thread.edits.take(Edits::default);
        let result = self.pass(attempts, destination, (up, reused), &mut edits).await;
        thread.edits.give(edits);
        result
    }

    async fn pass<U: UpstreamSide>(
        &mut self,
        attempts: &Attempts,
        destination: &Destination<'_>,
        (up, reused): (&mut U, bool),
        edits: &mut Edits,
    ) -> Result<Ended, Failed> {
        let thread = self.context.thread;
        let failed = |failure, reached| Failed::Exchange { failure, reused, reached };
        let wire = self.down.is_wire() && up.is_wire();
        self.down.set_raw(wire);
        let request = self.down.request();
        let method = request.method();
        let cors = self.matched.plan.cors.as_ref();
        let reader = cors.and_then(|cors| Some((cors, cors.reader(request)?)));
        let websocket = wire && request.is_websocket();
        let chunks = !wire && request.framing() == Framing::Chunked;
        if self.send_head(destination, up, edits, (websocket, chunks)).is_err() {
            return Err(failed(Failure::BadBody, false));
        }
        if self.tee.is_none() {
            *self.tee = Some(self.mirrors(destination, chunks));
        }
        let mut unused = Tee::default();
        let tee = self.tee.as_mut().unwrap_or(&mut unused);
        let interim = thread.shared.settings.limits.interim_answers;
        let mut exchange = Exchange::new(self.down, up, edits, self.watch, tee, interim);
        if let Err(failure) = poll_fn(|cx| exchange.poll_answer(cx)).await {
            return Err(failed(failure, exchange.up.reached()));
        }

        let response = exchange.up.response();
        let status = response.status();
        let framing = response
            .framing(method, websocket)
            .map_err(|error| failed(Failure::Malformed(error), true))?;
        if let Some(gateway) = destination.endpoint.gateway() {
            if status == 503 && response.fields().has(Known::IsthmusUnreached) {
                return Err(Failed::Unreached);
            }
            gateway.succeeded();
        }
        Attempts::answered(thread, destination, status);
        let plan = self.matched.plan;
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

        if thread.shared.drain.has_begun() {
            exchange.down.set_last();
        }
        let (coding, persistence) = exchange.down.coding(&response, framing);
        exchange.edits.begin_response(response, coding, persistence);
        edit::response(self.context.client, plan, destination.backend, response, exchange.edits);
        if let Some((cors, origin)) = &reader {
            cors.admit(origin, response.fields(), exchange.edits);
        }
        let same = matches!(coding, BodyCoding::Same | BodyCoding::Described);
        let raw = wire && same;
        let chunked = coding == BodyCoding::Chunked || (same && framing == Framing::Chunked);
        exchange.down.send_head(response, exchange.edits, framing, !raw && chunked);
        if framing == Framing::Tunnel {
            exchange.up.next_head();
            return Ok(Ended::Tunnel);
        }
        exchange.up.begin_body(framing, raw);
        let relayed = poll_fn(|cx| exchange.poll_relay(cx)).await;
        Ok(match relayed {
            Ok(()) if exchange.is_uploaded() => Ended::Complete,
            Ok(()) => Ended::Early,
            Err(broken) => {
                tracing::debug!(rule = %plan.name, %broken, "answer broken off");
                Ended::Broken
            }
        })
    }

    /// Queues the head of the request, edited.
    fn send_head<U: UpstreamSide>(
        &mut self,
        destination: &Destination<'_>,
        up: &mut U,
        edits: &mut Edits,
        (websocket, chunks): (bool, bool),
    ) -> Result<(), InvalidValue> {
        let thread = self.context.thread;
        let request = self.down.request();
        let option = if websocket { Persistence::Upgrade } else { Persistence::Default };
        edits.begin_request(request, BodyCoding::Same, option);
        let mut target = thread.targets.take(Vec::new);
        let backend = Some(destination.backend);
        edit::request(self.context.client, self.matched, backend, request, edits, &mut target);
        if destination.endpoint.gateway().is_some() && request.takes_trailers() {
            // gRPC insists on it at the far end.
            edits.add(Known::Te.into(), b"trailers")?;
        }
        let rewritten = (!target.is_empty()).then_some(target.as_slice());
        let coding = if chunks { Coding::Chunks } else { Coding::Raw };
        let sent = up.send_head(request, edits, rewritten, coding);
        target.clear();
        thread.targets.give(target);
        sent
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
