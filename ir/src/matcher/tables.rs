//! The tables themselves, and how they follow edits of the resources that they are made of.

use std::sync::Arc;

use super::{
    bucket::Bucket,
    conditions::Refusal,
    decide::Group,
    group::{self, Attached, Bind, Members},
    hosts::Hosts,
    rule::Rule,
    shards::Shards,
};
use crate::{Attachment, Change, HostPattern, Kind, Listener, Name, Resource, Route};

/// Listeners and routes, compiled; immutable, cheap to copy, safe to share between threads.
///
/// `P` is what the caller makes of each rule. See the [module](super) for how they are used.
pub struct Tables<P> {
    /// In order of name.
    listeners: Vec<Arc<Attached<P>>>,
    /// In order of their binds.
    groups: Arc<Vec<Members>>,
    /// By name, whether or not they are attached to a listener that is there.
    rules: Shards<Arc<Rule<P>>>,
}

/// What an edit led to.
pub struct Updated<P> {
    /// The tables to serve by from now on.
    pub tables: Tables<P>,
    /// Rules that were refused, in the order of the edit. What stood before of them still stands.
    pub refused: Vec<Refused>,
}

/// A rule that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The name of the [`Route`].
    pub name: Name,
    /// Why.
    pub reason: Refusal,
}

impl<P> Clone for Tables<P> {
    fn clone(&self) -> Self {
        Self {
            listeners: self.listeners.clone(),
            groups: self.groups.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl<P> Default for Tables<P> {
    fn default() -> Self {
        Self { listeners: Vec::new(), groups: Arc::default(), rules: Shards::default() }
    }
}

impl<P> Tables<P> {
    /// The sockets to accept on, in order.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_, P>> {
        self.groups.iter().map(|members| Group::new(self, members))
    }

    /// The listeners of one socket.
    pub fn group(&self, bind: Bind) -> Option<Group<'_, P>> {
        let place = self.groups.binary_search_by_key(&bind, |members| members.bind).ok()?;
        self.groups.get(place).map(|members| Group::new(self, members))
    }

    /// The rule of this name and what the caller made of it.
    pub fn rule(&self, name: &Name) -> Option<(&Arc<Route>, &Arc<P>)> {
        self.rules.get(name.as_str().as_bytes()).map(|rule| (&rule.route, &rule.payload))
    }

    /// All rules, in no order.
    pub fn rules(&self) -> impl Iterator<Item = (&Arc<Route>, &Arc<P>)> {
        self.rules.values().map(|rule| (&rule.route, &rule.payload))
    }

    /// The tables after `changes`; resources other than listeners and routes are not looked at.
    ///
    /// `build` is called for each rule that is new or changed. A rule that it or the compiler refuses
    /// is reported, and its edit is as if it had not been made. All else is shared with `self`: the cost
    /// is that of the edit.
    pub fn update(
        &self,
        changes: &[Change],
        mut build: impl FnMut(&Arc<Route>) -> Result<P, String>,
    ) -> Updated<P> {
        let mut updated = Updated { tables: self.clone(), refused: Vec::new() };
        updated.tables.edit_listeners(changes);
        for change in changes {
            match change {
                Change::Upsert(Resource::Route(route)) => {
                    if let Err(reason) = updated.tables.upsert(route, &mut build) {
                        updated.refused.push(Refused { name: route.name.clone(), reason });
                    }
                }
                Change::Remove(key) if key.kind == Kind::Route => updated.tables.remove(&key.name),
                _ => {}
            }
        }
        updated
    }

    /// The tables with payloads of the named rules built anew, although the rules are as they were: for
    /// payloads made of more than the rule. One that is refused keeps the payload that it had.
    pub fn renew<'n>(
        &self,
        names: impl IntoIterator<Item = &'n Name>,
        mut build: impl FnMut(&Arc<Route>) -> Result<P, String>,
    ) -> Updated<P> {
        let mut updated = Updated { tables: self.clone(), refused: Vec::new() };
        for name in names {
            let Some(old) = self.rules.get(name.as_str().as_bytes()) else { continue };
            match build(&old.route) {
                Ok(payload) => updated.tables.put(Arc::new(old.renew(payload))),
                Err(why) => {
                    updated.refused.push(Refused { name: name.clone(), reason: Refusal::Payload(why) });
                }
            }
        }
        updated
    }

    /// All that is in them, for tests that compare.
    #[cfg(test)]
    pub(super) fn dump(&self) -> Vec<String> {
        let listener = |attached: &Arc<Attached<P>>| {
            let mut buckets: Vec<String> = attached.hosts.values().map(|bucket| bucket.dump()).collect();
            buckets.sort();
            format!("{:?} {buckets:?}", attached.listener)
        };
        self.listeners.iter().map(listener).collect()
    }

    pub(super) fn attached(&self, place: usize) -> Option<&Attached<P>> {
        self.listeners.get(place).map(|attached| &**attached)
    }

    fn edit_listeners(&mut self, changes: &[Change]) {
        let mut edited = false;
        for change in changes {
            edited |= match change {
                Change::Upsert(Resource::Listener(listener)) => self.put_listener(listener),
                Change::Remove(key) if key.kind == Kind::Listener => self.remove_listener(&key.name),
                _ => false,
            };
        }
        if edited {
            let listeners: Vec<_> = self.listeners.iter().map(|attached| &attached.listener).collect();
            self.groups = Arc::new(group::group(&listeners));
        }
    }

    /// Whether anything changed.
    fn put_listener(&mut self, listener: &Arc<Listener>) -> bool {
        let place = self.place(&listener.name);
        let there = place.ok().and_then(|place| self.listeners.get_mut(place));
        match (there, place) {
            (Some(there), _) if there.listener == *listener => return false,
            (Some(there), _) => Arc::make_mut(there).listener = listener.clone(),
            (None, Ok(place) | Err(place)) => {
                let mut new = Attached::new(listener);
                for rule in self.rules.values() {
                    for own in rule.route.attachments.iter().filter(|a| a.listener == listener.name) {
                        new.attach(rule, &own.hostnames);
                    }
                }
                self.listeners.insert(place, Arc::new(new));
            }
        }
        true
    }

    fn remove_listener(&mut self, name: &Name) -> bool {
        self.place(name).map(|place| self.listeners.remove(place)).is_ok()
    }

    fn upsert(
        &mut self,
        route: &Arc<Route>,
        build: impl FnOnce(&Arc<Route>) -> Result<P, String>,
    ) -> Result<(), Refusal> {
        let old = self.rules.get(route.name.as_str().as_bytes());
        if old.is_some_and(|old| old.route == *route) {
            return Ok(());
        }
        let rule = Rule::compile(route, build)?;
        self.put(Arc::new(rule));
        Ok(())
    }

    fn put(&mut self, rule: Arc<Rule<P>>) {
        self.remove(&rule.route.name);
        for Attachment { listener, hostnames } in &rule.route.attachments {
            if let Some(attached) = self.attached_mut(listener) {
                attached.attach(&rule, hostnames);
            }
        }
        let name = rule.route.name.clone();
        self.rules.get_or_insert(name.as_str().as_bytes(), || rule);
    }

    fn remove(&mut self, name: &Name) {
        let Some(old) = self.rules.remove(name.as_str().as_bytes()) else { return };
        for Attachment { listener, hostnames } in &old.route.attachments {
            if let Some(attached) = self.attached_mut(listener) {
                attached.detach(&old, hostnames);
            }
        }
    }

    fn attached_mut(&mut self, listener: &Name) -> Option<&mut Attached<P>> {
        let place = self.place(listener).ok()?;
        self.listeners.get_mut(place).map(Arc::make_mut)
    }

    fn place(&self, name: &Name) -> Result<usize, usize> {
        self.listeners.binary_search_by(|attached| attached.listener.name.cmp(name))
    }
}

impl<P> Attached<P> {
    fn new(listener: &Arc<Listener>) -> Self {
        Self { listener: listener.clone(), hosts: Hosts::default() }
    }

    fn attach(&mut self, rule: &Arc<Rule<P>>, hostnames: &[HostPattern]) {
        for pattern in hostnames {
            let bucket = self.hosts.get_or_insert(pattern, || Arc::new(Bucket::new(pattern.clone())));
            Arc::make_mut(bucket).insert(rule);
        }
    }

    fn detach(&mut self, rule: &Arc<Rule<P>>, hostnames: &[HostPattern]) {
        for pattern in hostnames {
            let Some(bucket) = self.hosts.get_mut(pattern) else { continue };
            let bucket = Arc::make_mut(bucket);
            bucket.remove(rule);
            if bucket.is_empty() {
                self.hosts.remove(pattern);
            }
        }
    }
}
