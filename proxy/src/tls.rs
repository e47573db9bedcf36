//! TLS: streams without idle buffers, listeners' certificates, and the mesh's mutual TLS.

mod hello;
mod mesh;
mod server;
mod stream;
mod verify;

pub(crate) use hello::{Hello, read_hello, refuse_name};
pub(crate) use mesh::{ALPN, HandleState, MeshTls, Svid, svid};
pub(crate) use server::{ListenerTls, certified_key};
pub(crate) use stream::TlsStream;
pub(crate) use verify::{Bundles, Untrusted, anchors};

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// The one crypto provider of this process: aws-lc-rs, hybrid post-quantum key exchange first.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}
