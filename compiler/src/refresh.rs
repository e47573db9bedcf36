//! What a refresh answers with.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::import::Import;
use isthmus_ir::{Name, ObjectRef};
use isthmus_world::{Kind, fact::ExportedService};

/// What became different since the refresh before.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Refresh {
    /// The number of this refresh; the same as before when no scope's resources changed. Proxies ack it
    /// (`ProxyReport::revision`).
    pub revision: u64,
    /// Edits of each scope that has some, in order of kind and name. A scope is what one fleet of proxies
    /// is told: `gateway/<namespace>/<name>`, or `east-west`.
    pub scopes: BTreeMap<Name, Vec<isthmus_ir::Change>>,
    /// Scopes that are new; they may have no resources.
    pub opened: Vec<Name>,
    /// Scopes that are gone, proxies and all.
    pub closed: Vec<Name>,
    /// Statuses that are different now.
    pub statuses: Vec<StatusChange>,
    /// Edits of what this cluster exports to its peers.
    pub exports: Vec<ExportChange>,
    /// Edits of the derived ServiceImport objects.
    pub imports: Vec<ImportChange>,
}

/// A status that is different now.
#[derive(Clone, PartialEq, Debug)]
pub struct StatusChange {
    /// The kind of the object.
    pub kind: Kind,
    /// The object; its namespace is empty for a cluster-scoped one.
    pub object: ObjectRef,
    /// All of `status` that is ours, as the specification spells it: for a route, the `parents` entries of
    /// our controller. Conditions come without `lastTransitionTime`, which whoever stores them fills in,
    /// as only that one knows when they changed. None when nothing of the status is ours any more.
    pub status: Option<serde_json::Value>,
}

/// An edit of what this cluster exports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExportChange {
    /// New or changed.
    Upsert(Arc<ExportedService>),
    /// No longer exported, by namespace and name of the service.
    Remove(ObjectRef),
}

/// An edit of the derived ServiceImport objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImportChange {
    /// New or changed.
    Upsert(Arc<Import>),
    /// No cluster exports the service any more.
    Remove(ObjectRef),
}
