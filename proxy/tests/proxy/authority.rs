//! Certificates for tests: trust domains with a CA each, and server certificates.

use std::sync::Arc;

use bytes::Bytes;
use isthmus_ir::{
    Certificate, KeyFormat, PrivateKey, Redacted, Resource, SpiffeId, TrustBundle, TrustDomain,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A CA with the trust domain that it is for.
pub struct Authority {
    pub domain: TrustDomain,
    issuer: Issuer<'static, KeyPair>,
    root: Bytes,
    pem: String,
}

/// A chain and its key.
pub struct Identity {
    pub chain: Vec<Bytes>,
    pub key: Redacted<Bytes>,
}

impl Authority {
    pub fn new(domain: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, domain);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, pem) = (root.der().to_vec().into(), root.pem());
        Self { domain: domain.parse().unwrap(), issuer: Issuer::new(params, key), root, pem }
    }

    /// The SPIFFE ID of `path` in this domain.
    pub fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(&self.domain, path).unwrap()
    }

    /// An SVID of this domain.
    pub fn svid(&self, path: &str) -> Identity {
        self.issue(&[&format!("spiffe://{}{path}", self.domain)], |_| ())
    }

    /// A leaf with these URIs, otherwise as `edit` has it.
    pub fn issue(&self, uris: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        edit(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![leaf.der().to_vec().into()],
            key: Redacted::new(key.serialize_der().into()),
        }
    }

    /// The chain of a certificate for `path` and the public key of a signing request.
    pub fn sign(&self, csr: &[u8], path: &str) -> Vec<Bytes> {
        let mut csr = CertificateSigningRequestParams::from_der(&csr.to_vec().into()).unwrap();
        let uri = format!("spiffe://{}{path}", self.domain);
        csr.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        vec![csr.signed_by(&self.issuer).unwrap().der().to_vec().into(), self.root.clone()]
    }

    /// The root, DER.
    pub fn root(&self) -> &Bytes {
        &self.root
    }

    /// The root in a file.
    pub fn root_pem(&self) -> &str {
        &self.pem
    }

    /// The bundle by which this domain is believed.
    pub fn bundle(&self) -> Resource {
        Resource::TrustBundle(Arc::new(TrustBundle {
            trust_domain: self.domain.clone(),
            roots: vec![self.root.clone()],
        }))
    }
}

/// A self-signed server certificate for `names`, as the resource `shop/<secret>`.
pub fn server_certificate(secret: &str, names: &[&str]) -> Arc<Certificate> {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let leaf = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Arc::new(Certificate {
        name: format!("shop/{secret}").into(),
        chain: vec![leaf.der().to_vec().into()],
        key: PrivateKey { format: KeyFormat::Pkcs8, der: Redacted::new(key.serialize_der().into()) },
    })
}
