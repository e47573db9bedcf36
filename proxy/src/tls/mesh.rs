//! Mutual TLS between proxies: our SVID, whom we believe, and what handles lead to.

use std::sync::Arc;

use bytes::Bytes;
use isthmus_identity::{Bundles, Untrusted, Verifier, crypto_provider, identity};
use isthmus_ir::{Handle, Reach, SpiffeId, TrustDomain};
use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::{NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::TlsStream;
use crate::plan::Plan;

/// What travels inside mesh TLS between gateways: HTTP/1.1, with pooled connections.
pub(crate) const ALPN: &[u8] = b"isthmus-http/1";

/// Sessions that a caller keeps for resumption, by handle.
const SESSIONS: usize = 1024;

/// This proxy's own certificate with its key.
pub(crate) type Svid = Arc<CertifiedKey>;

/// The SVID with this chain, leaf first, and this key in PKCS #8.
///
/// # Errors
/// When they do not belong together.
pub(crate) fn svid(chain: &[Bytes], key: &[u8]) -> Result<Svid, rustls::Error> {
    let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let key = PrivatePkcs8KeyDer::from(key.to_vec()).into();
    Ok(Arc::new(CertifiedKey::from_der(chain, key, &crypto_provider())?))
}

/// The mesh TLS of one moment. It is made anew when our SVID or any bundle changes, and with it whatever
/// could be resumed is forgotten (cases.md D10).
#[derive(Default)]
pub(crate) struct MeshTls {
    client: Option<Arc<ClientConfig>>,
    server: Option<Arc<ServerConfig>>,
}

/// A handle and what it leads to.
pub(crate) struct HandleState {
    pub(crate) spec: Arc<Handle>,
    /// How requests that come by it are served; none when bytes are passed through.
    pub(crate) plan: Option<Plan>,
}

impl MeshTls {
    /// The mesh TLS of a proxy with this SVID.
    ///
    /// # Errors
    /// When rustls refuses the settings.
    pub(crate) fn new(svid: &Svid, bundles: &Arc<Bundles>) -> Result<Self, rustls::Error> {
        let provider = crypto_provider();
        let verifier = Arc::new(Verifier(Arc::clone(bundles)));
        let versions = &[&rustls::version::TLS13];
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(svid))));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::in_memory_sessions(SESSIONS);
        let resolver: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(Arc::clone(svid)));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        server.send_tls13_tickets = 1;
        Ok(Self { client: Some(Arc::new(client)), server: Some(Arc::new(server)) })
    }

    /// The calling side; none before there is an SVID.
    pub(crate) fn client(&self) -> Option<&Arc<ClientConfig>> {
        self.client.as_ref()
    }

    /// The answering side; none before there is an SVID.
    pub(crate) fn server(&self) -> Option<&Arc<ServerConfig>> {
        self.server.as_ref()
    }

    /// Whether who answered is one of those who may.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn check_server(stream: &TlsStream, reach: &Reach) -> Result<(), Untrusted> {
        let id = peer_identity(stream)?;
        let expected: &[SpiffeId] = match reach {
            Reach::Peer { identities, .. } => identities,
            Reach::Direct { .. } => &[],
        };
        if expected.contains(&id) { Ok(()) } else { Err(Untrusted::Unexpected(id)) }
    }
}

impl HandleState {
    /// Whether who called may use the handle.
    ///
    /// # Errors
    /// When it may not.
    pub(crate) fn check_caller(&self, stream: &TlsStream) -> Result<TrustDomain, Untrusted> {
        let id = peer_identity(stream)?;
        if self.spec.callers.contains(id.trust_domain()) {
            Ok(id.trust_domain().clone())
        } else {
            Err(Untrusted::Unexpected(id))
        }
    }
}

/// Who is at the other end. The chain was verified in the handshake, or in the one that is resumed.
fn peer_identity(stream: &TlsStream) -> Result<SpiffeId, Untrusted> {
    let chain: &[CertificateDer<'_>] = stream.agreed().peer_certificates().unwrap_or_default();
    identity(chain.first().ok_or(Untrusted::Missing)?)
}
