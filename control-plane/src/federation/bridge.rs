//! Between streams and the task that owns the peers: everything is handed on, nothing is decided.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use isthmus_east_west::invite::{InvitationId, JoinRequest, Member};
use isthmus_xds::{
    federation::{self, Admit, Closed, Committed, Event, FederationKey, Hello, Import},
    server::Denied,
};
use tokio::sync::oneshot;

use super::{
    input::{Input, Inputs, Who},
    listener::Caller,
};

/// What a control plane is told that is no peer's, or whose certificate is not that peer's: the same, so
/// that strangers learn nothing.
const STRANGER: &str = "this cluster does not know you as a peer; join again with a new token";
/// What whoever asks is told while this process ends.
const ENDING: &str = "the control plane is ending";

/// Hands on what a peer says.
pub(super) struct Bridge {
    who: Who,
    inputs: Inputs,
    /// Whether a heartbeat waits to be taken in.
    beat: Arc<AtomicBool>,
}

impl Bridge {
    pub(super) fn new(who: Who, inputs: Inputs, beat: Arc<AtomicBool>) -> Self {
        Self { who, inputs, beat }
    }
}

impl Import for Bridge {
    async fn commit(&mut self, committed: Committed) -> Vec<(FederationKey, String)> {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(Input::Committed { who: self.who.clone(), committed, reply });
        answer.await.unwrap_or_default()
    }

    fn event(&mut self, stream: u64, event: Event) {
        let who = self.who.clone();
        let input = match event {
            Event::Opened { resumed, hello } => {
                tracing::info!(
                    peer = &*who.cluster,
                    stream,
                    resumed,
                    version = hello.version,
                    "federation stream is open"
                );
                Input::Opened { who, stream, resumed }
            }
            Event::Heartbeat { .. } if self.beat.swap(true, Ordering::AcqRel) => return,
            Event::Heartbeat { .. } => Input::Heartbeat { who, stream },
            Event::Acked { refused, .. } => {
                for (key, reason) in refused {
                    tracing::warn!(peer = &*who.cluster, kind = ?key.kind, name = key.name.as_str(), reason,
                        "peer refuses an export");
                }
                return;
            }
            Event::Closed(why) => Input::Closed { who, stream, why },
        };
        let _ = self.inputs.send(input);
    }
}

/// Hands on who asks to be let in.
pub(super) struct Door {
    pub(super) inputs: Inputs,
}

impl Door {
    async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Denied> {
        let (reply, answer) = oneshot::channel();
        let _ = self.inputs.send(input(reply));
        answer.await.map_err(|_| Denied(ENDING.to_owned()))
    }
}

fn caller(extensions: &http::Extensions) -> Result<Arc<Caller>, Denied> {
    extensions.get().cloned().ok_or_else(|| Denied(STRANGER.to_owned()))
}

impl Admit for Door {
    type Import = Bridge;

    async fn admit(
        &self,
        extensions: &http::Extensions,
        hello: &Hello,
    ) -> Result<federation::Peer<Bridge>, Denied> {
        let caller = caller(extensions)?;
        let (asked, hello) = (Arc::clone(&caller), hello.clone());
        let peer = self.ask(|reply| Input::Admit(asked, hello, reply)).await?;
        let peer = peer.ok_or_else(|| Denied(STRANGER.to_owned()))?;
        caller.admit();
        Ok(peer)
    }

    async fn join(
        &self,
        extensions: &http::Extensions,
        request: federation::JoinRequest,
    ) -> Result<federation::JoinResponse, Denied> {
        let caller = caller(extensions)?;
        let proof = request.proof.as_ref().try_into();
        let proof = proof.map_err(|_| Denied("the proof is none".to_owned()))?;
        let invitation = InvitationId(request.invitation);
        let request = JoinRequest { invitation, member: member(request.member), proof };
        let joined = self.ask(|reply| Input::Join(caller, request, reply)).await?;
        let joined = joined.map_err(|rejected| Denied(rejected.to_string()))?;
        let proof = joined.proof.to_vec().into();
        Ok(federation::JoinResponse { member: message(joined.member), proof })
    }
}

/// A member from its message.
pub(super) fn member(member: federation::Member) -> Member {
    let federation::Member { cluster, trust_domain, roots, gateways } = member;
    Member { cluster: cluster.as_ref().to_owned(), trust_domain, roots, gateways }
}

/// A member as a message.
pub(super) fn message(member: Member) -> federation::Member {
    let Member { cluster, trust_domain, roots, gateways } = member;
    federation::Member { cluster: cluster.into(), trust_domain, roots, gateways }
}

/// What is known of a stream's end that people should see while there is no other.
pub(super) fn trouble(why: &Closed) -> Option<String> {
    match why {
        Closed::Duplicate | Closed::Replaced | Closed::Ended | Closed::Leaving | Closed::Left(_) => None,
        other => Some(other.to_string()),
    }
}
