//! What a refresh gathers on its way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_east_west::dns::Table;
use isthmus_ir::{Name, ObjectRef};

use crate::{ExportChange, ImportChange};

/// What a refresh gathers on its way, beside the stages.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Gateways that may have reached a milestone, and whether their listeners changed.
    pub(crate) gateways: BTreeMap<ObjectRef, bool>,
    /// The same of routes, and whether their rules changed.
    pub(crate) routes: BTreeMap<ObjectRef, bool>,
    /// Scopes that a route is no longer in.
    pub(crate) left: BTreeSet<(Name, ObjectRef)>,
    pub(crate) exports: Vec<ExportChange>,
    pub(crate) imports: Vec<ImportChange>,
    pub(crate) names: Option<Arc<Table>>,
    pub(crate) refused: Vec<String>,
}

impl Moved {
    pub(crate) fn route(&mut self, route: ObjectRef, changed: bool) {
        *self.routes.entry(route).or_insert(false) |= changed;
    }

    /// Notes what of `new` was not in `old`.
    pub(super) fn refuse<T: PartialEq + ToString>(
        &mut self,
        old: Option<&Vec<T>>,
        new: Option<&Vec<T>>,
    ) {
        let fresh = |refusal: &&T| !old.is_some_and(|old| old.contains(refusal));
        self.refused.extend(new.into_iter().flatten().filter(fresh).map(ToString::to_string));
    }
}
