//! TLS 1.3 between a control plane and its proxies, or between control planes: settings, and both ends of
//! a connection.
//!
//! Whose certificate is believed is `isthmus_identity`'s to say, and what a caller may do is said by whoever
//! authenticates it. Nothing is resumed: every connection proves itself by what is trusted at that time
//! (case D10).

mod incoming;
mod remote;

use std::sync::Arc;

use isthmus_identity::{Believe, Verifier, crypto_provider};
use rustls::{
    ClientConfig, Error, ServerConfig,
    client::Resumption,
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

pub use self::{
    incoming::{Peer, incoming},
    remote::{Address, ConnectError, Credentials, InvalidAddress, Remote},
};

/// What is spoken inside.
const ALPN: &[u8] = b"h2";

/// For answering whoever is believed, with this certificate. Callers that show none are answered when
/// `believe` says so, as [`isthmus_identity::Optional`] does.
///
/// # Errors
/// Never: the provider speaks TLS 1.3.
pub fn server_config(believe: impl Believe, key: Arc<CertifiedKey>) -> Result<Arc<ServerConfig>, Error> {
    let mut server = ServerConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier(believe)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Arc::new(server))
}

/// For dialling whoever is believed, showing this certificate or none.
///
/// # Errors
/// Never: the provider speaks TLS 1.3.
pub fn client_config(
    believe: impl Believe,
    key: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, Error> {
    let client = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier(believe)));
    let mut client = match key {
        Some(key) => client.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => client.with_no_client_auth(),
    };
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
}
