//! A server certificate that the user brought, with its key.

use std::fmt;

use bytes::Bytes;

use crate::{Name, ObjectRef};

/// A value that is never printed, serialized or dumped.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted<T>(T);

impl<T> Redacted<T> {
    /// Hides `value` from everything but [`Redacted::expose`].
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that uses it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// A certificate chain and its private key, from a `kubernetes.io/tls` Secret.
///
/// It goes only to proxies of Gateways that refer to it, and into no log, dump or snapshot file; so it
/// has no `Serialize`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// `<namespace>/<secret>`.
    pub name: Name,
    /// The chain as DER, leaf first; never empty.
    pub chain: Vec<Bytes>,
    /// The leaf's private key.
    pub key: PrivateKey,
}

impl Certificate {
    /// The resource name of the certificate in `secret`.
    pub fn name(secret: &ObjectRef) -> Name {
        secret.to_string().into()
    }
}

/// A private key as DER.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrivateKey {
    /// How `der` is to be read.
    pub format: KeyFormat,
    /// The key's bytes.
    pub der: Redacted<Bytes>,
}

/// The encoding of a private key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyFormat {
    /// PKCS #8 (RFC 5958).
    Pkcs8,
    /// PKCS #1, RSA only (RFC 8017).
    Pkcs1,
    /// SEC 1, elliptic curves only (RFC 5915).
    Sec1,
}
