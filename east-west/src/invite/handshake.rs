//! The two messages of a join, and what each side checks.
//!
//! Whoever carries them has checked with TLS that the other side holds the key of the certificate that it
//! shows, and, on the inviter's side, that the joiner's certificate chains to the roots in its request.

use std::net::SocketAddr;

use bytes::Bytes;
use hmac::Mac;
use isthmus_ir::{SpiffeId, TrustDomain};
use isthmus_world::fact::{PeerFact, PeerState};
use sha2::{Digest, Sha256};

use super::{
    ledger::{Invitation, InvitationId, JoinRefusal},
    token::{Nonce, Token},
};
use crate::{
    handle::{base32, keyed},
    label::is_dns_label,
    peer::{MAX_ROOT_BYTES, MAX_ROOTS},
    trust::MAX_GATEWAYS,
};

/// What a cluster says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its cluster id.
    pub cluster: String,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The roots of its trust domain as DER.
    pub roots: Vec<Bytes>,
    /// Its east-west gateways, in order of preference; empty when it can only dial out.
    pub gateways: Vec<SocketAddr>,
}

/// What identifies one TLS connection, the same on both of its ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Keying material exported under the label [`Channel::LABEL`] (RFC 8446, section 7.5).
    pub exporter: [u8; 32],
    /// SHA-256 of the inviter's leaf certificate.
    pub inviter: [u8; 32],
    /// SHA-256 of the joiner's leaf certificate.
    pub joiner: [u8; 32],
}

impl Channel {
    /// The exporter label.
    pub const LABEL: &'static [u8] = b"EXPORTER-isthmus-join";
}

/// The joiner asks to be let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest {
    /// Which invitation it redeems.
    pub invitation: InvitationId,
    /// Who it is.
    pub member: Member,
    /// That it knows the nonce.
    pub proof: [u8; 32],
}

/// The inviter lets it in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinResponse {
    /// Who it is.
    pub member: Member,
    /// That it knows the nonce too.
    pub proof: [u8; 32],
}

/// What an accepted request leads to, in this order: store both, or neither; then answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Replaces the invitation, if that is still what it was.
    pub invitation: Invitation,
    /// The new peer. Until its first stream it is to be forgotten when the invitation ends.
    pub peer: Member,
    /// The answer.
    pub response: JoinResponse,
}

/// Why the joiner gives up. Nothing has been stored on its side.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is this cluster's own.
    #[error("this token was made by this very cluster: join with it from the other one")]
    Own,
    /// The inviter has our cluster id, or a peer has the inviter's (case H9).
    #[error(
        "cluster id {0:?} is taken here; every cluster of a ClusterSet needs one of its own (spec.cluster.id)"
    )]
    ClusterTaken(String),
    /// The inviter is a peer.
    #[error(
        "cluster {0} is a peer already; to join it anew, first run `isthmus peer leave {0} --force` here"
    )]
    AlreadyPeer(String),
    /// The inviter has our trust domain, or a peer has the inviter's (case H9).
    #[error(
        "trust domain {0:?} is taken here; every cluster of a ClusterSet needs one of its own (spec.cluster.trustDomain)"
    )]
    TrustDomainTaken(String),
    /// The server's key is not the one that the token pins.
    #[error(
        "the server is not the one that made the token: its key is another one; nothing was sent to it"
    )]
    WrongServer,
    /// The server answered, and does not know the nonce.
    #[error("the server's answer is forged")]
    Forged,
    /// The server is of another cluster or trust domain than the token says.
    #[error(
        "the answer is of cluster {cluster:?} in trust domain {trust_domain:?}, which the token is not of"
    )]
    WrongMember {
        /// The answer's cluster.
        cluster: String,
        /// The answer's trust domain.
        trust_domain: String,
    },
    /// The answer makes no sense.
    #[error("the answer is invalid: {0}")]
    Invalid(String),
    /// The inviter refused.
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
}

/// The joiner's side, from a token to a peer.
#[derive(Clone, Debug)]
pub struct Joining {
    token: Token,
    own: Member,
}

impl Joining {
    /// Begins with a token, as `own`, which has peers `known` already.
    ///
    /// # Errors
    /// When the token's cluster cannot become a peer whatever it says.
    pub fn new<'a>(
        token: Token,
        own: Member,
        known: impl IntoIterator<Item = &'a PeerFact>,
    ) -> Result<Self, JoinError> {
        if token.cluster == own.cluster && token.trust_domain == own.trust_domain {
            return Err(JoinError::Own);
        }
        joinable(&token.cluster, &token.trust_domain, &own, known)?;
        Ok(Self { token, own })
    }

    /// Where to dial, in order, with the SNI [`CONTROL`](crate::handle::CONTROL).
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.token.addresses
    }

    /// Checks the server's chain, before anything is sent. `keys` are the SHA-256 of the public key
    /// (`SubjectPublicKeyInfo`) of each certificate of the chain that TLS has verified up to that root.
    ///
    /// # Errors
    /// When the pinned key is not among them.
    pub fn check_server<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a [u8; 32]>,
    ) -> Result<(), JoinError> {
        let pinned = keys.into_iter().any(|key| *key == self.token.pin);
        pinned.then_some(()).ok_or(JoinError::WrongServer)
    }

    /// What to send over `channel`.
    pub fn request(&self, channel: &Channel) -> JoinRequest {
        let proof =
            prove(&self.token.nonce, Side::Joiner, channel, &self.own).finalize().into_bytes().into();
        let invitation = InvitationId::of(&self.token.nonce);
        JoinRequest { invitation, member: self.own.clone(), proof }
    }

    /// The new peer, from what was answered on the same channel.
    ///
    /// # Errors
    /// When the answer is not the inviter's own.
    pub fn finish(&self, channel: &Channel, response: JoinResponse) -> Result<Member, JoinError> {
        let JoinResponse { member, proof } = response;
        let expected = prove(&self.token.nonce, Side::Inviter, channel, &member);
        expected.verify(&proof.into()).map_err(|_| JoinError::Forged)?;
        if member.cluster != self.token.cluster || member.trust_domain != self.token.trust_domain {
            let (cluster, trust_domain) = (member.cluster, member.trust_domain.to_string());
            return Err(JoinError::WrongMember { cluster, trust_domain });
        }
        member.check().map_err(JoinError::Invalid)?;
        Ok(member)
    }
}

/// Whether a cluster of these names can become a peer of `own`, which has peers `known` already.
///
/// # Errors
/// When one of them is taken, or it is a peer.
pub fn joinable<'a>(
    cluster: &str,
    domain: &TrustDomain,
    own: &Member,
    known: impl IntoIterator<Item = &'a PeerFact>,
) -> Result<(), JoinError> {
    let known = known.into_iter().map(|peer| (&*peer.cluster, &peer.trust_domain));
    match taken(cluster, domain, own, known) {
        Some(Taken::Peer) => Err(JoinError::AlreadyPeer(cluster.to_owned())),
        Some(Taken::Cluster) => Err(JoinError::ClusterTaken(cluster.to_owned())),
        Some(Taken::TrustDomain) => Err(JoinError::TrustDomainTaken(domain.to_string())),
        None => Ok(()),
    }
}

/// The inviter's side: `own`, with peers `known` and `invitation` as stored (none: no such id), is asked
/// over `channel` by whoever showed a certificate of `shown`, at `now` (seconds since 1970).
///
/// # Errors
/// When the joiner is not let in; the invitation stays what it was.
pub fn accept<'a>(
    own: &Member,
    known: impl IntoIterator<Item = &'a PeerFact>,
    invitation: Option<&Invitation>,
    request: &JoinRequest,
    channel: &Channel,
    shown: &SpiffeId,
    now: u64,
) -> Result<Accepted, JoinRefusal> {
    let invitation = invitation.filter(|i| i.id == request.invitation).ok_or(JoinRefusal::Unknown)?;
    let member = &request.member;
    let expected = prove(&invitation.nonce, Side::Joiner, channel, member);
    expected.verify(&request.proof.into()).map_err(|_| JoinRefusal::Forged)?;
    let redeemed = invitation.redeemed(&member.cluster, &member.digest(), now)?;
    member.check().map_err(JoinRefusal::Invalid)?;
    if *shown.trust_domain() != member.trust_domain {
        let (shown, said) = (shown.trust_domain().to_string(), member.trust_domain.to_string());
        return Err(JoinRefusal::WrongTrustDomain { shown, said });
    }
    // Whoever asks again, as the first answer was lost, is known already.
    let again = redeemed.standing == invitation.standing;
    let known = known.into_iter().map(|peer| (&*peer.cluster, &peer.trust_domain));
    let known = known.filter(|known| !again || *known != (&*member.cluster, &member.trust_domain));
    match taken(&member.cluster, &member.trust_domain, own, known) {
        Some(Taken::Peer) => return Err(JoinRefusal::AlreadyPeer(member.cluster.clone())),
        Some(Taken::Cluster) => return Err(JoinRefusal::ClusterTaken(member.cluster.clone())),
        Some(Taken::TrustDomain) => {
            return Err(JoinRefusal::TrustDomainTaken(member.trust_domain.to_string()));
        }
        None => {}
    }
    let proof = prove(&invitation.nonce, Side::Inviter, channel, own).finalize().into_bytes().into();
    let response = JoinResponse { member: own.clone(), proof };
    Ok(Accepted { invitation: redeemed, peer: member.clone(), response })
}

impl Member {
    /// The peer that this cluster becomes.
    pub fn to_fact(&self) -> PeerFact {
        PeerFact {
            cluster: self.cluster.as_str().into(),
            trust_domain: self.trust_domain.clone(),
            gateways: self.gateways.clone(),
            state: PeerState::Connected,
            roots: self.roots.clone(),
            priority: 0,
            cost: 0,
            namespaces: None,
        }
    }

    fn check(&self) -> Result<(), String> {
        if !is_dns_label(&self.cluster) {
            return Err("its cluster id is no DNS label".into());
        }
        if self.roots.is_empty() || self.roots.len() > MAX_ROOTS {
            return Err(format!("it must have 1 to {MAX_ROOTS} roots"));
        }
        if self.roots.iter().any(|root| root.is_empty() || root.len() > MAX_ROOT_BYTES) {
            return Err(format!("a root must have 1 to {MAX_ROOT_BYTES} bytes"));
        }
        if self.gateways.len() > MAX_GATEWAYS {
            return Err(format!("it may have {MAX_GATEWAYS} gateway addresses at most"));
        }
        Ok(())
    }

    fn digest(&self) -> String {
        let mut sum = Sha256::new();
        self.write(|bytes| sum.update(bytes));
        base32(sum.finalize().iter().copied().take(30))
    }

    /// All of it, each part with its length.
    fn write(&self, mut write: impl FnMut(&[u8])) {
        let mut part = |bytes: &[u8]| {
            write(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            write(bytes);
        };
        part(self.cluster.as_bytes());
        part(self.trust_domain.as_str().as_bytes());
        for root in &self.roots {
            part(root);
        }
        part(b"");
        for gateway in &self.gateways {
            part(gateway.to_string().as_bytes());
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Joiner,
    Inviter,
}

/// The MAC by which `side` proves on `channel` that it knows the nonce and says `member` of itself.
fn prove(nonce: &Nonce, side: Side, channel: &Channel, member: &Member) -> hmac::Hmac<Sha256> {
    let mut mac = keyed(nonce.expose());
    mac.update(match side {
        Side::Joiner => b"isthmus join v1 joiner\0",
        Side::Inviter => b"isthmus join v1 inviter",
    });
    for part in [&channel.exporter, &channel.inviter, &channel.joiner] {
        mac.update(part);
    }
    member.write(|bytes| mac.update(bytes));
    mac
}

enum Taken {
    /// Both are a peer's: it is that peer.
    Peer,
    Cluster,
    TrustDomain,
}

/// Which name of a newcomer is another's already: ours, or that of one of `known`.
fn taken<'a>(
    cluster: &str,
    domain: &TrustDomain,
    own: &Member,
    known: impl Iterator<Item = (&'a str, &'a TrustDomain)>,
) -> Option<Taken> {
    if own.cluster == cluster {
        return Some(Taken::Cluster);
    }
    if own.trust_domain == *domain {
        return Some(Taken::TrustDomain);
    }
    let mut all = known.map(|(other, other_domain)| (other == cluster, other_domain == domain));
    all.find_map(|same| match same {
        (true, true) => Some(Taken::Peer),
        (true, false) => Some(Taken::Cluster),
        (false, true) => Some(Taken::TrustDomain),
        (false, false) => None,
    })
}
