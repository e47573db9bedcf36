//! What a refresh answers with, and its second half: scopes, milestones, statuses.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::{dns::Table, import::Import};
use isthmus_ir::{Name, ObjectRef};
use isthmus_world::{
    Kind, Touched,
    engine::{Edit, Stage, Unit},
    fact::ExportedService,
};
use serde_json::Value;

use crate::{
    Compiler,
    milestone::{Subject, concerned},
    pipeline::{Moved, serving},
    scope::{ScopeEdits, gateway_of, gateway_scope},
    status::{
        ClassStatusesContext, ExportStatusesContext, GatewayStatusesContext, RouteStatusesContext,
    },
};

/// What became different since the refresh before.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Refresh {
    /// The number of this refresh; the same as before when no scope's resources changed. Proxies ack it
    /// (`ProxyReport::revision`).
    pub revision: u64,
    /// Edits of each scope that is new or has some, in order of kind and name. A scope is what one fleet
    /// of proxies is told: `gateway/<namespace>/<name>`, or `east-west`.
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
    /// What names of `clusterset.local` are answered from, when it is different.
    pub names: Option<Arc<Table>>,
    /// What peers and EndpointSlices say that is left out, each with the reason, and was not before.
    pub refused: Vec<String>,
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
    pub status: Option<Value>,
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

/// A translation that failed: an error of ours, which its object's status tells too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The unit, such as `route`.
    pub unit: &'static str,
    /// The cell.
    pub key: String,
    /// What it said.
    pub message: Arc<str>,
}

/// Statuses of one kind.
pub(crate) fn statuses<U>(kind: Kind, stage: &Stage<U>) -> impl Iterator<Item = StatusChange>
where
    U: Unit<Key = ObjectRef, Output = Option<Value>>,
{
    stage.outputs().filter_map(move |(object, status)| {
        let status = Some(status.as_ref().clone()?);
        Some(StatusChange { kind, object: object.clone(), status })
    })
}

impl Compiler {
    /// Marks what may follow from something that was touched.
    pub(crate) fn mark(&mut self, touched: &Touched, moved: &mut Moved) {
        self.stages.mark(&self.world, &self.demand, touched);
        match touched {
            Touched::Proxies(scope) => self.mark_concerned(scope),
            Touched::Object { key, .. } if key.kind == Kind::HttpRoute => {
                moved.route(key.object.clone(), false);
            }
            Touched::Object { key, .. } if key.kind == Kind::Gateway => {
                moved.gateways.entry(key.object.clone()).or_insert(false);
            }
            _ => {}
        }
    }

    fn mark_concerned(&mut self, scope: &Name) {
        let new = self.world.reports(scope);
        let subjects = concerned(&self.milestones, scope, self.heard.get(scope), new);
        match new {
            Some(new) => self.heard.insert(scope.clone(), new.clone()),
            None => self.heard.remove(scope),
        };
        for subject in subjects {
            match subject {
                Subject::Route(route) => self.stages.route_statuses.mark(route),
                Subject::Gateway => {
                    if let Some(gateway) = gateway_of(scope) {
                        self.stages.gateway_statuses.mark(gateway);
                    }
                }
            }
        }
    }

    /// From roots of scopes to an answer.
    pub(crate) fn publish(&mut self, moved: Moved) -> Refresh {
        let ScopeEdits { changes, opened, closed } = self.scopes.take_edits(self.revision + 1);
        if !(changes.is_empty() && opened.is_empty() && closed.is_empty()) {
            self.revision += 1;
        }
        for scope in &closed {
            self.milestones.leave_all(scope);
        }
        self.reach_milestones(&moved);
        Refresh {
            revision: self.revision,
            scopes: changes,
            opened,
            closed,
            statuses: self.derive_statuses(),
            exports: moved.exports,
            imports: moved.imports,
            names: moved.names,
            refused: moved.refused,
        }
    }

    fn reach_milestones(&mut self, moved: &Moved) {
        for (scope, route) in &moved.left {
            self.milestones.leave(scope, Subject::Route(route.clone()));
        }
        for (gateway, changed) in &moved.gateways {
            let scope = gateway_scope(gateway);
            let fact = self.world.gateway(gateway);
            match fact.zip(self.scopes.revision(&scope)) {
                Some((fact, revision)) => {
                    let generation = fact.meta.generation;
                    self.milestones.reach(&scope, Subject::Gateway, generation, *changed, revision);
                }
                None => self.milestones.leave(&scope, Subject::Gateway),
            }
            self.stages.gateway_statuses.mark(gateway.clone());
        }
        for (route, changed) in &moved.routes {
            self.reach_route_milestones(route, *changed);
            self.stages.route_statuses.mark(route.clone());
        }
    }

    fn reach_route_milestones(&mut self, route: &ObjectRef, changed: bool) {
        let output = self.stages.routes.output(route);
        let Some(fact) = self.world.http_route(route) else { return };
        for scope in serving(output.map(AsRef::as_ref)) {
            if let Some(revision) = self.scopes.revision(&scope) {
                let (subject, generation) = (Subject::Route(route.clone()), fact.meta.generation);
                self.milestones.reach(&scope, subject, generation, changed, revision);
            }
        }
    }

    fn derive_statuses(&mut self) -> Vec<StatusChange> {
        let (world, stages) = (&self.world, &mut self.stages);
        let mut changes = Vec::new();
        let context = ClassStatusesContext { world, classes: &stages.classes };
        report(&mut changes, Kind::GatewayClass, stages.class_statuses.refresh(&context));
        let context = GatewayStatusesContext {
            world,
            classes: &stages.classes,
            gateways: &stages.gateways,
            attached: &self.attached,
            milestones: &self.milestones,
        };
        report(&mut changes, Kind::Gateway, stages.gateway_statuses.refresh(&context));
        let context = RouteStatusesContext {
            world,
            gateways: &stages.gateways,
            attachments: &stages.attachments,
            routes: &stages.routes,
            milestones: &self.milestones,
        };
        report(&mut changes, Kind::HttpRoute, stages.route_statuses.refresh(&context));
        let context =
            ExportStatusesContext { world, exports: &stages.exports, imports: &stages.imports };
        report(&mut changes, Kind::ServiceExport, stages.export_statuses.refresh(&context));
        changes
    }

    /// Every fault of a translation, in order of unit.
    pub fn faults(&self) -> Vec<Fault> {
        let stages = &self.stages;
        let mut found = Vec::new();
        faults(&mut found, "class", &stages.classes);
        faults(&mut found, "trust", &stages.trust);
        faults(&mut found, "east-west", &stages.east_west);
        faults(&mut found, "certificate", &stages.certificates);
        faults(&mut found, "port", &stages.ports);
        faults(&mut found, "gateway", &stages.gateways);
        faults(&mut found, "attachment", &stages.attachments);
        faults(&mut found, "backend", &stages.backends);
        faults(&mut found, "export", &stages.exports);
        faults(&mut found, "import", &stages.imports);
        faults(&mut found, "name", &stages.names);
        faults(&mut found, "route", &stages.routes);
        faults(&mut found, "span", &stages.spans);
        faults(&mut found, "class status", &stages.class_statuses);
        faults(&mut found, "gateway status", &stages.gateway_statuses);
        faults(&mut found, "route status", &stages.route_statuses);
        faults(&mut found, "export status", &stages.export_statuses);
        found
    }
}

fn faults<U: Unit>(found: &mut Vec<Fault>, unit: &'static str, stage: &Stage<U>) {
    let fault = |(key, message): (&U::Key, &Arc<str>)| Fault {
        unit,
        key: format!("{key:?}"),
        message: Arc::clone(message),
    };
    found.extend(stage.faults().map(fault));
}

fn report<U>(changes: &mut Vec<StatusChange>, kind: Kind, edits: Vec<Edit<U>>)
where
    U: Unit<Key = ObjectRef, Output = Option<Value>>,
{
    for Edit { key, old, new } in edits {
        let status = new.as_deref().cloned().flatten();
        if old.as_deref().cloned().flatten() != status {
            changes.push(StatusChange { kind, object: key, status });
        }
    }
}
