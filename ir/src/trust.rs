//! The roots of a trust domain.

use bytes::Bytes;

use crate::TrustDomain;

/// The roots that authenticate identities of one trust domain, and of no other
/// (SPIFFE Trust Domain and Bundle, section 4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustBundle {
    /// Whose identities; its text is also this resource's name.
    pub trust_domain: TrustDomain,
    /// X.509 roots as DER, in order; never empty.
    pub roots: Vec<Bytes>,
}
