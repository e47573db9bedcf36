//! What proxies see of the ways to peers, on its way to the control plane. Nothing depends on its arrival:
//! a proxy acts on what it sees by itself, and what is lost is said again.

use std::{sync::Arc, time::Duration};

use isthmus_ir::Name;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, async_trait};

use crate::{
    channel::{self, ChannelError},
    client::{Connect, Proof, ProofError},
    proto::proxy::{self as proto, evidence_client::EvidenceClient, evidence_server::Evidence},
    server::{Authenticate, Caller},
};

const TIMEOUT: Duration = Duration::from_secs(2);

/// What a proxy has seen of one peer since it told last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// The peer's cluster id.
    pub peer: Name,
    /// Whether something was answered through one of its gateways, or none of them answers.
    pub reached: bool,
}

/// The service that proxies call.
#[derive(Debug)]
pub(crate) struct Witness<A> {
    pub(crate) authenticate: Arc<A>,
    pub(crate) observations: mpsc::Sender<Vec<Observation>>,
}

#[async_trait]
impl<A: Authenticate> Evidence for Witness<A> {
    async fn observe(
        &self,
        request: Request<proto::Observations>,
    ) -> Result<Response<proto::Noted>, Status> {
        let caller = Caller::new(request.metadata(), request.extensions());
        let proxy = self.authenticate.authenticate(caller).await;
        proxy.map_err(|denied| Status::unauthenticated(denied.0))?;
        let observations = request.into_inner().observations.into_iter();
        let observations =
            observations.map(|seen| Observation { peer: seen.peer.into(), reached: seen.reached });
        // Whoever is too busy hears of it the next time.
        let _ = self.observations.try_send(observations.collect());
        Ok(Response::new(proto::Noted {}))
    }
}

/// Why the control plane did not take it.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// It cannot be reached.
    #[error("the control plane cannot be reached")]
    Unreachable(#[source] ChannelError),
    /// There is nothing to prove ourselves with.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It does not listen to us.
    #[error("the control plane does not listen: {0}")]
    Refused(String),
}

/// Tells the control plane behind `connect`. `proof` says who tells.
///
/// # Errors
/// When it does not arrive. There is no use in trying again before there is something new.
pub async fn observe(
    connect: &impl Connect,
    proof: &Proof,
    observations: Vec<Observation>,
) -> Result<(), ObserveError> {
    let channel = channel::open(connect).await.map_err(ObserveError::Unreachable)?;
    let observation = |seen: Observation| proto::Observation {
        peer: seen.peer.as_str().to_owned(),
        reached: seen.reached,
    };
    let observations = observations.into_iter().map(observation).collect();
    let mut request = Request::new(proto::Observations { observations });
    request.set_timeout(TIMEOUT);
    proof.put(&mut request).await?;
    let noted = EvidenceClient::new(channel).observe(request).await;
    noted.map(drop).map_err(|status| ObserveError::Refused(status.message().to_owned()))
}
