//! Versions of resources, and the checksum of a set of them.

use std::{fmt, str::FromStr};

use isthmus_ir::Name;
use sha2::{Digest, Sha256};

use super::{ResourceId, Schema};

/// The version of a resource: a hash of its content. 32 hexadecimal digits on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u128);

/// A text that is no version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a version has 32 hexadecimal digits")]
pub struct InvalidVersion;

impl Version {
    /// Differs from the version of every content that there will ever be.
    pub(super) const UNKNOWN: Self = Self(0);

    /// The version of a resource with these bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(hash(&[content]))
    }

    /// The hash itself.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self).ok_or(InvalidVersion)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sum of hashes of (type, name, version), modulo 2^128; so that it follows edits at no more than their
/// cost, in any order. It finds mistakes, not forgeries.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Checksum(u128);

impl Checksum {
    /// Counts a resource in.
    pub fn add(&mut self, schema: &Schema, id: &ResourceId, version: Version) {
        self.0 = self.0.wrapping_add(term(schema, id, version));
    }

    /// Takes a resource out that was counted in.
    pub fn remove(&mut self, schema: &Schema, id: &ResourceId, version: Version) {
        self.0 = self.0.wrapping_sub(term(schema, id, version));
    }

    /// As it is on the wire.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From the wire; none when it does not have 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(u128::from_be_bytes).map(Self)
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn term(schema: &Schema, id: &ResourceId, version: Version) -> u128 {
    let name: &Name = &id.name;
    hash(&[
        schema.url(id.kind).as_bytes(),
        &[0],
        name.as_str().as_bytes(),
        &[0],
        &version.0.to_be_bytes(),
    ])
}

/// The first 16 bytes of SHA-256 over the parts, one after the other.
fn hash(parts: &[&[u8]]) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    digest.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}
