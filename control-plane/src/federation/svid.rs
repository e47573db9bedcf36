//! The control plane's own certificate: issued by our own CA, kept in memory only, renewed at a third of
//! its life by the monotonic clock (case D8).

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use isthmus_identity::{Believe, crypto_provider};
use isthmus_ir::SpiffeId;
use isthmus_xds::tls;
use rustls::{ClientConfig, ServerConfig, sign::CertifiedKey};
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::{
    Clock, FederationError,
    trust::{ControlPlane, control_plane, digest},
};
use crate::ca::{Authority, LEAF_LIFE};

/// When a renewal that failed is tried again.
const RETRY: Duration = Duration::from_mins(1);

/// The certificate of the moment. Cloning copies pointers.
#[derive(Clone)]
pub(super) struct Svid {
    authority: Arc<Authority>,
    clock: Clock,
    id: SpiffeId,
    current: Arc<ArcSwap<Credentials>>,
}

/// A certificate with its key, and the listener's settings with it.
pub(super) struct Credentials {
    key: Arc<CertifiedKey>,
    /// For the federation port.
    pub(super) server: Arc<ServerConfig>,
    /// SHA-256 of the leaf.
    pub(super) leaf: [u8; 32],
}

impl Svid {
    pub(super) fn new(authority: Arc<Authority>, clock: Clock) -> Result<Self, FederationError> {
        let id = control_plane(authority.trust_domain())?;
        let current = credentials(&authority, &id, &clock)?;
        Ok(Self { authority, clock, id, current: Arc::new(ArcSwap::from_pointee(current)) })
    }

    pub(super) fn current(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// Takes a new certificate. When to call this again.
    pub(super) fn renew(&self) -> Instant {
        match credentials(&self.authority, &self.id, &self.clock) {
            Ok(fresh) => {
                self.current.store(Arc::new(fresh));
                Self::due()
            }
            Err(error) => {
                tracing::warn!(%error, "cannot renew the control plane's certificate");
                Instant::now() + RETRY
            }
        }
    }

    /// When a certificate that was made now is to be renewed.
    pub(super) fn due() -> Instant {
        Instant::now() + LEAF_LIFE / 3
    }
}

fn credentials(
    authority: &Authority,
    id: &SpiffeId,
    clock: &Clock,
) -> Result<Credentials, FederationError> {
    let identity = authority.identity(id.clone(), clock())?;
    let leaf = identity.chain.first().map(digest).unwrap_or_default();
    // With its root, which joiners know by the pin of their token only.
    let roots = authority.roots();
    let roots = roots.iter().map(|root| CertificateDer::from(root.to_vec()));
    let chain = identity.chain.into_iter().chain(roots).collect();
    let provider = crypto_provider();
    let key = provider.key_provider.load_private_key(identity.key)?;
    let key = Arc::new(CertifiedKey::new(chain, key));
    let server = tls::server_config(ControlPlane, Arc::clone(&key))?;
    Ok(Credentials { key, server, leaf })
}

impl Credentials {
    /// For dialling whoever is believed.
    pub(super) fn client(&self, believe: impl Believe) -> Result<Arc<ClientConfig>, rustls::Error> {
        tls::client_config(believe, Some(Arc::clone(&self.key)))
    }
}
