//! What is to be looked at, and from when on.
//!
//! First come, first served: an object that changes all the time must not keep others waiting.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_world::ObjectKey;
use tokio::time::Instant;

/// Objects, each at most once.
#[derive(Default)]
pub(super) struct Agenda {
    in_order: BTreeSet<(Instant, ObjectKey)>,
    at: BTreeMap<ObjectKey, Instant>,
}

impl Agenda {
    /// Puts it down for this time. What is down for an earlier one stays as it is.
    pub(super) fn add(&mut self, at: Instant, key: ObjectKey) {
        if let Some(before) = self.at.get(&key).copied() {
            if before <= at {
                return;
            }
            self.remove(&key);
        }
        self.at.insert(key.clone(), at);
        self.in_order.insert((at, key));
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        if let Some(at) = self.at.remove(key) {
            self.in_order.remove(&(at, key.clone()));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// Takes the first that is due, but for those that are `busy`.
    pub(super) fn take(&mut self, now: Instant, busy: &BTreeSet<ObjectKey>) -> Option<ObjectKey> {
        let due = self.in_order.iter().take_while(|(at, _)| *at <= now);
        let key = due.map(|(_, key)| key).find(|key| !busy.contains(*key))?.clone();
        self.remove(&key);
        Some(key)
    }

    /// When the next one is due, but for those that are `busy`.
    pub(super) fn next(&self, busy: &BTreeSet<ObjectKey>) -> Option<Instant> {
        self.in_order.iter().find(|(_, key)| !busy.contains(key)).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use isthmus_world::{Kind, ObjectKey};
    use tokio::time::Instant;

    use super::Agenda;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::HttpRoute, "default", name)
    }

    #[test]
    fn who_came_first_is_first_and_who_comes_again_keeps_its_place() {
        let (mut agenda, start, nobody) = (Agenda::default(), Instant::now(), BTreeSet::new());
        let at = |ms| start + Duration::from_millis(ms);
        agenda.add(at(20), key("z"));
        agenda.add(at(30), key("a"));
        agenda.add(at(40), key("z"));
        assert_eq!(agenda.take(at(10), &nobody), None);
        assert_eq!(agenda.next(&nobody), Some(at(20)));
        assert_eq!(agenda.take(at(50), &nobody), Some(key("z")));
        assert_eq!(agenda.take(at(50), &nobody), Some(key("a")));
        assert_eq!(agenda.take(at(50), &nobody), None);
    }

    #[test]
    fn who_has_no_time_waits_and_keeps_nobody_else_waiting() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let busy = BTreeSet::from([key("a")]);
        agenda.add(now, key("a"));
        assert_eq!((agenda.take(now, &busy), agenda.next(&busy)), (None, None));
        agenda.add(now, key("b"));
        assert_eq!(agenda.take(now, &busy), Some(key("b")));
        assert_eq!(agenda.take(now, &BTreeSet::new()), Some(key("a")));
    }

    #[test]
    fn an_earlier_time_counts_and_what_is_removed_is_not_there() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.add(now + Duration::from_mins(1), key("a"));
        agenda.add(now, key("a"));
        agenda.add(now, key("b"));
        agenda.remove(&key("b"));
        assert_eq!(agenda.take(now, &BTreeSet::new()), Some(key("a")));
        assert_eq!(agenda.next(&BTreeSet::new()), None);
    }
}
