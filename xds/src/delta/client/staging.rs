//! What has arrived and is not in force yet.

use std::collections::BTreeSet;

use bytes::Bytes;
use isthmus_ir::Name;

use super::{Machine, Violation, Weigh};
use crate::delta::{Refused, ResourceId, TypeIndex, Version, message};

#[derive(Debug)]
pub(super) enum Staged<T> {
    Value { version: Version, value: T, bytes: usize },
    Refused { version: Version, reason: String },
    Removed,
}

impl<T: Weigh> Staged<T> {
    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::Value { version, .. } | Self::Refused { version, .. } => Some(*version),
            Self::Removed => None,
        }
    }

    fn bytes(&self) -> usize {
        if let Self::Value { bytes, .. } = self { *bytes } else { 0 }
    }

    fn weight(&self) -> usize {
        if let Self::Value { value, .. } = self { value.weight() } else { 0 }
    }
}

impl<T: Weigh> Machine<T> {
    pub(super) fn stage(
        &mut self,
        kind: TypeIndex,
        resources: Vec<message::Resource>,
        decode: impl Fn(TypeIndex, &Name, &Bytes) -> Result<T, String>,
    ) -> Result<Vec<Refused>, Violation> {
        let mut seen = BTreeSet::new();
        let mut refused = Vec::new();
        for resource in resources {
            let version: Result<Version, _> = resource.version.parse();
            let version = version.map_err(|_| Violation::InvalidVersion(resource.name.clone()))?;
            let name = Name::from(resource.name);
            let value = content(self.schema.url(kind), version, resource.resource);
            let value = value.and_then(|content| {
                let bytes = content.len();
                Ok((decode(kind, &name, &content)?, bytes))
            });
            let value = if seen.insert(name.clone()) { value } else { Err("it came twice".to_owned()) };
            let id = ResourceId { kind, name };
            let staged = match value {
                Ok((value, bytes)) => Staged::Value { version, value, bytes },
                Err(reason) => {
                    refused.push(Refused { id: id.clone(), version, reason: reason.clone() });
                    Staged::Refused { version, reason }
                }
            };
            self.put(&id, staged)?;
        }
        Ok(refused)
    }

    /// Stages one resource.
    pub(super) fn put(&mut self, id: &ResourceId, staged: Staged<T>) -> Result<(), Violation> {
        if let Some(version) = staged.version() {
            self.checksum.add(self.schema, id, version);
        }
        self.staged_bytes += staged.bytes();
        let before = match self.staged.insert(id.clone(), staged) {
            Some(old) => {
                self.staged_bytes -= old.bytes();
                old.version()
            }
            None if self.anew => None,
            None => self.held.get(id).copied(),
        };
        if let Some(version) = before {
            self.checksum.remove(self.schema, id, version);
        }
        let removals = self.held.len();
        if self.staged.len() > self.limits.resources + removals
            || self.staged_bytes > self.limits.staged_bytes
        {
            return self.too_much();
        }
        Ok(())
    }

    pub(super) fn too_much(&mut self) -> Result<(), Violation> {
        self.restart();
        Err(Violation::TooMuch)
    }

    /// How many resources there would be if what is staged were held.
    pub(super) fn resulting(&self) -> usize {
        let held = if self.anew { 0 } else { self.held.len() };
        let was_held = |id| !self.anew && self.held.contains_key(id);
        self.staged.iter().fold(held, |sum, (id, staged)| match (was_held(id), staged) {
            (true, Staged::Removed) => sum.saturating_sub(1),
            (true, _) | (false, Staged::Removed) => sum,
            (false, _) => sum + 1,
        })
    }

    /// What they would weigh. A refused one weighs what its last good version does.
    pub(super) fn resulting_weight(&self) -> usize {
        let kept = |id: &ResourceId| match self.staged.get(id) {
            Some(staged) => matches!(staged, Staged::Refused { .. }),
            None => !self.anew,
        };
        let held = self.weights.iter().filter(|(id, _)| kept(id)).map(|(_, weight)| *weight);
        held.chain(self.staged.values().map(Staged::weight)).sum()
    }

    /// Makes what is staged what is held.
    pub(super) fn swap(&mut self) -> Vec<(ResourceId, Option<T>)> {
        let staged = std::mem::take(&mut self.staged);
        self.staged_bytes = 0;
        let mut changes = Vec::new();
        if std::mem::take(&mut self.anew) {
            let gone = self.held.keys().filter(|id| !staged.contains_key(id));
            changes.extend(gone.map(|id| (id.clone(), None)));
            self.held.retain(|id, _| staged.contains_key(id));
            self.weights.retain(|id, _| staged.contains_key(id));
            self.refused.retain(|id, _| staged.contains_key(id));
        }
        for (id, staged) in staged {
            self.settle(id, staged, &mut changes);
        }
        changes
    }

    /// Makes one staged resource held, and adds what is to be done about it.
    fn settle(&mut self, id: ResourceId, staged: Staged<T>, changes: &mut Vec<(ResourceId, Option<T>)>) {
        let was_refused = self.refused.remove(&id).is_some();
        match staged {
            Staged::Removed => {
                self.weights.remove(&id);
                if self.held.remove(&id).is_some() {
                    changes.push((id, None));
                }
            }
            Staged::Refused { version, reason } => {
                self.held.insert(id.clone(), version);
                self.refused.insert(id, reason);
            }
            Staged::Value { version, value, .. } => {
                self.weights.remove(&id);
                if value.weight() > 0 {
                    self.weights.insert(id.clone(), value.weight());
                }
                let old = self.held.insert(id.clone(), version);
                if was_refused || old != Some(version) {
                    changes.push((id, Some(value)));
                }
            }
        }
    }
}

/// The bytes of a resource that is what it says to be.
fn content(type_url: &str, version: Version, any: Option<message::Any>) -> Result<Bytes, String> {
    let any = any.ok_or_else(|| "it has no content".to_owned())?;
    if any.type_url != type_url {
        return Err(format!("it is of the type {:?}", any.type_url));
    }
    if Version::of(&any.value) != version {
        return Err("its version is not that of its content".to_owned());
    }
    Ok(any.value)
}
