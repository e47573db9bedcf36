//! The verifier of rustls for either side of the mesh's mutual TLS, which speaks TLS 1.3 only.

use std::{fmt, sync::Arc};

use isthmus_ir::SpiffeId;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::KeyUsage;

use crate::{Anchors, Bundles, Untrusted, crypto_provider, identity};

/// Says whether a chain is believed.
pub trait Believe: fmt::Debug + Send + Sync + 'static {
    /// Whether it is believed at `now`. That the other end holds the leaf's key is checked by
    /// [`Verifier`].
    ///
    /// # Errors
    /// When it is not.
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted>;

    /// Whether a caller must show a certificate at all.
    fn requires_client(&self) -> bool {
        true
    }
}

/// Any SVID of a trust domain that is known; who it is has to be looked at after the handshake.
impl Believe for Arc<Bundles> {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        self.verify(leaf, intermediates, usage, now).map(drop)
    }
}

/// Any SVID of one trust domain.
impl Believe for Anchors {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        self.verify(leaf, intermediates, usage, now).map(drop)
    }
}

/// Exactly one identity, by the roots of its trust domain.
#[derive(Clone, Debug)]
pub struct Only {
    /// Who may be at the other end.
    pub id: SpiffeId,
    /// The roots of its trust domain.
    pub anchors: Anchors,
}

impl Believe for Only {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        // Who it claims to be comes first: whoever reads the error wants to know that.
        let claimed = identity(leaf)?;
        if claimed != self.id {
            return Err(Untrusted::Unexpected(claimed));
        }
        self.anchors.verify(leaf, intermediates, usage, now).map(drop)
    }
}

/// Whom `B` believes, and callers that show nothing; who they are has to be proved otherwise.
#[derive(Clone, Debug)]
pub struct Optional<B>(pub B);

impl<B: Believe> Believe for Optional<B> {
    fn believe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: KeyUsage,
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        self.0.believe(leaf, intermediates, usage, now)
    }

    fn requires_client(&self) -> bool {
        false
    }
}

/// Verifies servers and clients by what `B` believes. Server names mean nothing: in the mesh they say
/// where to, and certificates say who.
#[derive(Debug)]
pub struct Verifier<B>(pub B);

fn signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = crypto_provider().signature_verification_algorithms;
    verify_tls13_signature(message, certificate, signed, &algorithms)
}

fn too_old() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("the mesh speaks TLS 1.3 only".to_owned()))
}

impl<B: Believe> ServerCertVerifier for Verifier<B> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.believe(leaf, intermediates, KeyUsage::server_auth(), now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl<B: Believe> ClientCertVerifier for Verifier<B> {
    fn client_auth_mandatory(&self) -> bool {
        self.0.requires_client()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.believe(leaf, intermediates, KeyUsage::client_auth(), now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        too_old()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}
