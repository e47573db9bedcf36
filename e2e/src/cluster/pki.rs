//! The certificates of a test cluster and the kubeconfigs made of them. Keys are made anew for each cluster
//! and stay in its state directory.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

/// A certificate with its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// A cluster's certificate authority, which signs for clients and servers alike.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self> {
        let mut params = named("kubernetes-ca", None)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// The authority's own certificate and key.
    pub fn pair(&self) -> Pair {
        Pair { certificate: self.0.pem(), key: self.0.key().serialize_pem() }
    }

    /// What a client authenticates with: `user` of `group`, as the API server reads a subject.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        let mut params = named(user, group)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// What the API server serves with.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn server(&self, names: &[&str], addresses: &[Ipv4Addr]) -> Result<Pair> {
        let mut params = named("kube-apiserver", None)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        let addresses = addresses.iter().map(|address| SanType::IpAddress(IpAddr::V4(*address)));
        params.subject_alt_names.extend(addresses);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A kubeconfig with one context, in JSON, which is YAML too.
    pub fn kubeconfig(&self, context: &str, server: Ipv4Addr, client: &Pair) -> Value {
        let encode = |text: &str| BASE64_STANDARD.encode(text);
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{ "name": context, "cluster": {
                "server": format!("https://{server}:6443"),
                "certificate-authority-data": encode(&self.0.pem()),
            } }],
            "users": [{ "name": context, "user": {
                "client-certificate-data": encode(&client.certificate),
                "client-key-data": encode(&client.key),
            } }],
            "contexts": [{ "name": context, "context": { "cluster": context, "user": context } }],
        })
    }
}

fn named(name: &str, organization: Option<&str>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    Ok(params)
}
