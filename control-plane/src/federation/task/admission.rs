//! Who becomes a peer, and who is admitted as one.

use std::{sync::Arc, time::Duration};

use isthmus_east_west::{
    invite::{
        self, Invitation, JoinError, JoinRefusal, JoinRequest, JoinResponse, Joining, Member, Token,
    },
    peer::Peer,
};
use isthmus_identity::{Anchors, KeyUsage, Untrusted};
use isthmus_ir::{Redacted, TrustDomain};
use isthmus_world::{Change, fact::PeerFact};
use isthmus_xds::federation::{self, Hello};
use rustls_pki_types::UnixTime;
use tokio::sync::oneshot;

use super::Task;
use crate::federation::{
    FederationError,
    bridge::Bridge,
    dial::keep_connected,
    error::Rejected,
    input::{Input, Who},
    listener::Caller,
    membership::Membership,
    trust::{pin, verify},
};

/// How long an inviter leaves it to the joiner to open the first stream: before the joiner has the answer,
/// it does not know the inviter.
const JOINER_FIRST: Duration = Duration::from_secs(2);

impl Task {
    fn known(&self) -> impl Iterator<Item = &PeerFact> {
        self.peers.values().map(|peer| peer.peer.fact())
    }

    fn wall(&self) -> u64 {
        u64::try_from((self.clock)()).unwrap_or_default()
    }

    /// A new token, once its invitation is written down.
    pub(super) async fn invite(&mut self) -> Result<Redacted<String>, FederationError> {
        let Member { cluster, trust_domain, roots, gateways: addresses } = self.own();
        let pin = roots.first().and_then(|root| pin(root)).unwrap_or_default();
        if addresses.is_empty() {
            return Err(FederationError::NoGateway);
        }
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|_| FederationError::Random)?;
        let now = self.wall();
        self.invitations.retain(|_, invitation| !invitation.is_stale(now));
        let invitation = Invitation::new(nonce, now);
        let Invitation { id, nonce, expires, .. } = invitation.clone();
        let token = Token { cluster, trust_domain, addresses, pin, nonce, expires };
        self.store.invitations(self.invitations.values().chain([&invitation])).await?;
        self.invitations.insert(id, invitation);
        Ok(Redacted::new(token.encode()))
    }

    /// The joiner's first half.
    pub(super) fn begin_join(&self, token: Token) -> Result<Joining, FederationError> {
        Ok(Joining::new(token, self.own(), self.known())?)
    }

    /// The joiner's second half: the answer was checked; the World may have changed meanwhile. What is
    /// answered ends with the peer's first snapshot.
    pub(super) async fn finish_join(
        &mut self,
        member: Member,
    ) -> Result<oneshot::Receiver<()>, FederationError> {
        invite::joinable(&member.cluster, &member.trust_domain, &self.own(), self.known())?;
        let anchors = Anchors::new(&member.trust_domain, &member.roots);
        anchors.map_err(|error| JoinError::Invalid(error.to_string()))?;
        let peer = Peer::joined(member.to_fact(), self.timing, self.now());
        let cluster = Arc::clone(&peer.fact().cluster);
        self.add(peer, Duration::ZERO).await?;
        let (told, first) = oneshot::channel();
        if let Some(peer) = self.peers.get_mut(&cluster) {
            peer.first = Some(told);
        }
        Ok(first)
    }

    /// The inviter's part. The invitation is written down first: if this process dies before the peer is
    /// written too, the joiner, and nobody else, may ask again.
    pub(super) async fn let_in(
        &mut self,
        caller: &Caller,
        request: &JoinRequest,
    ) -> Result<JoinResponse, Rejected> {
        let invitation = self.invitations.get(&request.invitation);
        let (own, now) = (self.own(), self.wall());
        let accepted =
            invite::accept(&own, self.known(), invitation, request, &caller.channel, &caller.id, now)?;
        let member = &request.member;
        vouched(caller, &member.trust_domain, &member.roots)
            .map_err(|why| JoinRefusal::Invalid(format!("its certificate is not its own: {why}")))?;
        let id = accepted.invitation.id.clone();
        let before = self.invitations.insert(id.clone(), accepted.invitation);
        if let Err(error) = self.store.invitations(self.invitations.values()).await {
            self.invitations.extend(before.map(|before| (id, before)));
            return Err(Rejected::Store(error));
        }
        if !self.peers.contains_key(member.cluster.as_str()) {
            let peer = Peer::invited(accepted.peer.to_fact(), self.timing, self.now());
            self.add(peer, JOINER_FIRST).await.map_err(Rejected::Store)?;
        }
        Ok(accepted.response)
    }

    /// Takes a peer in that has just joined, and dials it `after` that.
    async fn add(&mut self, peer: Peer, after: Duration) -> std::io::Result<()> {
        self.store.peer(peer.save()).await?;
        let fact = peer.fact().clone();
        tracing::info!(peer = &*fact.cluster, trust_domain = %fact.trust_domain, "peer has joined");
        let cluster = Arc::clone(&fact.cluster);
        self.insert(peer, after).await;
        self.tell_all(&cluster);
        let _ = self.changes.send(vec![Change::Peer(fact)]).await;
        Ok(())
    }

    /// Begins to keep a peer connected, `after` that.
    pub(in crate::federation) async fn insert(&mut self, peer: Peer, after: Duration) {
        self.memberships += 1;
        let cluster = Arc::clone(&peer.fact().cluster);
        let who = Who { cluster: Arc::clone(&cluster), membership: self.memberships };
        let inputs = self.inputs.clone();
        let peer = Membership::new(who.clone(), peer, self.hello(), &self.settings, inputs.clone());
        peer.resume().await;
        let trouble = move |why| drop(inputs.send(Input::Trouble { who: who.clone(), why }));
        let target = peer.target.subscribe();
        let (network, svid) = (self.network.clone(), self.svid.clone());
        let connected = keep_connected(peer.link.clone(), target, network, svid, trouble);
        self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            connected.await;
        });
        self.peers.insert(cluster, peer);
    }

    /// The peer that a control plane says to be, if its certificate is that peer's.
    pub(super) fn admit(&self, caller: &Caller, hello: &Hello) -> Option<federation::Peer<Bridge>> {
        let refuse = |why: &str| {
            tracing::warn!(cluster = &*hello.cluster, identity = %caller.id, reason = why,
                "a federation stream is refused");
        };
        let Some(peer) = self.peers.get(&hello.cluster).filter(|peer| !peer.peer.is_leaving()) else {
            refuse("no such peer");
            return None;
        };
        let fact = peer.peer.fact();
        if let Err(why) = vouched(caller, &fact.trust_domain, &fact.roots) {
            refuse(&why.to_string());
            return None;
        }
        Some(peer.link.clone())
    }
}

/// Whether these roots vouch for the caller as the control plane of `trust_domain`.
fn vouched(
    caller: &Caller,
    trust_domain: &TrustDomain,
    roots: &[bytes::Bytes],
) -> Result<(), Untrusted> {
    let anchors = Anchors::new(trust_domain, roots);
    let anchors = anchors.map_err(|_| Untrusted::Other("a root of it is no certificate"))?;
    let (leaf, intermediates) = caller.chain.split_first().ok_or(Untrusted::Missing)?;
    verify(&anchors, leaf, intermediates, KeyUsage::client_auth(), UnixTime::now()).map(drop)
}
