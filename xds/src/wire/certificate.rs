//! [`Certificate`] on the wire, with its key: it is sent to the proxies of its Gateway, and never stored.

use bytes::Bytes;
use isthmus_ir::{Certificate, KeyFormat, Name, PrivateKey, Redacted};

use super::{
    Refusal,
    read::{check, features, filled, message, owned},
};
use crate::proto::proxy;

pub(super) fn encode(certificate: &Certificate) -> proxy::Certificate {
    let Certificate { name: _, chain, key: PrivateKey { format, der } } = certificate;
    let format = match format {
        KeyFormat::Pkcs8 => proxy::KeyFormat::Pkcs8,
        KeyFormat::Pkcs1 => proxy::KeyFormat::Pkcs1,
        KeyFormat::Sec1 => proxy::KeyFormat::Sec1,
    };
    proxy::Certificate {
        chain: chain.clone(),
        key_format: format.into(),
        key: der.expose().clone(),
        requires: Vec::new(),
    }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Certificate, Refusal> {
    let certificate: proxy::Certificate = message(value)?;
    features(&certificate.requires)?;
    check(!certificate.key.is_empty(), "key", "must not be empty")?;
    let format = match proxy::KeyFormat::try_from(certificate.key_format) {
        Ok(proxy::KeyFormat::Pkcs8) => KeyFormat::Pkcs8,
        Ok(proxy::KeyFormat::Pkcs1) => KeyFormat::Pkcs1,
        Ok(proxy::KeyFormat::Sec1) => KeyFormat::Sec1,
        Ok(proxy::KeyFormat::Unspecified) | Err(_) => return Err(Refusal::Unset("key_format")),
    };
    let key = PrivateKey { format, der: Redacted::new(Bytes::copy_from_slice(&certificate.key)) };
    Ok(Certificate { name, chain: owned(&filled("chain", certificate.chain)?), key })
}
