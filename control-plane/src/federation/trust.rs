//! Which certificates are believed between control planes: by the roots of a peer, by the pin of a token,
//! or, of callers, not before it is known whom they claim to be.

use isthmus_east_west::invite::Joining;
use isthmus_identity::{Anchors, Believe, KeyUsage, Untrusted, identity};
use isthmus_ir::{InvalidIdentity, SpiffeId, TrustDomain};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The path of the identity of every control plane.
const PATH: &str = "/ns/isthmus-system/sa/control-plane";

/// What a joiner is told, in the end, when who answers is not who made the token.
pub(super) const PIN: Untrusted = Untrusted::Other("no certificate that was shown is the pinned one");

/// The identity of the control plane of a trust domain.
///
/// # Errors
/// Never: the path is valid.
pub(super) fn control_plane(trust_domain: &TrustDomain) -> Result<SpiffeId, InvalidIdentity> {
    SpiffeId::new(trust_domain, PATH)
}

/// SHA-256 of a certificate.
pub(super) fn digest(certificate: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(certificate).into()
}

/// SHA-256 of a certificate's public key, which is what tokens pin; none when it is no certificate.
pub(super) fn pin(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(Sha256::digest(certificate.public_key().raw).into())
}

/// The control plane of the anchors' trust domain, by these anchors.
pub(super) fn verify(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: KeyUsage,
    now: UnixTime,
) -> Result<SpiffeId, Untrusted> {
    let id = anchors.verify(leaf, intermediates, usage, now)?;
    if id.path() == PATH { Ok(id) } else { Err(Untrusted::Unexpected(id)) }
}

/// Whoever says to be some cluster's control plane, and holds the key. By whose roots has to be checked
/// once it has said what it wants ([`verify`]): a joiner brings its own.
#[derive(Debug)]
pub(super) struct ControlPlane;

impl Believe for ControlPlane {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: KeyUsage,
        _: UnixTime,
    ) -> Result<(), Untrusted> {
        let id = identity(leaf)?;
        if id.path() == PATH { Ok(()) } else { Err(Untrusted::Unexpected(id)) }
    }
}

/// The control plane of one peer.
#[derive(Debug)]
pub(super) struct OfPeer(pub(super) Anchors);

impl Believe for OfPeer {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        verify(&self.0, leaf, intermediates, usage, now).map(drop)
    }
}

/// The control plane that made a token: it is signed by a root that it shows and that the token pins.
#[derive(Debug)]
pub(super) struct OfToken {
    pub(super) joining: Joining,
    pub(super) trust_domain: TrustDomain,
}

impl Believe for OfToken {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        let pinned = |root: &&CertificateDer<'_>| {
            pin(root).is_some_and(|pin| self.joining.check_server([&pin]).is_ok())
        };
        let root = intermediates.iter().find(pinned).ok_or(PIN)?;
        let anchors = Anchors::new(&self.trust_domain, [root]).map_err(|_| Untrusted::Malformed)?;
        verify(&anchors, leaf, &[], usage, now).map(drop)
    }
}
