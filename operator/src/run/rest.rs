//! What could not be written, and when it is tried again: each object for itself, later after each failure.
//!
//! What is known of a failure is its object and the API server's code. The text may be another one each
//! time; the first one stands, so that a status which tells it is at rest (invariant 10).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::{
    apply::Failure,
    object::ObjectKey,
    plan::{Action, Step},
};

/// How long an object rests: after the first failure, and at most.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// The objects that rest.
#[derive(Default)]
pub(super) struct Resting(BTreeMap<ObjectKey, Rest>);

struct Rest {
    /// What was tried of it. Anything else is tried at once.
    wishes: Vec<Value>,
    failure: Failure,
    until: Instant,
    wait: Duration,
}

impl Resting {
    /// The steps that are to be done now, without those of objects that rest and what comes after them in
    /// their unit. What nobody wants any more is forgotten; whether there was such a thing, which a status
    /// that was planned before still tells.
    pub(super) fn without(&mut self, steps: Vec<Step>, now: Instant) -> (Vec<Step>, bool) {
        let wanted: BTreeSet<ObjectKey> = steps.iter().map(|step| step.action.key().clone()).collect();
        let before = self.0.len();
        self.0.retain(|key, _| wanted.contains(key));
        let forgot = self.0.len() < before;
        let mut units: BTreeSet<ObjectKey> = BTreeSet::new();
        let mut rests = |step: &Step| {
            let unit = step.unit.as_ref();
            let rest = self.0.get(step.action.key());
            let rests = unit.is_some_and(|unit| units.contains(unit))
                || rest
                    .is_some_and(|rest| now < rest.until && rest.wishes.contains(&wish(&step.action)));
            units.extend(unit.filter(|_| rests).cloned());
            rests
        };
        (steps.into_iter().filter(|step| !rests(step)).collect(), forgot)
    }

    /// Takes note of what came of these steps. Whether there is anything new to tell.
    pub(super) fn note(
        &mut self,
        tried: &[Step],
        mut failures: BTreeMap<ObjectKey, Failure>,
        now: Instant,
    ) -> bool {
        let before = self.told();
        let mut wishes: BTreeMap<&ObjectKey, Vec<Value>> = BTreeMap::new();
        for step in tried {
            wishes.entry(step.action.key()).or_default().push(wish(&step.action));
        }
        for (key, wishes) in wishes {
            match failures.remove(key) {
                Some(failure) => self.fail(key, wishes, failure, now),
                None => drop(self.0.remove(key)),
            }
        }
        self.told() != before
    }

    fn fail(&mut self, key: &ObjectKey, wishes: Vec<Value>, failure: Failure, now: Instant) {
        let same = self.0.remove(key).filter(|rest| rest.failure.code == failure.code);
        let wait = same.as_ref().map_or(WAIT.0, |rest| (rest.wait * 2).min(WAIT.1));
        let failure = same.map_or(failure, |rest| rest.failure);
        self.0.insert(key.clone(), Rest { wishes, failure, until: now + wait, wait });
    }

    fn told(&self) -> Vec<(ObjectKey, u16)> {
        self.0.iter().map(|(key, rest)| (key.clone(), rest.failure.code)).collect()
    }

    /// What could not be written, and why.
    pub(super) fn failures(&self) -> BTreeMap<ObjectKey, Failure> {
        self.0.iter().map(|(key, rest)| (key.clone(), rest.failure.clone())).collect()
    }

    /// When the next one is to be tried again. One that was to be by now waits for another of its unit.
    pub(super) fn ends(&self, now: Instant) -> Option<Instant> {
        let ends = self.0.values().map(|rest| rest.until);
        ends.map(|until| if until <= now { now + WAIT.0 } else { until }).min()
    }
}

/// What a step would make of its object, whatever the object is now.
pub(super) fn wish(action: &Action) -> Value {
    let (Action::Create(manifest) | Action::Change(manifest, _) | Action::Status(manifest)) = action
    else {
        return Value::Null;
    };
    let mut value = manifest.value.clone();
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("resourceVersion");
        meta.remove("uid");
    }
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tokio::time::Instant;

    use super::{Resting, WAIT};
    use crate::{
        apply::Failure,
        object::{self, Manifest, ObjectKey},
        plan::{Action, Step},
    };

    fn step(name: &str, unit: Option<&str>, version: &str, image: &str) -> Step {
        let meta = json!({ "name": name, "namespace": "shop", "resourceVersion": version });
        let manifest = Manifest::bare(object::DEPLOYMENT, &json!({ "metadata": meta, "image": image }));
        let unit = unit.map(|name| ObjectKey::new(object::GATEWAY, "shop", name));
        Step { unit, action: Action::Change(manifest, Vec::new()) }
    }

    fn failed(steps: &[&Step], message: &str, code: u16) -> BTreeMap<ObjectKey, Failure> {
        let failure = Failure { unit: None, code, message: message.to_owned() };
        steps.iter().map(|step| (step.action.key().clone(), failure.clone())).collect()
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.action.key().name.as_str()).collect()
    }

    #[test]
    fn what_fails_rests_longer_each_time_and_is_told_once() {
        let (mut resting, mut now) = (Resting::default(), Instant::now());
        let tried = [step("a", None, "1", "i")];
        assert!(resting.note(&tried, failed(&[&tried[0]], "at 10:00", 500), now));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let ends = resting.ends(now).unwrap();
            waits.push(ends - now);
            assert!(resting.without(tried.to_vec(), now).0.is_empty());
            // That the object has another version by now is no reason.
            assert!(resting.without(vec![step("a", None, "2", "i")], now).0.is_empty());
            now = ends;
            assert_eq!(names(&resting.without(tried.to_vec(), now).0), ["a"]);
            assert!(!resting.note(&tried, failed(&[&tried[0]], "at another time", 500), now));
        }
        assert_eq!((waits[0], waits[1], waits[7]), (WAIT.0, WAIT.0 * 2, WAIT.1));
        assert_eq!(resting.failures().values().next().unwrap().message, "at 10:00");
        // Another answer is news, and so is none.
        assert!(resting.note(&tried, failed(&[&tried[0]], "no", 403), now));
        assert!(resting.note(&tried, BTreeMap::new(), now));
        assert_eq!(resting.ends(now), None);
    }

    #[test]
    fn only_what_fails_rests_with_what_depends_on_it() {
        let (mut resting, now) = (Resting::default(), Instant::now());
        let all = [
            step("before", Some("web"), "1", "i"),
            step("a", Some("web"), "1", "i"),
            step("after", Some("web"), "1", "i"),
            step("other", Some("api"), "1", "i"),
        ];
        resting.note(&all[..2], failed(&[&all[1]], "no", 403), now);
        assert_eq!(names(&resting.without(all.to_vec(), now).0), ["before", "other"]);
        let mut changed = all.to_vec();
        changed[1] = step("a", Some("web"), "1", "another");
        let (steps, forgot) = resting.without(changed, now);
        assert_eq!((steps.len(), forgot), (4, false), "somebody changed what is wanted");
        // And when nobody wants it any more, it is told no longer.
        assert!(resting.without(vec![all[3].clone()], now).1);
        assert!(resting.failures().is_empty());
        assert!(!resting.without(vec![all[3].clone()], now).1, "once");
    }

    #[test]
    fn what_waits_for_another_of_its_unit_is_looked_at_now_and_then() {
        let (mut resting, now) = (Resting::default(), Instant::now());
        let all = [step("a", Some("web"), "1", "i"), step("b", Some("web"), "1", "i")];
        resting.note(&all[1..], failed(&[&all[1]], "no", 403), now);
        let later = now + WAIT.0;
        resting.note(&all[..1], failed(&[&all[0]], "no", 403), later);
        assert!(resting.without(all.to_vec(), later).0.is_empty());
        assert_eq!(resting.ends(later), Some(later + WAIT.0));
    }
}
