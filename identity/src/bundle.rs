//! Trust bundles as they are verified with: every chain ends in a root of the leaf's own trust domain.
//! Another domain's CA that issues an ID of ours is not believed (case D3).

use std::collections::HashMap;

use isthmus_ir::{SpiffeId, TrustBundle, TrustDomain};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject as _};
use webpki::{EndEntityCert, KeyUsage};

use crate::{
    crypto_provider,
    svid::{Untrusted, identity},
};

/// A root that cannot be used.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("a root of the trust domain {trust_domain} cannot be used")]
pub struct InvalidRoot {
    /// Whose it is.
    pub trust_domain: TrustDomain,
    /// Why not.
    #[source]
    pub source: webpki::Error,
}

/// Why roots in PEM cannot be used.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum InvalidRoots {
    /// There is no certificate in it, perhaps not yet.
    #[error("there is no certificate in it")]
    Empty,
    /// It is no PEM.
    #[error("it is no PEM")]
    Malformed,
    /// One of them is no root.
    #[error(transparent)]
    Root(#[from] InvalidRoot),
}

/// The roots of one trust domain.
#[derive(Clone, Debug)]
pub struct Anchors {
    trust_domain: TrustDomain,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Anchors {
    /// The roots of `trust_domain`, DER.
    ///
    /// # Errors
    /// When one of them is no certificate.
    pub fn new<R: AsRef<[u8]>>(
        trust_domain: &TrustDomain,
        roots: impl IntoIterator<Item = R>,
    ) -> Result<Self, InvalidRoot> {
        let anchor = |root: R| {
            let der = CertificateDer::from(root.as_ref());
            webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned())
        };
        let anchors = roots.into_iter().map(anchor).collect::<Result<_, _>>();
        let invalid = |source| InvalidRoot { trust_domain: trust_domain.clone(), source };
        Ok(Self { trust_domain: trust_domain.clone(), anchors: anchors.map_err(invalid)? })
    }

    /// The roots of `trust_domain` in PEM; whatever else is in it is passed over.
    ///
    /// # Errors
    /// When there is no root in it, or one that cannot be used.
    pub fn from_pem(trust_domain: &TrustDomain, pem: &[u8]) -> Result<Self, InvalidRoots> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| InvalidRoots::Malformed)?;
        if roots.is_empty() {
            return Err(InvalidRoots::Empty);
        }
        Ok(Self::new(trust_domain, roots)?)
    }

    /// The identity that `leaf` proves at `now`, which is of this trust domain.
    ///
    /// # Errors
    /// When it is no SVID of it, or these roots do not vouch for it.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<SpiffeId, Untrusted> {
        let id = identity(leaf)?;
        if *id.trust_domain() != self.trust_domain {
            return Err(Untrusted::Domain(id.trust_domain().clone()));
        }
        let entity = EndEntityCert::try_from(leaf).map_err(|_| Untrusted::Malformed)?;
        let algorithms = crypto_provider().signature_verification_algorithms.all;
        entity
            .verify_for_usage(algorithms, &self.anchors, intermediates, now, usage, None, None)
            .map_err(Untrusted::Chain)?;
        Ok(id)
    }
}

/// The roots of every trust domain that is known.
#[derive(Clone, Debug, Default)]
pub struct Bundles(HashMap<TrustDomain, Anchors>);

impl Bundles {
    /// Of two bundles of one trust domain the last counts.
    ///
    /// # Errors
    /// When a root is no certificate.
    pub fn new<'b>(bundles: impl IntoIterator<Item = &'b TrustBundle>) -> Result<Self, InvalidRoot> {
        let anchors = |bundle: &'b TrustBundle| {
            let anchors = Anchors::new(&bundle.trust_domain, &bundle.roots)?;
            Ok((bundle.trust_domain.clone(), anchors))
        };
        Ok(Self(bundles.into_iter().map(anchors).collect::<Result<_, _>>()?))
    }

    /// The identity that `leaf` proves at `now`, by the bundle of its own trust domain.
    ///
    /// # Errors
    /// When it is no SVID, its trust domain is not known, or the roots of that do not vouch for it.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<SpiffeId, Untrusted> {
        let id = identity(leaf)?;
        let domain = id.trust_domain();
        let anchors = self.0.get(domain).ok_or_else(|| Untrusted::Domain(domain.clone()))?;
        anchors.verify(leaf, intermediates, usage, now)
    }
}
