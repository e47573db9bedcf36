//! Who is at the other end of a connection: X.509 SVIDs, each by the bundle of its own trust domain and by
//! no other. Control planes and proxies check certificates here and nowhere else.
//!
//! Decides whether a certificate is an SVID, of whom, and whether a bundle vouches for it. Which identity
//! may call or answer is decided by whoever asks. No I/O, and no clock but the one that rustls brings.

mod bundle;
mod svid;
mod verifier;

pub use self::{
    bundle::{Anchors, Bundles, InvalidRoot, InvalidRoots},
    svid::{Untrusted, identity, not_after},
    verifier::{Believe, Only, Optional, Verifier},
};
pub use webpki::KeyUsage;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// The one crypto provider of a process: aws-lc-rs, hybrid post-quantum key exchange first. It is to be
/// given wherever rustls takes one (case D20).
pub fn crypto_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}
