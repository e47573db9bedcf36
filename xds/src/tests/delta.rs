//! The machines against naive references, over random histories.

mod cost;
mod garbage;
mod lossy;
mod subscriptions;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::ProptestConfig;

use crate::delta::{Entry, ResourceId, Schema, TypeIndex, Version};

static SCHEMA: Schema = Schema { types: &["a", "b"], commit: "commit", report: "report" };

/// Contents by resource; the whole of what was published.
type Contents = BTreeMap<ResourceId, u8>;

/// One of six resources of two types.
fn id(number: u8) -> ResourceId {
    ResourceId { kind: TypeIndex(number % 2), name: format!("r{}", number % 6 / 2).into() }
}

fn entry(content: u8) -> Entry {
    let value = Bytes::copy_from_slice(&[content; 20]);
    Entry { version: Version::of(&value), value }
}

/// Makes the edits in the reference.
fn edit(contents: &mut Contents, edits: &[(u8, Option<u8>)]) {
    for (number, content) in edits {
        match content {
            Some(content) => drop(contents.insert(id(*number), *content)),
            None => drop(contents.remove(&id(*number))),
        }
    }
}

fn published(edits: &[(u8, Option<u8>)]) -> Vec<(ResourceId, Option<Entry>)> {
    edits.iter().map(|(number, content)| (id(*number), content.map(entry))).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}
