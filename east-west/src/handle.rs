//! Names of handles: opaque to peers, the same after a restart, and nobody's to guess.
//!
//! A name is a keyed hash of (service, port, endpoint). Whoever lacks the key of this cluster can neither
//! make one nor learn from one what it leads to.

use hmac::{Hmac, Mac};
use isthmus_ir::{Name, ObjectRef, Redacted};
use sha2::Sha256;

/// The handle that leads to the control plane's federation port. It is no secret: what answers there
/// authenticates its callers itself.
pub const CONTROL: &str = "control";

/// The secret of this cluster from which handles are derived; kept in the state directory, never shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandleKey(Redacted<[u8; 32]>);

impl HandleKey {
    /// The key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Redacted::new(bytes))
    }

    /// The name of the handle of one endpoint of a service's port.
    pub fn endpoint(&self, service: &ObjectRef, port: u16, endpoint: &str) -> Name {
        self.name(b"endpoint", service, port, endpoint)
    }

    /// The name of the handle of all endpoints of a service's port.
    pub fn service(&self, service: &ObjectRef, port: u16) -> Name {
        self.name(b"service", service, port, "")
    }

    fn name(&self, purpose: &[u8], service: &ObjectRef, port: u16, endpoint: &str) -> Name {
        let mut mac = keyed(self.0.expose());
        let port = port.to_be_bytes();
        let (namespace, name) = (service.namespace.as_bytes(), service.name.as_bytes());
        for part in [purpose, namespace, name, port.as_slice(), endpoint.as_bytes()] {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        base32(mac.finalize().into_bytes().iter().copied().take(20)).into()
    }
}

/// HMAC-SHA256 under `key`. (HMAC takes keys of every length; the fallback cannot be reached.)
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key)
        .unwrap_or_else(|_| Hmac::new(&hmac::digest::Key::<Hmac<Sha256>>::default()))
}

/// Lower-case base32 (RFC 4648 alphabet) without padding; whole groups of five bytes only.
pub(crate) fn base32(bytes: impl Iterator<Item = u8>) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (mut text, mut bits, mut held) = (String::new(), 0_u32, 0_u32);
    for byte in bytes {
        held = (held << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            let index = usize::try_from((held >> bits) & 31).unwrap_or_default();
            text.extend(ALPHABET.get(index).map(|b| char::from(*b)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use isthmus_ir::ObjectRef;

    use super::{HandleKey, base32};
    use crate::label::is_dns_label;

    #[test]
    fn base32_is_that_of_rfc_4648() {
        assert_eq!(base32(b"fooba".iter().copied()), "mzxw6ytb");
        assert_eq!(base32([0xff; 10].into_iter()), "7777777777777777");
    }

    #[test]
    fn names_are_stable_labels_that_differ_by_key_and_by_every_part() {
        let key = HandleKey::new([7; 32]);
        let (a, b) = (ObjectRef::new("shop", "cart"), ObjectRef::new("shopc", "art"));
        let name = key.endpoint(&a, 80, "10.0.0.1:8080");
        assert_eq!(name, HandleKey::new([7; 32]).endpoint(&a, 80, "10.0.0.1:8080"));
        assert!(is_dns_label(name.as_str()) && name.as_str().len() == 32);
        let others = [
            HandleKey::new([8; 32]).endpoint(&a, 80, "10.0.0.1:8080"),
            key.endpoint(&b, 80, "10.0.0.1:8080"),
            key.endpoint(&a, 81, "10.0.0.1:8080"),
            key.endpoint(&a, 80, "10.0.0.2:8080"),
            key.endpoint(&a, 80, ""),
            key.service(&a, 80),
        ];
        let mut all: Vec<_> = others.iter().chain([&name]).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 7);
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", HandleKey::new([7; 32])), "HandleKey((redacted))");
    }
}
