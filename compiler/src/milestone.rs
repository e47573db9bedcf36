//! Since which refresh each Gateway and each route is in a scope as it is now: what proxies have to ack
//! before it is programmed.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_gateway::status::Progress;
use isthmus_ir::{Key, Name, ObjectRef};
use isthmus_world::{Reports, fact::ProxyReport};

/// Something of the user's that a scope serves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Subject {
    /// The scope's Gateway.
    Gateway,
    /// An HTTPRoute.
    Route(ObjectRef),
}

/// All milestones.
#[derive(Debug, Default)]
pub(crate) struct Milestones {
    of: BTreeMap<(Name, Subject), Milestone>,
    by_revision: BTreeSet<(Name, u64, Subject)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Milestone {
    generation: i64,
    revision: u64,
}

impl Milestones {
    /// Notes that `subject`, at `generation`, is in `scope` since `revision`. One that is there at this
    /// generation keeps its milestone, unless its resources `changed`.
    pub(crate) fn reach(
        &mut self,
        scope: &Name,
        subject: Subject,
        generation: i64,
        changed: bool,
        revision: u64,
    ) {
        let at = (scope.clone(), subject);
        let old = self.of.get(&at).copied();
        if old.is_some_and(|old| old.generation == generation && !changed) {
            return;
        }
        if let Some(old) = old {
            self.by_revision.remove(&(at.0.clone(), old.revision, at.1.clone()));
        }
        self.by_revision.insert((at.0.clone(), revision, at.1.clone()));
        self.of.insert(at, Milestone { generation, revision });
    }

    /// Notes that `subject` is no longer in `scope`.
    pub(crate) fn leave(&mut self, scope: &Name, subject: Subject) {
        let at = (scope.clone(), subject);
        if let Some(old) = self.of.remove(&at) {
            self.by_revision.remove(&(at.0, old.revision, at.1));
        }
    }

    /// Notes that `scope` is no longer open.
    pub(crate) fn leave_all(&mut self, scope: &Name) {
        let first = (scope.clone(), Subject::Gateway);
        let subjects = self.of.range(first..).take_while(|((name, _), _)| name == scope);
        let subjects: Vec<Subject> = subjects.map(|((_, subject), _)| subject.clone()).collect();
        for subject in subjects {
            self.leave(scope, subject);
        }
    }

    /// What the proxies of `scope` have to ack for `subject`.
    pub(crate) fn revision(&self, scope: &Name, subject: Subject) -> Option<u64> {
        self.of.get(&(scope.clone(), subject)).map(|milestone| milestone.revision)
    }

    /// Subjects of `scope` whose milestone is after `after` and not after `until`.
    pub(crate) fn between(
        &self,
        scope: &Name,
        after: u64,
        until: u64,
    ) -> impl Iterator<Item = &Subject> {
        let first = (scope.clone(), after.saturating_add(1), Subject::Gateway);
        let scope = scope.clone();
        self.by_revision
            .range(first..)
            .take_while(move |(name, revision, _)| *name == scope && *revision <= until)
            .map(|(_, _, subject)| subject)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.of.len() + self.by_revision.len()
    }
}

/// Subjects of `scope` whose progress may be another one now that `new` is reported instead of `old`.
pub(crate) fn concerned(
    milestones: &Milestones,
    scope: &Name,
    old: Option<&Reports>,
    new: Option<&Reports>,
) -> BTreeSet<Subject> {
    let none = Reports::new();
    let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
    let mut span: Option<(u64, u64)> = None;
    let rest = |report: &ProxyReport| ProxyReport { revision: 0, ..report.clone() };
    let everybody =
        !old.keys().eq(new.keys()) || old.values().zip(new.values()).any(|(a, b)| rest(a) != rest(b));
    for (a, b) in old.values().zip(new.values()).filter(|(a, b)| a.revision != b.revision) {
        let (low, high) = (a.revision.min(b.revision), a.revision.max(b.revision));
        span = Some(span.map_or((low, high), |(l, h)| (l.min(low), h.max(high))));
    }
    let (after, until) = if everybody { (0, u64::MAX) } else { span.unwrap_or((0, 0)) };
    milestones.between(scope, after, until).cloned().collect()
}

/// How far proxies that say `reports` have come with something that is in their scope since `revision`
/// and consists of the resources that `owns` knows. `listeners` is what names of the Gateway's listeners
/// begin with. A proxy that joins is behind when nobody has come so far.
pub(crate) fn progress(
    reports: Option<&Reports>,
    revision: u64,
    owns: impl Fn(&Key) -> bool,
    listeners: Option<&str>,
) -> Progress {
    let mut progress = Progress::default();
    let mut joining = Vec::new();
    for (proxy, report) in reports.into_iter().flatten() {
        let list = if report.revision >= revision {
            &mut progress.acked
        } else if report.joining {
            &mut joining
        } else {
            &mut progress.behind
        };
        list.push(proxy.to_string());
        let refused = report.refused.iter().find(|(key, _)| owns(key));
        progress.refused.extend(refused.map(|(_, why)| (proxy.to_string(), why.clone())));
        for (listener, why) in &report.unbound {
            let section = listeners.and_then(|prefix| listener.as_str().strip_prefix(prefix));
            progress.unbound.extend(section.map(|section| (section.to_owned(), why.clone())));
        }
    }
    if progress.acked.is_empty() {
        progress.behind.extend(joining);
        progress.behind.sort();
    }
    progress
}
