//! Whether a private key belongs to a certificate, as far as its encoding tells.
//!
//! RSA keys carry the modulus, and elliptic-curve keys nearly always the public point; where a key does
//! not carry its public half, only the algorithms are compared, and a proxy that cannot use the pair
//! says so when it is told of it.

use isthmus_ir::{KeyFormat, PrivateKey};
use rustls_pki_types::pem::SectionKind;
use x509_parser::{
    asn1_rs::{Any, Class, FromDer, Oid, Tag},
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION},
    prelude::X509Certificate,
    public_key::PublicKey,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

const MALFORMED: &str = "is malformed";

/// What a private key says of its public half.
struct Claims<'a> {
    algorithm: Oid<'a>,
    /// The curve, as DER.
    parameters: Option<&'a [u8]>,
    public: Option<&'a [u8]>,
}

/// How a PEM block holds a private key; none for other blocks.
pub(super) fn format(kind: SectionKind) -> Option<KeyFormat> {
    match kind {
        SectionKind::PrivateKey => Some(KeyFormat::Pkcs8),
        SectionKind::RsaPrivateKey => Some(KeyFormat::Pkcs1),
        SectionKind::EcPrivateKey => Some(KeyFormat::Sec1),
        _ => None,
    }
}

/// Lets a key pass that may belong to the certificate `leaf`.
pub(super) fn belongs(leaf: &[u8], key: &PrivateKey) -> Result<(), &'static str> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| MALFORMED)?;
    let der = key.der.expose();
    let claims = match key.format {
        KeyFormat::Pkcs8 => pkcs8(der),
        KeyFormat::Pkcs1 => pkcs1(der),
        KeyFormat::Sec1 => sec1(der),
    };
    let claims = claims.ok_or(MALFORMED)?;
    let public = certificate.public_key();
    if claims.algorithm != public.algorithm.algorithm {
        return Err("is for another algorithm than the certificate in tls.crt");
    }
    let curve = public.algorithm.parameters.as_ref().map(|p| p.data);
    let curves_differ = claims.parameters.is_some_and(|c| curve.is_some_and(|other| other != c));
    if curves_differ || claims.public.is_some_and(|claimed| claimed != half(public)) {
        return Err("does not belong to the certificate in tls.crt");
    }
    Ok(())
}

/// The public half as [`Claims::public`] has it: the modulus of RSA, else the bits of the key.
fn half<'a>(public: &'a SubjectPublicKeyInfo<'_>) -> &'a [u8] {
    match public.parsed() {
        Ok(PublicKey::RSA(rsa)) => unsigned(rsa.modulus),
        _ => &public.subject_public_key.data,
    }
}

/// PKCS #8 (RFC 5958): version, algorithm, key, [0] attributes, [1] public key.
fn pkcs8(der: &[u8]) -> Option<Claims<'_>> {
    let body = sequence(der)?;
    let (rest, _version) = Any::from_der(body).ok()?;
    let (rest, algorithm) = AlgorithmIdentifier::from_der(rest).ok()?;
    let (rest, key) = Any::from_der(rest).ok()?;
    if key.tag() != Tag::OctetString {
        return None;
    }
    let parameters = algorithm.parameters.as_ref().map(|p| p.data);
    let algorithm = algorithm.algorithm;
    if algorithm == OID_PKCS1_RSAENCRYPTION {
        pkcs1(key.data)
    } else if algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        Some(Claims { parameters, ..sec1(key.data)? })
    } else {
        let public = tagged(rest, 1).and_then(|any| any.data.get(1..));
        Some(Claims { algorithm, parameters: None, public })
    }
}

/// PKCS #1 (RFC 8017): version, modulus, exponents and primes.
fn pkcs1(der: &[u8]) -> Option<Claims<'_>> {
    let (rest, _version) = Any::from_der(sequence(der)?).ok()?;
    let (_, modulus) = Any::from_der(rest).ok()?;
    (modulus.tag() == Tag::Integer).then_some(Claims {
        algorithm: OID_PKCS1_RSAENCRYPTION,
        parameters: None,
        public: Some(unsigned(modulus.data)),
    })
}

/// SEC 1 (RFC 5915): version, key, [0] curve, [1] public point.
fn sec1(der: &[u8]) -> Option<Claims<'_>> {
    let (rest, _version) = Any::from_der(sequence(der)?).ok()?;
    let (rest, key) = Any::from_der(rest).ok()?;
    let point = tagged(rest, 1).and_then(|any| Any::from_der(any.data).ok());
    (key.tag() == Tag::OctetString).then_some(Claims {
        algorithm: OID_KEY_TYPE_EC_PUBLIC_KEY,
        parameters: None,
        // The first byte of a bit string counts its unused bits.
        public: point.and_then(|(_, bits)| bits.data.get(1..)),
    })
}

/// The contents of the one sequence that `der` is.
fn sequence(der: &[u8]) -> Option<&[u8]> {
    let (rest, any) = Any::from_der(der).ok()?;
    (rest.is_empty() && any.tag() == Tag::Sequence).then_some(any.data)
}

/// The element `[number]` among those that `elements` holds.
fn tagged(mut elements: &[u8], number: u32) -> Option<Any<'_>> {
    while let Ok((rest, any)) = Any::from_der(elements) {
        if any.class() == Class::ContextSpecific && any.tag() == Tag(number) {
            return Some(any);
        }
        elements = rest;
    }
    None
}

fn unsigned(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}
