//! A checksum of all that one cluster exports to another, by which both know that they mean the same.

use isthmus_world::fact::{ExportedEndpoint, ExportedService, ImportType, SessionAffinity};
use sha2::{Digest as _, Sha256};

/// SHA-256 over the [`Digest`]s of a set of exports, in order of namespace and name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Checksum(pub [u8; 32]);

/// SHA-256 of one export.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Digest([u8; 32]);

/// The digest of one export: of all that importers are told of it.
pub fn digest(export: &ExportedService) -> Digest {
    let mut sum = Sum(Sha256::new());
    sum.export(export);
    Digest(sum.0.finalize().into())
}

/// The checksum of a set of exports, whose digests come in order of namespace and name.
pub fn checksum(digests: impl IntoIterator<Item = Digest>) -> Checksum {
    let mut sum = Sha256::new();
    for Digest(bytes) in digests {
        sum.update(bytes);
    }
    Checksum(sum.finalize().into())
}

/// Every field is written with its length or as a fixed number of bytes; so no two sets are written alike.
struct Sum(Sha256);

impl Sum {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text);
    }

    fn option(&mut self, text: Option<&str>) {
        self.number(text.is_some().into());
        self.text(text.unwrap_or_default());
    }

    fn export(&mut self, export: &ExportedService) {
        self.text(&export.cluster);
        self.text(&export.namespace);
        self.text(&export.name);
        self.0.update(export.created.to_be_bytes());
        self.number((export.kind == ImportType::Headless).into());
        self.number((export.affinity == SessionAffinity::ClientIp).into());
        self.count(export.ports.len());
        for port in &export.ports {
            self.text(&port.name);
            self.number(port.port.into());
            self.text(&port.protocol);
            self.option(port.app_protocol.as_deref());
            self.endpoints(&port.endpoints);
            self.endpoints(port.fallback.as_slice());
        }
    }

    fn endpoints(&mut self, endpoints: &[ExportedEndpoint]) {
        self.count(endpoints.len());
        for endpoint in endpoints {
            self.text(&endpoint.handle);
            self.option(endpoint.zone.as_deref());
            self.number(endpoint.weight.into());
            self.count(endpoint.identities.len());
            for identity in &endpoint.identities {
                self.text(&identity.to_string());
            }
        }
    }
}
