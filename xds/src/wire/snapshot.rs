//! The file in which a proxy keeps its last good resources, to serve from when it starts and the control
//! plane is away. Keys of users are never in it: certificates are left out.
//!
//! `ISTHMUS-SNAPSHOT-1`, a line feed, the first 16 bytes of the SHA-256 of what follows, and a
//! `SnapshotFile` message.

use isthmus_ir::{Key, Kind, Resource};
use prost::Message;

use super::{SCHEMA, decode as decode_resource, encode as encode_resource, index, kind};
use crate::{
    delta::Version,
    proto::proxy::{SnapshotFile, snapshot_file::Entry},
};

const MAGIC: &[u8] = b"ISTHMUS-SNAPSHOT-1\n";
const CHECKSUM_BYTES: usize = 16;

/// What was in a snapshot file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The resources.
    pub resources: Vec<Resource>,
    /// Their versions, in the same order: what to tell [`Client::holding`](crate::client::Client::holding).
    pub versions: Vec<(Key, Version)>,
    /// Resources that this program does not understand, with reasons; they will be sent anew.
    pub skipped: Vec<(String, String)>,
}

/// Why a file is no snapshot. Set it aside and start without.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Corrupt {
    /// It does not begin as a snapshot file does.
    #[error("it is no snapshot file of this version")]
    Format,
    /// It was cut off or changed.
    #[error("its checksum is wrong: it was cut off or changed")]
    Checksum,
}

/// The content of a snapshot file. Certificates are left out.
pub fn encode<'a>(resources: impl IntoIterator<Item = &'a Resource>) -> Vec<u8> {
    let kept = resources.into_iter().filter(|r| !matches!(r, Resource::Certificate(_)));
    let entries = kept.map(|resource| {
        let encoded = encode_resource(resource);
        Entry {
            type_url: SCHEMA.url(index(encoded.kind)).to_owned(),
            name: encoded.name.as_str().to_owned(),
            value: encoded.value,
        }
    });
    let body = SnapshotFile { entries: entries.collect() }.encode_to_vec();
    [MAGIC, &checksum(&body), &body].concat()
}

/// What is in the content of a snapshot file.
///
/// # Errors
/// When it is none, or not whole.
pub fn decode(content: &[u8]) -> Result<Snapshot, Corrupt> {
    let rest = content.strip_prefix(MAGIC).ok_or(Corrupt::Format)?;
    let (sum, body) = rest.split_at_checked(CHECKSUM_BYTES).ok_or(Corrupt::Checksum)?;
    if checksum(body) != sum {
        return Err(Corrupt::Checksum);
    }
    let file = SnapshotFile::decode(body).map_err(|_| Corrupt::Format)?;
    let mut snapshot = Snapshot::default();
    for entry in file.entries {
        snapshot.add(entry);
    }
    Ok(snapshot)
}

impl Snapshot {
    fn add(&mut self, entry: Entry) {
        let Entry { type_url, name, value } = entry;
        let kind = SCHEMA.find(&type_url).and_then(kind).filter(|kind| *kind != Kind::Certificate);
        let resource = kind.ok_or_else(|| format!("it is of the type {type_url:?}")).and_then(|kind| {
            decode_resource(kind, &name.as_str().into(), &value).map_err(|e| e.to_string())
        });
        match resource {
            Ok(resource) => {
                self.versions.push((resource.key(), Version::of(&value)));
                self.resources.push(resource);
            }
            Err(reason) => self.skipped.push((name, reason)),
        }
    }
}

/// Not against forgery: the file is the proxy's own.
fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    Version::of(body).to_bytes()
}
