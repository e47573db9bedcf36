//! Certificates and keys of Secrets, made once with OpenSSL.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use isthmus_gateway::certificate;
use isthmus_ir::{KeyFormat, Redacted};
use isthmus_world::fact::{Meta, Secret};

macro_rules! pem {
    ($file:literal) => {
        include_bytes!(concat!("certificates/", $file)).as_slice()
    };
}

fn secret(certificate: &[u8], key: &[u8]) -> Secret {
    Secret {
        meta: Meta { namespace: "ns".into(), name: "cert".into(), ..Meta::default() },
        kind: "kubernetes.io/tls".into(),
        certificate: Some(certificate.to_vec()),
        key: Some(Redacted::new(key.to_vec())),
    }
}

fn refusal(certificate: &[u8], key: &[u8]) -> String {
    certificate::translate(&secret(certificate, key)).unwrap_err()
}

#[test]
fn keys_of_every_encoding_are_read() {
    for (certificate, key, format) in [
        (pem!("rsa-pkcs8.crt"), pem!("rsa-pkcs8.key"), KeyFormat::Pkcs8),
        (pem!("rsa-pkcs8.crt"), pem!("rsa-pkcs1.key"), KeyFormat::Pkcs1),
        (pem!("ec-pkcs8.crt"), pem!("ec-pkcs8.key"), KeyFormat::Pkcs8),
        (pem!("ec-pkcs8.crt"), pem!("ec-sec1.key"), KeyFormat::Sec1),
        (pem!("ed25519.crt"), pem!("ed25519.key"), KeyFormat::Pkcs8),
    ] {
        let read = certificate::translate(&secret(certificate, key)).unwrap();
        assert_eq!(read.key.format, format);
        assert_eq!(read.chain.len(), 1);
        assert_eq!(read.name.as_str(), "ns/cert");
    }
}

#[test]
fn a_chain_is_kept_in_its_order() {
    let both = [pem!("ec-pkcs8.crt"), pem!("rsa-pkcs8.crt")].concat();
    let read = certificate::translate(&secret(&both, pem!("ec-pkcs8.key"))).unwrap();
    assert_eq!(read.chain.len(), 2);
    assert!(certificate::translate(&secret(&both, pem!("rsa-pkcs8.key"))).is_err(), "the leaf is first");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let other = "Secret ns/cert: tls.key does not belong to the certificate in tls.crt";
    assert_eq!(refusal(pem!("rsa-pkcs8.crt"), pem!("rsa-other.key")), other);
    assert_eq!(refusal(pem!("ec-pkcs8.crt"), pem!("ec-other.key")), other);
    assert_eq!(refusal(pem!("ec-pkcs8.crt"), pem!("ec-curve.key")), other);
    let algorithm = "Secret ns/cert: tls.key is for another algorithm than the certificate in tls.crt";
    assert_eq!(refusal(pem!("rsa-pkcs8.crt"), pem!("ec-pkcs8.key")), algorithm);
    assert_eq!(refusal(pem!("ed25519.crt"), pem!("ec-pkcs8.key")), algorithm);
}

#[test]
fn what_is_no_certificate_is_refused() {
    let key = pem!("ec-pkcs8.key");
    assert_eq!(refusal(b"Hello world\n", key), "Secret ns/cert: tls.crt holds no PEM block CERTIFICATE");
    assert_eq!(refusal(key, key), "Secret ns/cert: tls.crt holds no PEM block CERTIFICATE");
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        refusal(broken, key),
        "Secret ns/cert: tls.crt holds a certificate (number 1) that is malformed"
    );
    let cut = &pem!("ec-pkcs8.crt")[..300];
    assert!(refusal(cut, key).starts_with("Secret ns/cert: tls.crt is no PEM"));
}

#[test]
fn d18_no_byte_of_a_key_is_quoted() {
    let certificate = pem!("ec-pkcs8.crt");
    let text = std::str::from_utf8(pem!("ec-pkcs8.key")).unwrap();
    let body = text.lines().nth(1).unwrap();
    for broken in [
        text.replace("-----END", "----END"),
        text.replace("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----x"),
        text.replace(body, &format!("{body}!")),
        text.replace(body, &body[8..]),
        body.to_owned(),
    ] {
        let message = refusal(certificate, broken.as_bytes());
        assert!(message.starts_with("Secret ns/cert: tls.key "), "{message}");
        assert!(!message.contains(&body[12..20]), "{message}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let whole = secret(pem!("ec-pkcs8.crt"), pem!("ec-pkcs8.key"));
    let error = |secret: &Secret| certificate::translate(secret).unwrap_err();
    let certificate = Secret { certificate: None, ..whole.clone() };
    assert_eq!(error(&certificate), "Secret ns/cert: data has no tls.crt");
    let key = Secret { key: None, ..whole.clone() };
    assert_eq!(error(&key), "Secret ns/cert: data has no tls.key");
    let kind = Secret { kind: "Opaque".into(), ..whole };
    assert_eq!(error(&kind), "Secret ns/cert: its type is Opaque, and must be kubernetes.io/tls");
}
