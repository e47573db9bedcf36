//! Whether a certificate is an SVID, and of whom (SPIFFE X.509-SVID, sections 2 to 5; cases D1, D2).

use std::{sync::Arc, time::Duration};

use isthmus_ir::{InvalidIdentity, SpiffeId, TrustDomain};
use rustls::{
    CertificateError, Error, OtherError,
    pki_types::{CertificateDer, UnixTime},
};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Why a certificate is not believed.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Untrusted {
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
    /// No root of its trust domain vouches for it, or not now, or not for this use.
    #[error("no root of its trust domain vouches for it: {0}")]
    Chain(webpki::Error),
    /// The ID is another one than those that may be there.
    #[error("{0} is not who may be at the other end")]
    Unexpected(SpiffeId),
    /// Nothing was shown.
    #[error("no certificate was shown")]
    Missing,
    /// Whatever else whoever asks has against it.
    #[error("{0}")]
    Other(&'static str),
}

impl From<Untrusted> for Error {
    fn from(why: Untrusted) -> Self {
        Self::InvalidCertificate(match why {
            Untrusted::Malformed => CertificateError::BadEncoding,
            Untrusted::Chain(error) => certificate_error(&error),
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }
}

/// So that the other end gets the alert that tells it what is wrong.
fn certificate_error(error: &webpki::Error) -> CertificateError {
    match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other.clone()))),
    }
}

/// The identity of a leaf, if it is an SVID. Who signed it is not looked at.
///
/// # Errors
/// When it is none.
pub fn identity(leaf: &CertificateDer<'_>) -> Result<SpiffeId, Untrusted> {
    let (rest, leaf) = X509Certificate::from_der(leaf).map_err(|_| Untrusted::Malformed)?;
    let unreadable = |e: &x509_parser::extensions::X509Extension<'_>| {
        matches!(e.parsed_extension(), ParsedExtension::ParseError { .. })
    };
    if !rest.is_empty() || leaf.extensions().iter().any(unreadable) {
        return Err(Untrusted::Malformed);
    }
    let is_ca = leaf.basic_constraints().map_err(|_| Untrusted::Malformed)?.is_some_and(|b| b.value.ca);
    let usage = leaf.key_usage().map_err(|_| Untrusted::Malformed)?;
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign());
    if is_ca || signs {
        return Err(Untrusted::Authority);
    }
    only_uri(&leaf)
}

/// When a leaf ends.
///
/// # Errors
/// When it cannot be read.
pub fn not_after(leaf: &CertificateDer<'_>) -> Result<UnixTime, Untrusted> {
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| Untrusted::Malformed)?;
    let end = u64::try_from(leaf.validity.not_after.timestamp()).map_err(|_| Untrusted::Malformed)?;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(end)))
}

fn only_uri(leaf: &X509Certificate<'_>) -> Result<SpiffeId, Untrusted> {
    let names = leaf.subject_alternative_name().map_err(|_| Untrusted::Malformed)?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let uris: Vec<&str> = names
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

#[cfg(test)]
mod tests;
