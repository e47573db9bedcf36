//! Who is believed in the mesh: X.509 SVIDs, each by the bundle of its own trust domain and by no other.
//!
//! A leaf has exactly one URI SAN, which is a SPIFFE ID in its strict form; it is no CA and signs no
//! certificates (SPIFFE X.509-SVID, sections 2 to 5; cases.md D1, D2). Its chain ends in a root of that ID's
//! trust domain: another domain's CA that issues an ID of ours is not believed (D3). Which ID may answer
//! or call is decided by the caller of this, from the resources.

use std::{collections::HashMap, sync::Arc};

use isthmus_ir::{InvalidIdentity, SpiffeId, TrustBundle, TrustDomain};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate is not believed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Untrusted {
    /// It cannot be read.
    #[error("the certificate is malformed")]
    Malformed,
    /// Not exactly one URI SAN.
    #[error("an SVID has exactly one URI SAN, this has {0}")]
    UriCount(usize),
    /// The URI is no SPIFFE ID.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    /// A CA, or a certificate that signs others, as a leaf.
    #[error("an SVID is no CA and signs no certificates")]
    Authority,
    /// No bundle of its trust domain is known.
    #[error("the trust domain {0} is not known")]
    Domain(TrustDomain),
    /// The ID is another one than those that may answer.
    #[error("{0} is not who may answer")]
    Unexpected(SpiffeId),
    /// Nothing was shown.
    #[error("no certificate was shown")]
    Missing,
}

impl From<Untrusted> for Error {
    fn from(why: Untrusted) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
    }
}

/// The identity of a leaf, if it is an SVID. The chain is not looked at.
///
/// # Errors
/// When it is none.
pub(crate) fn identity(leaf: &CertificateDer<'_>) -> Result<SpiffeId, Untrusted> {
    let (rest, leaf) = X509Certificate::from_der(leaf).map_err(|_| Untrusted::Malformed)?;
    if !rest.is_empty() {
        return Err(Untrusted::Malformed);
    }
    let is_ca = leaf.basic_constraints().map_err(|_| Untrusted::Malformed)?.is_some_and(|b| b.value.ca);
    let usage = leaf.key_usage().map_err(|_| Untrusted::Malformed)?;
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
    if is_ca || signs {
        return Err(Untrusted::Authority);
    }
    let names = leaf.subject_alternative_name().map_err(|_| Untrusted::Malformed)?;
    let uris: Vec<&str> = names
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris.as_slice() {
        [uri] => Ok(uri.parse()?),
        uris => Err(Untrusted::UriCount(uris.len())),
    }
}

/// The roots of every trust domain that is known.
#[derive(Debug, Default)]
pub(crate) struct Bundles(HashMap<TrustDomain, Vec<TrustAnchor<'static>>>);

impl Bundles {
    /// The bundles, each root once.
    ///
    /// # Errors
    /// The trust domain and the reason, when a root cannot be read.
    pub(crate) fn new<'b>(
        bundles: impl Iterator<Item = &'b Arc<TrustBundle>>,
    ) -> Result<Self, (TrustDomain, String)> {
        let mut all = HashMap::new();
        for bundle in bundles {
            let anchors = anchors(bundle).map_err(|why| (bundle.trust_domain.clone(), why))?;
            all.insert(bundle.trust_domain.clone(), anchors);
        }
        Ok(Self(all))
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), Error> {
        let id = identity(leaf)?;
        let anchors =
            self.0.get(id.trust_domain()).ok_or_else(|| Untrusted::Domain(id.trust_domain().clone()))?;
        let provider = super::crypto_provider();
        let end_entity = EndEntityCert::try_from(leaf).map_err(|_| Untrusted::Malformed)?;
        end_entity
            .verify_for_usage(
                provider.signature_verification_algorithms.all,
                anchors,
                intermediates,
                now,
                usage,
                None,
                None,
            )
            .map_err(|error| Error::InvalidCertificate(certificate_error(&error)))?;
        Ok(())
    }
}

/// The roots of a bundle.
///
/// # Errors
/// When one cannot be read: why.
pub(crate) fn anchors(bundle: &TrustBundle) -> Result<Vec<TrustAnchor<'static>>, String> {
    let anchor = |root: &bytes::Bytes| {
        let der = CertificateDer::from(root.as_ref());
        webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned()).map_err(|e| e.to_string())
    };
    bundle.roots.iter().map(anchor).collect()
}

fn certificate_error(error: &webpki::Error) -> CertificateError {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        _ => CertificateError::BadEncoding,
    }
}

/// Believes SVIDs of either side of a handshake.
#[derive(Debug)]
pub(crate) struct SpiffeVerifier {
    pub(super) bundles: Arc<Bundles>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl SpiffeVerifier {
    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }
}

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.bundles.verify(leaf, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("the mesh speaks TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for SpiffeVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.bundles.verify(leaf, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("the mesh speaks TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
