//! The TLS that HTTPS listeners end: which certificate is shown, which versions, what is resumed.

use std::sync::Arc;

use isthmus_identity::crypto_provider;
use isthmus_ir::{Certificate, HostPattern, KeyFormat};
use rustls::{
    ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidCertificate {
    /// Chain and key do not belong together, or the key is of no kind that is known.
    #[error("the certificate and its key cannot be used: {0}")]
    Key(#[source] rustls::Error),
    /// rustls refuses the settings.
    #[error("the listener's TLS cannot be set up: {0}")]
    Config(#[source] rustls::Error),
}

/// The TLS of one listener. Sessions are resumed on this listener only: its tickets are sealed with keys
/// of its own, which change when its certificates do (cases.md D10).
#[derive(Debug)]
pub(crate) struct ListenerTls {
    pub(crate) config: Arc<ServerConfig>,
}

/// A certificate with the names that it is for.
#[derive(Debug)]
struct Named {
    key: Arc<CertifiedKey>,
    names: Vec<HostPattern>,
}

#[derive(Debug)]
struct Resolver(Vec<Named>);

/// Chain and key as rustls wants them.
///
/// # Errors
/// When they do not belong together.
pub(crate) fn certified_key(certificate: &Certificate) -> Result<CertifiedKey, InvalidCertificate> {
    let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    let der = certificate.key.der.expose().to_vec();
    let key: PrivateKeyDer<'static> = match certificate.key.format {
        KeyFormat::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        KeyFormat::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        KeyFormat::Sec1 => PrivateSec1KeyDer::from(der).into(),
    };
    CertifiedKey::from_der(chain, key, &crypto_provider()).map_err(InvalidCertificate::Key)
}

impl ListenerTls {
    /// The TLS of a listener with these certificates, in the user's order.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub(crate) fn new(certificates: &[Arc<Certificate>]) -> Result<Self, InvalidCertificate> {
        let named = certificates
            .iter()
            .map(|certificate| {
                let key = Arc::new(certified_key(certificate)?);
                Ok(Named { names: names_of(&key), key })
            })
            .collect::<Result<_, _>>()?;
        let mut config = ServerConfig::builder_with_provider(crypto_provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(InvalidCertificate::Config)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(named)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer =
            rustls::crypto::aws_lc_rs::Ticketer::new().map_err(InvalidCertificate::Config)?;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config) })
    }
}

fn names_of(key: &CertifiedKey) -> Vec<HostPattern> {
    let Some(leaf) = key.cert.first() else { return Vec::new() };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => HostPattern::parse(name).ok(),
        _ => None,
    });
    dns.collect()
}

/// A wildcard in a certificate stands for one label (RFC 6125, section 6.4.3).
fn covers(pattern: &HostPattern, name: &str) -> bool {
    match pattern {
        HostPattern::Wildcard(suffix) => name.split_once('.').is_some_and(|(_, rest)| rest == suffix),
        pattern => pattern.matches(name),
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let signs = |named: &&Named| named.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let names = |exact: bool| {
            let fits = move |p: &HostPattern, name: &str| {
                (!exact || matches!(p, HostPattern::Exact(_))) && covers(p, name)
            };
            let wanted = hello.server_name();
            move |named: &&Named| wanted.is_some_and(|name| named.names.iter().any(|p| fits(p, name)))
        };
        let mut usable = self.0.iter().filter(signs);
        let exact = usable.clone().find(names(true));
        let chosen = exact.or_else(|| usable.clone().find(names(false)));
        let chosen = chosen.or_else(|| usable.next()).or_else(|| self.0.first());
        chosen.map(|named| Arc::clone(&named.key))
    }
}
