//! Invitations that were made: what became of each.
//!
//! Redeeming is a step from one value of an [`Invitation`] to the next; whoever stores it replaces the old
//! value by the new one only if it is still the old one (compare and swap), so that of two joiners with
//! one token one wins.

use std::fmt;

use isthmus_ir::Redacted;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::token::{LIFE, Nonce};
use crate::handle::base32;

/// Names an invitation without giving its nonce away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InvitationId(pub String);

impl InvitationId {
    /// The id of the invitation with this nonce.
    pub fn of(nonce: &Nonce) -> Self {
        let digest =
            Sha256::new().chain_update(b"isthmus invitation").chain_update(nonce.expose()).finalize();
        Self(base32(digest.iter().copied().take(15)))
    }
}

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One invitation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Its name.
    pub id: InvitationId,
    /// The token's nonce.
    pub nonce: Nonce,
    /// Its end, seconds since 1970 by this cluster's clock.
    pub expires: u64,
    /// What became of it.
    pub standing: Standing,
}

/// What became of an invitation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// It may be redeemed.
    Open,
    /// A cluster has redeemed it.
    Redeemed {
        /// The cluster.
        cluster: String,
        /// A digest of what it said of itself.
        member: String,
    },
    /// The inviter has taken it back.
    Revoked,
}

/// An invitation as it is stored. It holds the nonce: it belongs into files of mode 0600 and Secrets.
#[derive(Serialize, Deserialize)]
pub struct SavedInvitation {
    nonce: [u8; 32],
    expires: u64,
    standing: Standing,
}

/// Why a join was refused by the inviter. Sent to the joiner.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinRefusal {
    /// No invitation has this id.
    #[error(
        "the cluster knows of no such invitation: it was made by another cluster, or is long over; ask for a new one with `isthmus peer invite`"
    )]
    Unknown,
    /// The joiner does not know the nonce, or somebody sits between the two.
    #[error(
        "the token's proof is wrong: it is forged, or the connection is tampered with; ask for a new token with `isthmus peer invite`"
    )]
    Forged,
    /// It was redeemed by another cluster.
    #[error(
        "the token has been used already, by cluster {0:?}; each token admits one cluster: make another with `isthmus peer invite`"
    )]
    Used(String),
    /// It is too old.
    #[error("the token expired {ago} s ago; make another with `isthmus peer invite` and join within 15 minutes", ago = .0)]
    Expired(u64),
    /// It was taken back.
    #[error("the token was revoked; ask for a new one with `isthmus peer invite`")]
    Revoked,
    /// Both sides have the same cluster id, or the ClusterSet has it already (case H9).
    #[error(
        "cluster id {0:?} is taken; give this cluster another one in spec.cluster.id of its MeshInstall, and join again with the same token"
    )]
    ClusterTaken(String),
    /// It is a peer already: it has left without the inviter's knowing, or is another of both its names.
    #[error(
        "cluster {0} is a peer there still, as nobody has told that it left; run `isthmus peer leave {0} --force` there, and join again with the same token"
    )]
    AlreadyPeer(String),
    /// Both sides have the same trust domain, or the ClusterSet has it already (case H9).
    #[error(
        "trust domain {0:?} is taken; give this cluster another one in spec.cluster.trustDomain of its MeshInstall, and join again with the same token"
    )]
    TrustDomainTaken(String),
    /// What the joiner says of itself is not what its certificate says.
    #[error("the certificate shown is of trust domain {shown:?}, and not of {said:?}")]
    WrongTrustDomain {
        /// Of the certificate.
        shown: String,
        /// Of the request.
        said: String,
    },
    /// What the joiner says of itself makes no sense.
    #[error("the request is invalid: {0}")]
    Invalid(String),
}

impl Invitation {
    /// A new invitation with 32 random bytes, from `now` (seconds since 1970) for [`LIFE`].
    pub fn new(nonce: [u8; 32], now: u64) -> Self {
        let nonce = Redacted::new(nonce);
        let id = InvitationId::of(&nonce);
        Self { id, nonce, expires: now.saturating_add(LIFE), standing: Standing::Open }
    }

    /// What is stored.
    pub fn save(&self) -> SavedInvitation {
        let (nonce, standing) = (*self.nonce.expose(), self.standing.clone());
        SavedInvitation { nonce, expires: self.expires, standing }
    }

    /// What was stored.
    pub fn restored(saved: SavedInvitation) -> Self {
        let nonce = Redacted::new(saved.nonce);
        let id = InvitationId::of(&nonce);
        Self { id, nonce, expires: saved.expires, standing: saved.standing }
    }

    /// The invitation after it was taken back. One that was redeemed stays so: its cluster has to leave.
    #[must_use]
    pub fn revoked(&self) -> Self {
        let standing = match &self.standing {
            Standing::Redeemed { .. } => self.standing.clone(),
            _ => Standing::Revoked,
        };
        Self { standing, ..self.clone() }
    }

    /// Whether it can be deleted: nobody can learn anything from it any more.
    pub fn is_stale(&self, now: u64) -> bool {
        now >= self.expires.saturating_add(24 * 3600)
    }

    /// The invitation after `cluster`, which says `member` (a digest) of itself and has proved that it
    /// knows the nonce, has redeemed it. The same cluster may ask again, as an answer may be lost.
    pub(super) fn redeemed(&self, cluster: &str, member: &str, now: u64) -> Result<Self, JoinRefusal> {
        let standing = Standing::Redeemed { cluster: cluster.into(), member: member.into() };
        match &self.standing {
            Standing::Revoked => Err(JoinRefusal::Revoked),
            Standing::Redeemed { cluster, .. } if self.standing != standing => {
                Err(JoinRefusal::Used(cluster.clone()))
            }
            _ if now >= self.expires => Err(JoinRefusal::Expired(now - self.expires)),
            _ => Ok(Self { standing, ..self.clone() }),
        }
    }
}
