//! The composition: from a [`World`] to what proxies are told, what peers are shown, and what users read
//! in the status of their objects.
//!
//! The control plane, `translate`, `explain`, `plan`, golden tests and simulation all go through
//! [`Compiler`]. It decides nothing itself: the units' translate functions are those of `gateway` and
//! `east-west`; here they are put in order, and kept up to date.

mod count;
mod demand;
mod milestone;
mod offline;
mod pipeline;
mod refresh;
mod scope;
mod stages;
mod status;
mod table;
mod unit;

pub use offline::{Refused, Translation, implied_class, translate_all};
pub use scope::gateway_of;

pub use refresh::{ExportChange, Fault, ImportChange, Refresh, StatusChange};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_east_west::{dns, handle::HandleKey, import::Import, trust::Trust};
use isthmus_gateway::{
    CONTROLLER,
    listener::{granted_secrets, secrets},
    reference::Grants,
};
use isthmus_ir::{Name, ObjectRef, Resource};
use isthmus_world::{
    Change, Kind, Reports, Touched, World,
    fact::{ExportedService, Gateway, MeshSettings},
};

use count::Attached;
use demand::Demand;
use milestone::Milestones;
use pipeline::Moved;
use scope::Scopes;
use stages::Stages;
use table::Table;

/// Keeps what follows from a World up to date.
///
/// Nothing is published while a kind is pending: [`Compiler::refresh`] answers with nothing then, and with
/// everything once the last one is known.
#[derive(Debug)]
pub struct Compiler {
    world: World,
    handles: Arc<HandleKey>,
    /// What changes touched since the last refresh.
    touched: BTreeSet<Touched>,
    stages: Stages,
    demand: Demand,
    attached: Attached,
    table: Table,
    scopes: Scopes,
    milestones: Milestones,
    /// What proxies said at the last refresh, by scope.
    heard: BTreeMap<Name, Reports>,
    revision: u64,
}

impl Compiler {
    /// A compiler that knows nothing but its cluster's settings, and what its handles are derived from.
    pub fn new(settings: MeshSettings, handles: HandleKey) -> Self {
        Self {
            world: World::new(settings),
            handles: Arc::new(handles),
            touched: BTreeSet::from([Touched::Settings]),
            stages: Stages::default(),
            demand: Demand::default(),
            attached: Attached::default(),
            table: Table::default(),
            scopes: Scopes::default(),
            milestones: Milestones::default(),
            heard: BTreeMap::new(),
            revision: 0,
        }
    }

    /// Takes a change in. Nothing follows from it before the next [`Compiler::refresh`].
    pub fn apply(&mut self, change: Change) {
        let Self { world, touched, .. } = self;
        world.apply(change, &mut |what| {
            touched.insert(what);
        });
    }

    /// Brings everything up to date and answers with what became different.
    pub fn refresh(&mut self) -> Refresh {
        if !self.world.complete() {
            return Refresh { revision: self.revision, ..Refresh::default() };
        }
        let mut moved = Moved::default();
        for touched in std::mem::take(&mut self.touched) {
            self.mark(&touched, &mut moved);
        }
        self.derive(&mut moved);
        self.publish(moved)
    }

    /// Looks at everything again, whatever was touched. The refresh that follows finds nothing different,
    /// unless a change was not marked as it should be.
    pub fn rescan(&mut self) {
        self.stages.mark_all();
        self.touched.insert(Touched::Settings);
        self.touched.insert(Touched::Roots);
        for key in Kind::ALL.into_iter().flat_map(|kind| self.world.keys(kind)) {
            self.touched.insert(Touched::Object { key, mentions: Vec::new() });
        }
        let exported = self.world.peer_exported().cloned().map(Touched::PeerExport);
        self.touched.extend(exported);
    }

    /// The Secrets that Gateways of ours refer to and are permitted to refer to; what is known of Gateways,
    /// classes and grants at this time counts, whether or not a kind is pending.
    pub fn wanted_secrets(&self) -> BTreeSet<ObjectRef> {
        self.world.gateways().flat_map(|gateway| self.secrets_wanted_by(gateway)).collect()
    }

    /// Those that `gateway`, which need not be known, would add to [`wanted_secrets`](Self::wanted_secrets).
    pub fn secrets_wanted_by(&self, gateway: &Gateway) -> BTreeSet<ObjectRef> {
        let class = self.world.gateway_class(&gateway.class);
        if class.is_none_or(|class| class.controller != CONTROLLER) {
            return BTreeSet::new();
        }
        let namespaces = secrets(gateway);
        let namespaces = namespaces.iter().map(|secret| secret.namespace.as_str());
        let grants = unit::grants(&self.world, &gateway.meta.namespace, namespaces);
        granted_secrets(gateway, Grants(&grants))
    }

    /// What is known.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The scopes that are open, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &Name> {
        self.scopes.names()
    }

    /// All that a scope is told now, in order of kind and name; none when there is no such scope.
    pub fn snapshot(&self, scope: &Name) -> Option<Vec<Resource>> {
        Some(self.scopes.resources(scope)?.cloned().collect())
    }

    /// The refresh in which a scope last changed; none when there is no such scope.
    pub fn scope_revision(&self, scope: &Name) -> Option<u64> {
        self.scopes.revision(scope)
    }

    /// Every resource, in order of kind and name, whether a scope holds it or not.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.table.resources()
    }

    /// What this cluster exports, in order.
    pub fn exports(&self) -> impl Iterator<Item = &Arc<ExportedService>> {
        self.stages.exports.outputs().filter_map(|(_, export)| export.exported.as_ref())
    }

    /// Every derived ServiceImport, in order. Some may not exist ([`Import::exists`]): then they say what
    /// of the peers' words was refused.
    pub fn imports(&self) -> impl Iterator<Item = &Arc<Import>> {
        self.stages.imports.outputs().map(|(_, output)| &output.import)
    }

    /// What names of `clusterset.local` are answered from.
    pub fn names(&self) -> Arc<dns::Table> {
        unit::table(self.stages.names.output(&()))
    }

    /// Ports of imports that have no name, as there are more than ports to give out.
    pub fn unnamed(&self) -> &[(ObjectRef, u16)] {
        self.stages.names.output(&()).map_or(&[], |names| names.left_out.as_slice())
    }

    /// Which peers are believed, and what of them is not; none before the first refresh.
    pub fn trust(&self) -> Option<&Trust> {
        self.stages.trust.output(&()).map(|output| &output.trust)
    }

    /// Every status, in order of kind and object.
    pub fn statuses(&self) -> impl Iterator<Item = StatusChange> {
        let stages = &self.stages;
        let classes = refresh::statuses(Kind::GatewayClass, &stages.class_statuses);
        let gateways = refresh::statuses(Kind::Gateway, &stages.gateway_statuses);
        let routes = refresh::statuses(Kind::HttpRoute, &stages.route_statuses);
        let exports = refresh::statuses(Kind::ServiceExport, &stages.export_statuses);
        classes.chain(gateways).chain(routes).chain(exports)
    }

    /// How many things are kept, indexes included; the same after everything was deleted as before
    /// anything was added.
    pub fn census(&self) -> usize {
        self.world.census()
            + self.stages.len()
            + self.demand.len()
            + self.attached.len()
            + self.table.len()
            + self.scopes.len()
            + self.milestones.len()
            + self.heard.len()
    }
}
