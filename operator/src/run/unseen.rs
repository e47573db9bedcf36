//! What was written and is not told of by a watch yet.
//!
//! What was written counts as there. A watch that lists anew tells nothing of an object which came and went
//! in between (case F8): it would be taken to be there for ever. So it is asked for, when no watch has told
//! of it for a while.

use std::{collections::BTreeMap, time::Duration};

use kube::core::DynamicObject;
use tokio::time::Instant;

use crate::object::ObjectKey;

/// How long watches have to tell: at first, and at most, when it was asked for and is there.
const WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// The objects that no watch has told of.
#[derive(Default)]
pub(super) struct Unseen(BTreeMap<ObjectKey, Written>);

struct Written {
    version: Option<u64>,
    due: Instant,
    wait: Duration,
}

impl Unseen {
    /// An object was written, or asked for, and is this.
    pub(super) fn wrote(&mut self, key: &ObjectKey, object: &DynamicObject, now: Instant) {
        let before = self.0.get(key).filter(|written| written.due <= now);
        let wait = before.map_or(WAIT.0, |written| (written.wait * 2).min(WAIT.1));
        let written = Written { version: version(object), due: now + wait, wait };
        self.0.insert(key.clone(), written);
    }

    /// A watch told of an object, or that there is none of that name.
    pub(super) fn saw(&mut self, key: &ObjectKey, object: Option<&DynamicObject>) {
        let older = |written: &Written| object.is_some_and(|object| version(object) < written.version);
        if self.0.get(key).is_some_and(|written| !older(written)) {
            self.0.remove(key);
        }
    }

    /// It could not be asked for.
    pub(super) fn later(&mut self, key: &ObjectKey, now: Instant) {
        if let Some(written) = self.0.get_mut(key) {
            written.due = now + written.wait;
        }
    }

    /// It is not there.
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// When one is to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|written| written.due).min()
    }

    /// Those that are to be asked for now.
    pub(super) fn overdue(&self, now: Instant) -> Vec<ObjectKey> {
        let due = self.0.iter().filter(|(_, written)| written.due <= now);
        due.map(|(key, _)| key.clone()).collect()
    }
}

/// The version, which grows with each write.
pub(super) fn version(object: &DynamicObject) -> Option<u64> {
    object.metadata.resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use kube::core::DynamicObject;
    use serde_json::json;
    use tokio::time::Instant;

    use super::{Unseen, WAIT};
    use crate::object::{self, ObjectKey};

    fn object(version: &str) -> DynamicObject {
        let meta = json!({ "name": "web", "namespace": "shop", "resourceVersion": version });
        let value = json!({ "apiVersion": "v1", "kind": "Service", "metadata": meta });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn f8_what_no_watch_tells_of_is_asked_for() {
        let (mut unseen, now) = (Unseen::default(), Instant::now());
        let key = ObjectKey::new(object::SERVICE, "shop", "web");
        unseen.wrote(&key, &object("10"), now);
        // What a watch tells late is of before.
        unseen.saw(&key, Some(&object("9")));
        assert_eq!(unseen.due(), Some(now + WAIT.0));
        assert!(unseen.overdue(now).is_empty());
        let later = now + WAIT.0;
        assert_eq!(unseen.overdue(later), std::slice::from_ref(&key));
        // It is there, so it is asked for less often.
        unseen.wrote(&key, &object("10"), later);
        assert_eq!(unseen.due(), Some(later + WAIT.0 * 2));
        unseen.saw(&key, Some(&object("10")));
        assert_eq!(unseen.due(), None);
        unseen.wrote(&key, &object("11"), later);
        unseen.saw(&key, None);
        assert_eq!(unseen.due(), None);
    }
}
