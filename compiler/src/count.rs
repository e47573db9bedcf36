//! How many routes are attached to each listener of each Gateway.

use std::collections::{BTreeMap, BTreeSet};

use isthmus_gateway::http_route::HttpRouteOutput;
use isthmus_ir::ObjectRef;

/// Counts by Gateway and section; those that are zero are not in it.
#[derive(Debug, Default)]
pub(crate) struct Attached(BTreeMap<ObjectRef, BTreeMap<String, u32>>);

impl Attached {
    /// Counts of one Gateway.
    pub(crate) fn of(&self, gateway: &ObjectRef) -> BTreeMap<String, u32> {
        self.0.get(gateway).cloned().unwrap_or_default()
    }

    /// Counts one route anew; answers with the Gateways whose counts are different.
    pub(crate) fn replace(
        &mut self,
        old: Option<&HttpRouteOutput>,
        new: Option<&HttpRouteOutput>,
    ) -> BTreeSet<ObjectRef> {
        let (old, new) = (sections(old), sections(new));
        for (gateway, section) in new.difference(&old) {
            let counts = self.0.entry((*gateway).clone()).or_default();
            *counts.entry((*section).to_owned()).or_insert(0) += 1;
        }
        for (gateway, section) in old.difference(&new) {
            self.decrement(gateway, section);
        }
        old.symmetric_difference(&new).map(|(gateway, _)| (*gateway).clone()).collect()
    }

    fn decrement(&mut self, gateway: &ObjectRef, section: &str) {
        let Some(counts) = self.0.get_mut(gateway) else { return };
        if let Some(count) = counts.get_mut(section) {
            *count -= 1;
            if *count == 0 {
                counts.remove(section);
            }
        }
        if counts.is_empty() {
            self.0.remove(gateway);
        }
    }

    /// How many Gateways have routes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A route counts once for each listener, however many of its parentRefs lead there.
fn sections(output: Option<&HttpRouteOutput>) -> BTreeSet<(&ObjectRef, &str)> {
    let parents = output.into_iter().flat_map(|output| &output.parents);
    parents.flat_map(|p| p.attached.iter().map(move |section| (&p.gateway, section.as_str()))).collect()
}
