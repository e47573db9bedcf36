//! One refresh: stages in order, and what each edit marks in later ones.

mod moved;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_east_west::{export::Export, names::Names};
use isthmus_gateway::{
    backend::{BackendKey, BackendOutput},
    certificate::CertificateOutput,
    http_route::HttpRouteOutput,
    listener::GatewayOutput,
};
use isthmus_ir::{Key, Kind as IrKind, Name, ObjectRef, Resource};
use isthmus_world::{Kind, Mention, World, engine::Edit, fact::ServiceScope};

pub(crate) use moved::Moved;

use crate::{
    Compiler, ExportChange, ImportChange,
    scope::{east_west_scope, gateway_scope},
    unit::{
        BackendsContext, EastWestOutput, ExportsContext, Gateways, GatewaysContext, ImportOutput,
        ImportsContext, Routes, RoutesContext, SpansContext, TrustOutput, table,
    },
};

impl Compiler {
    /// Everything up to resources and roots of scopes.
    pub(crate) fn derive(&mut self, moved: &mut Moved) {
        self.derive_classes();
        self.derive_trust(moved);
        self.derive_east_west();
        self.derive_gateways(moved);
        self.derive_attachments();
        self.derive_backends(moved);
        self.derive_exports(moved);
        self.derive_imports(moved);
        self.derive_names(moved);
        self.derive_routes(moved);
        self.derive_backends(moved);
        self.derive_spans(moved);
        let changed = self.table.take_changed();
        self.scopes.reload(&changed, &self.table);
    }

    fn derive_classes(&mut self) {
        for edit in self.stages.classes.refresh(&&self.world) {
            self.stages.class_statuses.mark(ObjectRef::new("", &edit.key));
            self.stages.ports.mark(());
            for gateway in self.world.mentioning(&Mention::Class(edit.key), Kind::Gateway) {
                self.stages.gateways.mark(gateway.clone());
                self.stages.gateway_statuses.mark(gateway.clone());
            }
            for (gateway, _) in self.world.problems_of(Kind::Gateway) {
                self.stages.gateway_statuses.mark(gateway.clone());
            }
        }
    }

    fn derive_trust(&mut self, moved: &mut Moved) {
        for edit in self.stages.trust.refresh(&&self.world) {
            let (old, new) = (edit.old.as_deref(), edit.new.as_deref());
            moved.refuse(old.map(|o| &o.trust.refusals), new.map(|n| &n.trust.refusals));
            self.table.replace(trust_resources(old), trust_resources(new));
            let bundles = trust_resources(new).map(|resource| resource.key());
            let bundles = bundles.filter(|key| key.kind == IrKind::TrustBundle).collect();
            self.scopes.set_common(bundles, &self.table);
            self.stages.exports.mark_all();
            for service in self.world.peer_exported() {
                self.stages.imports.mark(service.clone());
            }
        }
    }

    fn derive_east_west(&mut self) {
        for edit in self.stages.east_west.refresh(&&self.world) {
            let resources = |output: &Option<Arc<EastWestOutput>>| -> Vec<Resource> {
                let Some(output) = output else { return Vec::new() };
                let listeners = output.listeners.iter().cloned().map(Resource::Listener);
                listeners.chain(output.control.clone().map(Resource::Handle)).collect()
            };
            let (old, new) = (resources(&edit.old), resources(&edit.new));
            let scope = east_west_scope();
            match edit.new {
                Some(_) => self.scopes.open(&scope, None, &self.table),
                None => self.scopes.close(&scope),
            }
            self.put(old, new, &scope);
        }
    }

    fn derive_gateways(&mut self, moved: &mut Moved) {
        for edit in self.stages.certificates.refresh(&&self.world) {
            let certificate = |output: &Option<Arc<CertificateOutput>>| {
                let output = output.as_ref()?.as_ref().as_ref().ok()?;
                Some(Resource::Certificate(Arc::clone(output)))
            };
            self.table.replace(certificate(&edit.old), certificate(&edit.new));
            for gateway in self.world.mentioning(&Mention::Secret(edit.key), Kind::Gateway) {
                self.stages.gateways.mark(gateway.clone());
            }
        }
        for edit in self.stages.ports.refresh(&(&self.world, &self.stages.classes)) {
            let share = |output: &Option<Arc<_>>| output.as_deref().cloned().unwrap_or_default();
            let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (share(&edit.old), share(&edit.new));
            for gateway in old.keys().chain(new.keys()).filter(|key| old.get(key) != new.get(key)) {
                self.stages.gateways.mark(gateway.clone());
            }
        }
        let context = GatewaysContext {
            world: &self.world,
            classes: &self.stages.classes,
            certificates: &self.stages.certificates,
            ports: &self.stages.ports,
        };
        for edit in self.stages.gateways.refresh(&context) {
            self.gateway_edited(edit, moved);
        }
    }

    fn gateway_edited(&mut self, edit: Edit<Gateways>, moved: &mut Moved) {
        let Edit { key, old, new } = edit;
        let scope = gateway_scope(&key);
        if new.as_ref().is_some_and(|output| output.runs) {
            if !self.scopes.is_open(&scope) {
                self.scopes.open(&scope, Some(&key), &self.table);
                self.routes_of(&key).into_iter().for_each(|route| moved.route(route, false));
            }
        } else {
            self.scopes.close(&scope);
        }
        let listeners = |output: Option<&GatewayOutput>| -> Vec<Resource> {
            let listeners = output.into_iter().flat_map(|output| output.listeners.iter().cloned());
            listeners.map(Resource::Listener).collect()
        };
        let (old_listeners, new_listeners) = (listeners(old.as_deref()), listeners(new.as_deref()));
        let changed = old_listeners != new_listeners;
        self.put(old_listeners, new_listeners, &scope);
        let parent =
            |output: &Option<Arc<GatewayOutput>>| output.as_ref().map(|o| Arc::clone(&o.parent));
        if !same_pointer(parent(&old).as_ref(), parent(&new).as_ref()) {
            for route in self.routes_of(&key) {
                self.stages.attachments.mark(route);
            }
            for (route, _) in self.world.problems_of(Kind::HttpRoute) {
                self.stages.route_statuses.mark(route.clone());
            }
        }
        self.stages.gateway_statuses.mark(key.clone());
        *moved.gateways.entry(key).or_insert(false) |= changed;
    }

    fn routes_of(&self, gateway: &ObjectRef) -> Vec<ObjectRef> {
        let mention = Mention::Gateway(gateway.clone());
        self.world.mentioning(&mention, Kind::HttpRoute).cloned().collect()
    }

    fn derive_attachments(&mut self) {
        let context = (&self.world, &self.stages.gateways);
        for edit in self.stages.attachments.refresh(&context) {
            self.stages.route_statuses.mark(edit.key.clone());
            self.stages.routes.mark(edit.key);
        }
    }

    fn derive_backends(&mut self, moved: &mut Moved) {
        let context = BackendsContext { world: &self.world, demand: &self.demand };
        for edit in self.stages.backends.refresh(&context) {
            moved.refuse(left_out(edit.old.as_ref()), left_out(edit.new.as_ref()));
            let (old, new) = (backend(edit.old.as_ref()), backend(edit.new.as_ref()));
            self.table.replace(old, new);
            let (object, _) = edit.key;
            if self.stages.exports.output(&object).is_some()
                || self.world.service_export(&object).is_some()
            {
                self.stages.exports.mark(object.clone());
                self.stages.imports.mark(object);
            }
        }
    }

    fn derive_exports(&mut self, moved: &mut Moved) {
        let context = ExportsContext {
            world: &self.world,
            handles: &self.handles,
            trust: &self.stages.trust,
            backends: &self.stages.backends,
        };
        for edit in self.stages.exports.refresh(&context) {
            let handles = |output: &Option<Arc<Export>>| -> Vec<Resource> {
                let handles = output.iter().flat_map(|output| output.handles.iter().cloned());
                handles.map(Resource::Handle).collect()
            };
            self.put(handles(&edit.old), handles(&edit.new), &east_west_scope());
            let exported = |output: &Option<Arc<Export>>| {
                output.as_ref().and_then(|output| output.exported.clone())
            };
            match (exported(&edit.old), exported(&edit.new)) {
                (Some(old), Some(new)) if Arc::ptr_eq(&old, &new) => {}
                (_, Some(new)) => moved.exports.push(ExportChange::Upsert(new)),
                (Some(_), None) => moved.exports.push(ExportChange::Remove(edit.key.clone())),
                (None, None) => {}
            }
            self.stages.export_statuses.mark(edit.key.clone());
            self.stages.imports.mark(edit.key);
        }
    }

    fn derive_imports(&mut self, moved: &mut Moved) {
        let context = ImportsContext {
            world: &self.world,
            trust: &self.stages.trust,
            exports: &self.stages.exports,
            backends: &self.stages.backends,
        };
        for edit in self.stages.imports.refresh(&context) {
            let refusals =
                |output: &Option<Arc<ImportOutput>>| Some(output.as_ref()?.import.refusals.clone());
            moved.refuse(refusals(&edit.old).as_ref(), refusals(&edit.new).as_ref());
            let key = edit.key;
            let ports = |output: &Option<Arc<ImportOutput>>| {
                output.as_ref().and_then(|output| output.ports.clone())
            };
            let ports_moved = !same_pointer(ports(&edit.old).as_ref(), ports(&edit.new).as_ref());
            if ports_moved {
                for route in naming_import(&self.world, &key) {
                    self.stages.routes.mark(route);
                }
            }
            let created = |output: &Option<Arc<ImportOutput>>| output.as_ref().map(|o| o.import.created);
            if ports_moved || created(&edit.old) != created(&edit.new) {
                self.stages.names.mark(());
            }
            self.stages.mark_spans(&self.demand, &key);
            self.stages.export_statuses.mark(key.clone());
            let there = |output: &Option<Arc<ImportOutput>>| {
                output.as_ref().filter(|output| output.ports.is_some()).map(|o| Arc::clone(&o.import))
            };
            match (there(&edit.old), there(&edit.new)) {
                (Some(old), Some(new)) if Arc::ptr_eq(&old, &new) => {}
                (_, Some(new)) => moved.imports.push(ImportChange::Upsert(new)),
                (Some(_), None) => moved.imports.push(ImportChange::Remove(key)),
                (None, None) => {}
            }
        }
    }

    fn derive_names(&mut self, moved: &mut Moved) {
        for edit in self.stages.names.refresh(&(&self.world, &self.stages.imports)) {
            let (old, new) = (edit.old.as_ref(), edit.new.as_ref());
            self.put(named(old), named(new), &east_west_scope());
            for backend in self.demand.replace(Some(&asked_by(old)), Some(&asked_by(new))) {
                self.stages.mark_backend(backend);
            }
            let (old, new) = (table(old), table(new));
            moved.names = (old != new).then_some(new);
        }
    }

    fn derive_routes(&mut self, moved: &mut Moved) {
        let context = RoutesContext {
            world: &self.world,
            attachments: &self.stages.attachments,
            imports: &self.stages.imports,
        };
        for edit in self.stages.routes.refresh(&context) {
            self.route_edited(edit, moved);
        }
    }

    fn route_edited(&mut self, edit: Edit<Routes>, moved: &mut Moved) {
        let Edit { key, old, new } = edit;
        let (old, new) = (old.as_deref(), new.as_deref());
        self.table.replace(rules(old), rules(new));
        let (old_roots, new_roots) = (route_roots(old), route_roots(new));
        for (scope, root) in new_roots.difference(&old_roots) {
            self.scopes.add_root(scope, root.clone(), &self.table);
        }
        for (scope, root) in old_roots.difference(&new_roots) {
            self.scopes.remove_root(scope, root);
        }
        let asked = |output: Option<&HttpRouteOutput>| output.map(|output| output.backends.clone());
        for backend in self.demand.replace(asked(old).as_ref(), asked(new).as_ref()) {
            self.stages.mark_backend(backend);
        }
        for gateway in self.attached.replace(old, new) {
            self.stages.gateway_statuses.mark(gateway);
        }
        let (old_scopes, new_scopes) = (serving(old), serving(new));
        moved.left.extend(old_scopes.difference(&new_scopes).map(|scope| (scope.clone(), key.clone())));
        let changed = old.map(|o| &o.rules) != new.map(|o| &o.rules);
        self.stages.route_statuses.mark(key.clone());
        moved.route(key, changed);
    }

    fn derive_spans(&mut self, moved: &mut Moved) {
        let context =
            SpansContext { world: &self.world, demand: &self.demand, imports: &self.stages.imports };
        for edit in self.stages.spans.refresh(&context) {
            moved.refuse(left_out(edit.old.as_ref()), left_out(edit.new.as_ref()));
            self.table.replace(backend(edit.old.as_ref()), backend(edit.new.as_ref()));
        }
    }

    /// Replaces resources that are roots of `scope`.
    fn put(&mut self, old: Vec<Resource>, new: Vec<Resource>, scope: &Name) {
        let keys = |all: &[Resource]| all.iter().map(Resource::key).collect::<BTreeSet<_>>();
        let (old_keys, new_keys) = (keys(&old), keys(&new));
        self.table.replace(old, new);
        for key in new_keys.difference(&old_keys) {
            self.scopes.add_root(scope, key.clone(), &self.table);
        }
        for key in old_keys.difference(&new_keys) {
            self.scopes.remove_root(scope, key);
        }
    }
}

fn same_pointer<T: ?Sized>(old: Option<&Arc<T>>, new: Option<&Arc<T>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}

fn trust_resources(output: Option<&TrustOutput>) -> impl Iterator<Item = Resource> {
    output.into_iter().flat_map(|output| {
        let bundles = output.trust.bundles.iter().chain(&output.own).cloned().map(Resource::TrustBundle);
        output.trust.peers.iter().cloned().map(Resource::Peer).chain(bundles)
    })
}

fn left_out(output: Option<&Arc<Option<BackendOutput>>>) -> Option<&Vec<String>> {
    Some(&output?.as_ref().as_ref()?.refused)
}

fn backend(output: Option<&Arc<Option<BackendOutput>>>) -> Vec<Resource> {
    let Some(output) = output.and_then(|output| output.as_ref().as_ref()) else { return Vec::new() };
    let service = Resource::Service(Arc::clone(&output.service));
    vec![service, Resource::Endpoints(Arc::clone(&output.endpoints))]
}

/// What the east-west gateway listens for by name, and where it goes.
fn named(names: Option<&Arc<Names>>) -> Vec<Resource> {
    let listeners = names.into_iter().flat_map(|names| names.listeners.iter().cloned());
    let routes = names.into_iter().flat_map(|names| names.routes.iter().cloned());
    listeners.map(Resource::Listener).chain(routes.map(Resource::Route)).collect()
}

fn asked_by(names: Option<&Arc<Names>>) -> BTreeSet<BackendKey> {
    names
        .into_iter()
        .flat_map(|names| names.asked())
        .map(|(object, port)| BackendKey::ClusterSet(object, port))
        .collect()
}

fn rules(output: Option<&HttpRouteOutput>) -> impl Iterator<Item = Resource> {
    output.into_iter().flat_map(|output| output.rules.iter().cloned().map(Resource::Route))
}

/// Scopes of Gateways that serve the route.
pub(crate) fn serving(output: Option<&HttpRouteOutput>) -> BTreeSet<Name> {
    let parents = output.into_iter().flat_map(|output| &output.parents);
    parents.filter(|parent| parent.served).map(|parent| gateway_scope(&parent.gateway)).collect()
}

fn route_roots(output: Option<&HttpRouteOutput>) -> BTreeSet<(Name, Key)> {
    let rules: Vec<Key> = rules(output).map(|rule| rule.key()).collect();
    let scopes = serving(output).into_iter();
    scopes.flat_map(|scope| rules.iter().map(move |rule| (scope.clone(), rule.clone()))).collect()
}

/// Routes that a ServiceImport may matter to: with `serviceScope: ClusterSet` also those that name the
/// Service.
fn naming_import(world: &World, object: &ObjectRef) -> Vec<ObjectRef> {
    let naming = |mention| world.mentioning(&mention, Kind::HttpRoute).cloned().collect::<Vec<_>>();
    let mut routes = naming(Mention::Import(object.clone()));
    if world.settings().service_scope == ServiceScope::ClusterSet {
        routes.extend(naming(Mention::Service(object.clone())));
    }
    routes
}
