//! Secret of type `kubernetes.io/tls` -> certificate chain and key, checked as far as is possible
//! without cryptography.
//!
//! No text that leaves here holds a byte of the key, not even of a malformed one.

mod key;

use std::sync::Arc;

use bytes::Bytes;
use isthmus_ir::{Certificate, PrivateKey, Redacted};
use isthmus_world::fact::Secret;
use rustls_pki_types::pem::{PemObject, SectionKind};
use x509_parser::prelude::{FromDer, X509Certificate};

/// `type` of the Secrets that are read (Gateway API, `certificateRefs`).
const TLS: &str = "kubernetes.io/tls";

/// A Secret's certificate, or what is wrong with it, fit for a condition and free of key material.
pub type CertificateOutput = Result<Arc<Certificate>, String>;

/// Reads `tls.crt` and `tls.key` of `secret`.
///
/// # Errors
/// What is wrong with the Secret: a key of `data` that is missing or malformed, or that does not belong
/// to the certificate.
pub fn translate(secret: &Secret) -> CertificateOutput {
    let object = secret.meta.object();
    let fail = |what: String| format!("Secret {object}: {what}");
    if secret.kind != TLS {
        return Err(fail(format!("its type is {}, and must be {TLS}", secret.kind)));
    }
    let chain = secret.certificate.as_deref().ok_or_else(|| fail("data has no tls.crt".into()))?;
    let chain = self::chain(chain).map_err(|e| fail(format!("tls.crt {e}")))?;
    let key = secret.key.as_ref().ok_or_else(|| fail("data has no tls.key".into()))?;
    let key = self::key(key.expose()).map_err(|e| fail(format!("tls.key {e}")))?;
    let leaf = chain.first().map(Bytes::as_ref).unwrap_or_default();
    key::belongs(leaf, &key).map_err(|e| fail(format!("tls.key {e}")))?;
    Ok(Arc::new(Certificate { name: Certificate::name(&object), chain, key }))
}

/// Certificates in the order of the file, leaf first.
fn chain(pem: &[u8]) -> Result<Vec<Bytes>, String> {
    let mut chain = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|e| format!("is no PEM: {e}"))?;
        if kind != SectionKind::Certificate {
            continue;
        }
        match X509Certificate::from_der(&der) {
            Ok(([], _)) => chain.push(Bytes::from(der)),
            _ => {
                return Err(format!(
                    "holds a certificate (number {}) that is malformed",
                    chain.len() + 1
                ));
            }
        }
    }
    if chain.is_empty() {
        return Err("holds no PEM block CERTIFICATE".into());
    }
    Ok(chain)
}

/// The one private key. Errors of the PEM reader are not repeated: they quote what they could not read.
fn key(pem: &[u8]) -> Result<PrivateKey, String> {
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| "is no PEM".to_owned())?;
        if let Some(format) = key::format(kind) {
            return Ok(PrivateKey { format, der: Redacted::new(der.into()) });
        }
    }
    Err("holds no PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY".into())
}
