//! Secret of type `kubernetes.io/tls` -> certificate chain and key, checked as far as is possible
//! without cryptography.

use std::sync::Arc;

use isthmus_ir::Certificate;
use isthmus_world::fact::Secret;

/// A Secret's certificate, or what is wrong with it, fit for a condition and free of key material.
pub type CertificateOutput = Result<Arc<Certificate>, String>;

/// Reads `tls.crt` and `tls.key` of `secret`.
///
/// # Errors
/// What is wrong with the Secret: a key of `data` that is missing or malformed.
pub fn translate(secret: &Secret) -> CertificateOutput {
    Err(format!("Secret {} cannot be read yet", secret.meta.object()))
}
