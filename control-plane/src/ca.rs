//! The cluster's certificate authority: one self-signed root, and SPIFFE certificates for 48 hours.
//!
//! Which identity a certificate gets is decided by whoever asks [`Authority::issue`], from the proof of
//! the caller; nothing of a signing request counts but its public key (case D17). The key never leaves
//! this module but for the state directory.

use std::time::Duration;

use bytes::Bytes;
use isthmus_ir::{Redacted, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// How long a leaf lives; it is renewed at a third.
pub const LEAF_LIFE: Duration = Duration::from_hours(48);
/// How far certificates are dated back, for clocks that are behind (case D8).
pub const BACKDATED: Duration = Duration::from_mins(15);
/// How long a root lives.
const ROOT_LIFE: Duration = Duration::from_hours(24 * 3650);

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// What came in is no signing request, or is not signed with its own key.
    #[error("the signing request cannot be used")]
    Request(#[source] rcgen::Error),
    /// What is kept of the CA cannot be used.
    #[error("the key or the root of the CA cannot be used")]
    Stored(#[source] rcgen::Error),
    /// The root is of another trust domain.
    #[error("the root of the CA is not that of trust domain {0}")]
    Foreign(TrustDomain),
    /// The key is not the root's.
    #[error("the key and the root of the CA do not belong together")]
    Mismatch,
    /// The cryptography failed.
    #[error("cannot make a certificate")]
    Crypto(#[source] rcgen::Error),
}

/// What is kept of a CA.
#[derive(Serialize, Deserialize)]
pub struct StoredAuthority {
    /// PKCS #8, PEM.
    key: String,
    /// DER, base64.
    root: String,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// DER.
    pub certificate: Bytes,
    /// When it ends, seconds since 1970.
    pub not_after: i64,
}

/// A certificate with its key, for this process.
#[derive(Debug)]
pub struct Identity {
    /// Who.
    pub id: SpiffeId,
    /// DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS #8.
    pub key: PrivateKeyDer<'static>,
    /// When the leaf ends, seconds since 1970.
    pub not_after: i64,
}

/// The CA of one trust domain.
pub struct Authority {
    trust_domain: TrustDomain,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    key: Redacted<String>,
}

impl Authority {
    /// A new CA for `trust_domain`, from `now` (seconds since 1970) on.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn generate(trust_domain: TrustDomain, now: i64) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(CaError::Crypto)?;
        let mut params = params(&format!("spiffe://{trust_domain}"), now, ROOT_LIFE)?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("Isthmus {trust_domain}"));
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).map_err(CaError::Crypto)?;
        let pem = key.serialize_pem();
        Self::assemble(trust_domain, root.der().clone(), key, pem)
    }

    /// The CA that was kept.
    ///
    /// # Errors
    /// When what was kept cannot be used, is of another trust domain, or does not belong together.
    pub fn restore(trust_domain: TrustDomain, stored: &StoredAuthority) -> Result<Self, CaError> {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        let root = BASE64_STANDARD.decode(&stored.root);
        let root = root.map_err(|_| CaError::Stored(rcgen::Error::CouldNotParseCertificate))?;
        let key = KeyPair::from_pem(&stored.key).map_err(CaError::Stored)?;
        belongs(&root, &key, &trust_domain)?;
        Self::assemble(trust_domain, root.into(), key, stored.key.clone())
    }

    fn assemble(
        trust_domain: TrustDomain,
        root: CertificateDer<'static>,
        key: KeyPair,
        pem: String,
    ) -> Result<Self, CaError> {
        let issuer = Issuer::from_ca_cert_der(&root, key).map_err(CaError::Stored)?;
        Ok(Self { trust_domain, root, issuer, key: Redacted::new(pem) })
    }

    /// What is to be kept, in a file that only its owner reads.
    pub fn store(&self) -> StoredAuthority {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        StoredAuthority { key: self.key.expose().clone(), root: BASE64_STANDARD.encode(&self.root) }
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots that authenticate identities of the trust domain, DER.
    pub fn roots(&self) -> Vec<Bytes> {
        vec![Bytes::copy_from_slice(&self.root)]
    }

    /// A certificate for `id` and the public key of `request` (PKCS #10, DER).
    ///
    /// # Errors
    /// When the request is none, or its signature is not by its key.
    pub fn issue(&self, id: &SpiffeId, request: &[u8], now: i64) -> Result<Leaf, CaError> {
        self.issue_as(id, None, request, now)
    }

    /// As [`Authority::issue`], and the certificate also says which of several that have the identity it was
    /// issued to: `name`, a DNS name.
    ///
    /// # Errors
    /// When the request is none, its signature is not by its key, or `name` is none.
    pub fn issue_as(
        &self,
        id: &SpiffeId,
        name: Option<&str>,
        request: &[u8],
        now: i64,
    ) -> Result<Leaf, CaError> {
        let request = CertificateSigningRequestDer::from(request);
        let request = CertificateSigningRequestParams::from_der(&request).map_err(CaError::Request)?;
        self.sign(id, name, &request.public_key, now)
    }

    /// A new key and a certificate for `id`, for this process.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn identity(&self, id: SpiffeId, now: i64) -> Result<Identity, CaError> {
        let key = KeyPair::generate().map_err(CaError::Crypto)?;
        let leaf = self.sign(&id, None, &key, now)?;
        let chain = vec![CertificateDer::from(leaf.certificate.to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Identity { id, chain, key, not_after: leaf.not_after })
    }

    fn sign(
        &self,
        id: &SpiffeId,
        name: Option<&str>,
        key: &impl PublicKeyData,
        now: i64,
    ) -> Result<Leaf, CaError> {
        let mut params = params(&id.to_string(), now, LEAF_LIFE)?;
        if let Some(name) = name {
            params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(CaError::Crypto)?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = params.not_after.unix_timestamp();
        let leaf = params.signed_by(key, &self.issuer).map_err(CaError::Crypto)?;
        Ok(Leaf { certificate: Bytes::copy_from_slice(leaf.der()), not_after })
    }
}

/// Whether a root is `key`'s, and names the trust domain.
fn belongs(root: &[u8], key: &KeyPair, trust_domain: &TrustDomain) -> Result<(), CaError> {
    let unreadable = || CaError::Stored(rcgen::Error::CouldNotParseCertificate);
    let (_, root) = X509Certificate::from_der(root).map_err(|_| unreadable())?;
    if root.public_key().subject_public_key.data != key.der_bytes() {
        return Err(CaError::Mismatch);
    }
    let uri = format!("spiffe://{trust_domain}");
    let names = root.subject_alternative_name().map_err(|_| unreadable())?;
    let own = names.is_some_and(|names| names.value.general_names == [GeneralName::URI(&uri)]);
    if own { Ok(()) } else { Err(CaError::Foreign(trust_domain.clone())) }
}

/// What all our certificates have in common: one URI name, a random serial, a life from a little ago.
fn params(uri: &str, now: i64, life: Duration) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(CaError::Crypto)?)];
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| CaError::Crypto(rcgen::Error::RingUnspecified))?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let now = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use isthmus_ir::SpiffeId;
    use rcgen::{CertificateParams, KeyPair};
    use rustls_pki_types::{CertificateDer, UnixTime};
    use x509_parser::prelude::*;

    use super::{Authority, BACKDATED, CaError, LEAF_LIFE, StoredAuthority};

    const NOW: i64 = 1_800_000_000;

    impl Authority {
        /// What a thief would be: it shows the root of `other`, and signs with its own key.
        pub(crate) fn with_root_of(&self, other: &Self) -> Self {
            let key = KeyPair::from_pem(self.key.expose()).unwrap();
            let (domain, pem) = (other.trust_domain.clone(), self.key.expose().clone());
            Self::assemble(domain, other.root.clone(), key, pem).unwrap()
        }
    }

    fn authority() -> Authority {
        Authority::generate("east.example".parse().unwrap(), NOW).unwrap()
    }

    fn request(names: Vec<String>) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::new(names).unwrap().serialize_request(&key).unwrap();
        request.der().to_vec()
    }

    fn id() -> SpiffeId {
        "spiffe://east.example/ns/shop/sa/edge".parse().unwrap()
    }

    #[test]
    fn d17_nothing_of_a_request_counts_but_its_key() {
        let wish = vec!["evil.example".to_owned()];
        let leaf = authority().issue(&id(), &request(wish), NOW).unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf.certificate).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let expected = GeneralName::URI("spiffe://east.example/ns/shop/sa/edge");
        assert_eq!(names.value.general_names, [expected]);
        assert!(!leaf.is_ca());
        assert_eq!(leaf.subject().iter().count(), 0);
        assert!(names.critical, "a certificate without subject must make its names critical");
    }

    #[test]
    fn d8_leaves_are_dated_back_and_live_two_days() {
        let leaf = authority().issue(&id(), &request(Vec::new()), NOW).unwrap();
        let (_, parsed) = X509Certificate::from_der(&leaf.certificate).unwrap();
        let validity = parsed.validity();
        assert_eq!(validity.not_before.timestamp(), NOW - BACKDATED.as_secs().cast_signed());
        assert_eq!(validity.not_after.timestamp(), NOW + LEAF_LIFE.as_secs().cast_signed());
        assert_eq!(validity.not_after.timestamp(), leaf.not_after);
    }

    #[test]
    fn what_is_issued_chains_to_the_root_also_after_a_restart() {
        let first = authority();
        let json = serde_json::to_string(&first.store()).unwrap();
        let stored: StoredAuthority = serde_json::from_str(&json).unwrap();
        let second = Authority::restore("east.example".parse().unwrap(), &stored).unwrap();
        assert_eq!(first.roots(), second.roots());
        let leaf = second.identity(id(), NOW).unwrap();
        let root = CertificateDer::from(first.roots()[0].to_vec());
        let anchor = webpki::anchor_from_trusted_cert(&root).unwrap();
        let entity = webpki::EndEntityCert::try_from(&leaf.chain[0]).unwrap();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.cast_unsigned()));
        for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let anchors = std::slice::from_ref(&anchor);
            entity.verify_for_usage(algorithms, anchors, &[], time, usage, None, None).unwrap();
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let (first, second) = (authority().store(), authority().store());
        let restored = |domain: &str, stored: &StoredAuthority| {
            Authority::restore(domain.parse().unwrap(), stored).map(drop)
        };
        assert!(restored("east.example", &first).is_ok());
        assert!(matches!(restored("west.example", &first), Err(CaError::Foreign(_))));
        let mixed = StoredAuthority { key: first.key, root: second.root };
        assert!(matches!(restored("east.example", &mixed), Err(CaError::Mismatch)));
        let broken = StoredAuthority { root: "AAAA".to_owned(), ..second };
        assert!(matches!(restored("east.example", &broken), Err(CaError::Stored(_))));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let authority = authority();
        assert!(matches!(authority.issue(&id(), b"junk", NOW), Err(CaError::Request(_))));
        let mut forged = request(Vec::new());
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(matches!(authority.issue(&id(), &forged, NOW), Err(CaError::Request(_))));
    }
}
