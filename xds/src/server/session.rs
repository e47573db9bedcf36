//! One stream of one proxy. It has no task and no queue of its own: the next response is made when the
//! connection has room for it, so that a proxy that does not read holds back nobody.

use std::{pin::Pin, sync::Arc};

use futures_util::stream;
use tokio::sync::{oneshot, watch};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{Authenticate, Caller, Proxy, ProxyReport, Publisher, reports::Registration};
use crate::{
    delta::{
        Report, Set, message,
        server::{Answer, Subscriber},
    },
    proto::discovery::aggregated_discovery_service_server::AggregatedDiscoveryService,
    tls, wire,
};

/// The service that proxies call.
#[derive(Debug)]
pub(super) struct Discovery<A> {
    pub(super) publisher: Publisher,
    pub(super) authenticate: Arc<A>,
    /// Whether all streams are to end.
    pub(super) closed: watch::Receiver<bool>,
}

#[async_trait]
impl<A: Authenticate> AggregatedDiscoveryService for Discovery<A> {
    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<message::Response, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<message::Request>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let caller = Caller::new(request.metadata(), request.extensions());
        let proxy = self.authenticate.authenticate(caller).await;
        let proxy = proxy.map_err(|denied| {
            tracing::warn!(reason = %denied, "stream refused");
            Status::unauthenticated(denied.0)
        })?;
        // Whoever holds a stream may stay.
        if let Some(peer) = request.extensions().get::<tls::Peer>() {
            peer.admit();
        }
        let closed = self.closed.clone();
        let session = Session::new(&self.publisher, proxy, request.into_inner(), closed);
        Ok(Response::new(Box::pin(stream::unfold(session, Session::step))))
    }
}

struct Session {
    subscriber: Subscriber,
    set: watch::Receiver<Option<Set>>,
    requests: Streaming<message::Request>,
    registration: Registration,
    /// Ends when the proxy comes again on another stream.
    replaced: oneshot::Receiver<()>,
    closed: watch::Receiver<bool>,
    over: bool,
}

impl Session {
    fn new(
        publisher: &Publisher,
        proxy: Proxy,
        requests: Streaming<message::Request>,
        closed: watch::Receiver<bool>,
    ) -> Self {
        tracing::info!(proxy = %proxy.id, scope = %proxy.scope, "proxy connected");
        let set = publisher.subscribe(&proxy.scope);
        let (registration, replaced) = publisher.registry().register(proxy);
        Self {
            subscriber: Subscriber::new(&wire::SCHEMA, publisher.limits()),
            set,
            requests,
            registration,
            replaced,
            closed,
            over: false,
        }
    }

    async fn step(mut self) -> Option<(Result<message::Response, Status>, Self)> {
        if self.over {
            return None;
        }
        let response = self.next().await.transpose()?;
        self.over = response.is_err();
        Some((response, self))
    }

    /// The next response; none when the proxy has ended the stream.
    async fn next(&mut self) -> Result<Option<message::Response>, Status> {
        loop {
            if *self.closed.borrow() {
                return Err(ended());
            }
            if let Some(response) = self.poll() {
                return Ok(Some(response));
            }
            tokio::select! {
                request = self.requests.message() => match request? {
                    Some(request) => self.take(request)?,
                    None => return Ok(None),
                },
                changed = self.set.changed() => {
                    changed.map_err(|_| Status::unavailable("the scope is gone"))?;
                }
                _ = &mut self.replaced => {
                    return Err(Status::aborted("the proxy has come again on another stream"));
                }
                changed = self.closed.changed() => changed.map_err(|_| ended())?,
            }
        }
    }

    fn poll(&mut self) -> Option<message::Response> {
        let set = self.set.borrow_and_update();
        self.subscriber.poll(set.as_ref()?)
    }

    fn take(&mut self, request: message::Request) -> Result<(), Status> {
        self.check_node(request.node.as_ref())?;
        let answer = self.subscriber.on_request(request);
        let answer = answer.map_err(|violation| Status::resource_exhausted(violation.to_string()))?;
        if let Some(Answer { revision, report }) = answer {
            self.registration.report(read(revision, report));
        }
        Ok(())
    }

    /// Whatever a proxy says of itself must be what its proof says (case E8).
    fn check_node(&self, node: Option<&message::Node>) -> Result<(), Status> {
        let proxy = self.registration.proxy();
        let honest = |said: &str, is: &str| said.is_empty() || said == is;
        let agrees = node.is_none_or(|node| {
            honest(&node.id, proxy.id.as_str()) && honest(&node.cluster, proxy.scope.as_str())
        });
        if agrees { Ok(()) } else { Err(Status::permission_denied("another node's name")) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Proxy { id, scope, .. } = self.registration.proxy();
        tracing::info!(proxy = %id, scope = %scope, "proxy disconnected");
    }
}

fn ended() -> Status {
    Status::unavailable("the control plane ends, or another replica leads")
}

fn read(revision: u64, report: Report) -> ProxyReport {
    let refused = report.refused.into_iter();
    ProxyReport {
        revision,
        refused: refused.filter_map(|r| Some((wire::key(&r.id)?, r.reason))).collect(),
        unbound: report.unbound.into_iter().map(|u| (u.name, u.reason)).collect(),
    }
}
