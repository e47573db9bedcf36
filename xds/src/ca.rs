//! How proxies get their certificates: a signing request goes in with a proof, a chain comes out. What is
//! signed and for whom is the control plane's to decide.

use std::future::Future;

use bytes::Bytes;
use isthmus_ir::TrustDomain;

use crate::server::{Caller, Denied};

/// A certificate that was issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// DER, leaf first.
    pub chain: Vec<Bytes>,
    /// When the leaf ends, seconds since 1970.
    pub not_after: i64,
    /// The trust domain of the leaf.
    pub trust_domain: TrustDomain,
    /// Its roots, DER.
    pub roots: Vec<Bytes>,
}

/// Signs.
pub trait Issue: Send + Sync + 'static {
    /// A certificate for the public key of `csr` (PKCS #10, DER; not verified yet) and for the identity
    /// that the caller has proved.
    ///
    /// # Errors
    /// When the caller has proved nothing that counts, or the request is none.
    fn issue(
        &self,
        caller: Caller<'_>,
        csr: Bytes,
    ) -> impl Future<Output = Result<Issued, Denied>> + Send;
}
