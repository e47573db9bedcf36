//! What a client wants of one type: everything, some names, or both (xDS protocol, "How the client
//! specifies what resources to return").

use std::collections::BTreeSet;

use isthmus_ir::Name;

use super::{ResourceId, Subscriber, Version, Violation, id, message};
use crate::delta::{Set, TypeIndex};

/// The name that stands for all of a type.
const WILDCARD: &str = "*";

/// What a client wants of one type.
#[derive(Debug, Default)]
pub(super) struct Interest {
    wildcard: bool,
    names: BTreeSet<Name>,
}

impl Interest {
    pub(super) fn covers(&self, name: &Name) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Adds whatever it covers to `dirty`.
    pub(super) fn all(&self, kind: TypeIndex, set: &Set, dirty: &mut BTreeSet<ResourceId>) {
        if self.wildcard {
            dirty.extend(set.of_type(kind).map(|(id, _)| id.clone()));
        }
        dirty.extend(self.names.iter().map(|name| ResourceId { kind, name: name.clone() }));
    }
}

impl Subscriber {
    pub(super) fn subscribe(
        &mut self,
        kind: TypeIndex,
        request: message::Request,
    ) -> Result<(), Violation> {
        let first = !self.interests.contains_key(&kind);
        self.interests.entry(kind).or_default();
        let mut wanted = request.resource_names_subscribe;
        if first {
            self.hold(kind, request.initial_resource_versions)?;
            if wanted.is_empty() {
                wanted.push(WILDCARD.to_owned());
            }
        }
        for name in request.resource_names_unsubscribe {
            self.unwant(kind, name);
        }
        wanted.into_iter().try_for_each(|name| self.want(kind, name, first))
    }

    /// Takes down what the client says that it holds. A version that is none of ours differs from all.
    fn hold(
        &mut self,
        kind: TypeIndex,
        versions: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Violation> {
        for (name, version) in versions {
            self.count_name()?;
            let id = id(kind, name);
            self.learn(&id, version.parse().unwrap_or(Version::UNKNOWN));
            self.dirty.insert(id);
        }
        Ok(())
    }

    fn want(&mut self, kind: TypeIndex, name: String, first: bool) -> Result<(), Violation> {
        let Some(interest) = self.interests.get_mut(&kind) else { return Ok(()) };
        if name == WILDCARD {
            if !interest.wildcard {
                interest.wildcard = true;
                self.unlisted.insert(kind);
            }
            return Ok(());
        }
        let id = id(kind, name);
        if interest.names.insert(id.name.clone()) {
            self.count_name()?;
        }
        if first && self.known.contains_key(&id) {
            self.dirty.insert(id);
        } else {
            self.ask(id);
        }
        Ok(())
    }

    fn unwant(&mut self, kind: TypeIndex, name: String) {
        let Some(interest) = self.interests.get_mut(&kind) else { return };
        if name == WILDCARD {
            if interest.wildcard {
                interest.wildcard = false;
                self.unlisted.remove(&kind);
                self.forget_uncovered(kind);
            }
            return;
        }
        let id = id(kind, name);
        if interest.names.remove(&id.name) {
            self.names -= 1;
            if interest.wildcard {
                // The client cannot know whether it may drop it.
                self.ask(id);
            } else {
                self.drop_silently(&id);
            }
        }
    }

    /// Sees to it that the client hears of this one, whatever it holds.
    fn ask(&mut self, id: ResourceId) {
        self.forget(&id);
        self.asked.insert(id.clone());
        self.dirty.insert(id);
    }

    fn forget_uncovered(&mut self, kind: TypeIndex) {
        let of_type = self.known.range(ResourceId::first(kind)..).map(|(id, _)| id);
        let of_type = of_type.take_while(|id| id.kind == kind);
        let uncovered: Vec<_> = of_type.filter(|id| !self.visible(id)).cloned().collect();
        for id in &uncovered {
            self.drop_silently(id);
        }
    }

    /// Forgets what the client drops of itself.
    fn drop_silently(&mut self, id: &ResourceId) {
        self.forget(id);
        self.oversize.remove(id);
        self.asked.remove(id);
    }

    fn count_name(&mut self) -> Result<(), Violation> {
        self.names += 1;
        if self.names > self.limits.names { Err(Violation::TooManyNames) } else { Ok(()) }
    }
}
