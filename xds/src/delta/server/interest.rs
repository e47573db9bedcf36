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

    /// Wants more, and less; names that were given up.
    fn change(&mut self, wanted: &[Name], unwanted: Vec<String>) -> Vec<Name> {
        let all = |name: &Name| name.as_str() == WILDCARD;
        let unwanted: Vec<Name> = unwanted.into_iter().map(Name::from).collect();
        self.wildcard &= !unwanted.iter().any(all);
        self.wildcard |= wanted.iter().any(all);
        let mut given_up: Vec<Name> =
            unwanted.into_iter().filter(|name| self.names.remove(name)).collect();
        self.names.extend(wanted.iter().filter(|name| !all(name)).cloned());
        given_up.retain(|name| !self.names.contains(name));
        given_up
    }
}

impl Subscriber {
    pub(super) fn subscribe(
        &mut self,
        kind: TypeIndex,
        request: message::Request,
    ) -> Result<(), Violation> {
        let first = !self.interests.contains_key(&kind);
        if first {
            self.hold(kind, request.initial_resource_versions)?;
        }
        let mut wanted: Vec<_> = request.resource_names_subscribe.into_iter().map(Name::from).collect();
        if first && wanted.is_empty() {
            wanted.push(WILDCARD.into());
        }
        let interest = self.interests.entry(kind).or_default();
        let (had_all, names) = (interest.wildcard, interest.names.len());
        let given_up = interest.change(&wanted, request.resource_names_unsubscribe);
        let (all, names_now) = (interest.wildcard, interest.names.len());
        self.names -= names;
        self.count_names(names_now)?;
        self.give_up(kind, given_up, had_all && !all);
        if all && !had_all {
            self.unlisted.insert(kind);
        }
        self.want(kind, wanted, first);
        Ok(())
    }

    /// Takes down what the client says that it holds. A version that is none of ours differs from all.
    fn hold(
        &mut self,
        kind: TypeIndex,
        versions: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), Violation> {
        for (name, version) in versions {
            self.count_names(1)?;
            let id = id(kind, name);
            self.learn(&id, version.parse().unwrap_or(Version::UNKNOWN));
            self.dirty.insert(id);
        }
        Ok(())
    }

    /// Answers for each name, but for what the client has said in its first request that it holds.
    fn want(&mut self, kind: TypeIndex, names: Vec<Name>, first: bool) {
        for name in names.into_iter().filter(|name| name.as_str() != WILDCARD) {
            let id = ResourceId { kind, name };
            if first && self.known.contains_key(&id) {
                self.dirty.insert(id);
            } else {
                self.ask(id);
            }
        }
    }

    /// Forgets what the client drops of itself. Whether it may drop a name that `*` covers it cannot know.
    fn give_up(&mut self, kind: TypeIndex, names: Vec<Name>, all: bool) {
        for name in names {
            let id = ResourceId { kind, name };
            if self.visible(&id) {
                self.ask(id);
            } else {
                self.drop_silently(&id);
            }
        }
        if all {
            self.unlisted.remove(&kind);
            self.forget_uncovered(kind);
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

    fn count_names(&mut self, more: usize) -> Result<(), Violation> {
        self.names += more;
        if self.names > self.limits.names { Err(Violation::TooManyNames) } else { Ok(()) }
    }
}
