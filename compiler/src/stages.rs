//! All stages, and which cells of the first ones a change in the World marks.
//!
//! Later stages are marked by what earlier ones derived ([`crate::pipeline`]). Marking too much is harmless;
//! that nothing is missed is held against a full pass by a property test.

use isthmus_ir::ObjectRef;
use isthmus_world::{Kind, Mention, ObjectKey, Touched, World, engine::Stage};

use crate::{
    demand::Demand,
    status::{ClassStatuses, ExportStatuses, GatewayStatuses, RouteStatuses},
    unit::{
        Attachments, Backends, Certificates, Classes, EastWest, Exports, Gateways, ImportNames, Imports,
        PortKey, Ports, Routes, Spans, Trusts, ports_of,
    },
};
use isthmus_gateway::backend::BackendKey;

/// Every unit's cells, in the order in which they are refreshed.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    pub(crate) classes: Stage<Classes>,
    pub(crate) trust: Stage<Trusts>,
    pub(crate) east_west: Stage<EastWest>,
    pub(crate) certificates: Stage<Certificates>,
    pub(crate) ports: Stage<Ports>,
    pub(crate) gateways: Stage<Gateways>,
    pub(crate) attachments: Stage<Attachments>,
    /// Refreshed before exports, and again after routes, which may ask for more.
    pub(crate) backends: Stage<Backends>,
    pub(crate) exports: Stage<Exports>,
    pub(crate) imports: Stage<Imports>,
    pub(crate) names: Stage<ImportNames>,
    pub(crate) routes: Stage<Routes>,
    pub(crate) spans: Stage<Spans>,
    pub(crate) class_statuses: Stage<ClassStatuses>,
    pub(crate) gateway_statuses: Stage<GatewayStatuses>,
    pub(crate) route_statuses: Stage<RouteStatuses>,
    pub(crate) export_statuses: Stage<ExportStatuses>,
}

impl Stages {
    /// Marks what may follow from something that was touched. What proxies say is not handled here.
    pub(crate) fn mark(&mut self, world: &World, demand: &Demand, touched: &Touched) {
        match touched {
            Touched::Object { key, mentions } => self.mark_object(world, demand, key, mentions),
            Touched::Settings => {
                self.mark_all();
                // Those of which there is one, and which may not have had an output.
                self.ports.mark(());
                self.trust.mark(());
                self.east_west.mark(());
                self.names.mark(());
            }
            Touched::Definitions => self.classes.mark_all(),
            Touched::Roots | Touched::Peer(_) => self.trust.mark(()),
            Touched::PeerExport(service) => self.imports.mark(service.clone()),
            Touched::Kind(_) => self.class_statuses.mark_all(),
            Touched::Proxies(_) => {}
        }
    }

    fn mark_object(&mut self, world: &World, demand: &Demand, key: &ObjectKey, mentions: &[Mention]) {
        let object = &key.object;
        match key.kind {
            Kind::GatewayClass => {
                self.classes.mark(object.name.clone());
                self.class_statuses.mark(object.clone());
            }
            Kind::Gateway => self.mark_gateway(object, mentions),
            Kind::HttpRoute => {
                self.attachments.mark(object.clone());
                self.routes.mark(object.clone());
                self.route_statuses.mark(object.clone());
            }
            Kind::ReferenceGrant | Kind::BackendTlsPolicy => {
                self.mark_namespace(world, &object.namespace);
            }
            Kind::Namespace => {
                for route in world.routes_in(&object.name) {
                    self.attachments.mark(route.clone());
                }
            }
            Kind::Service => self.mark_service(world, demand, object),
            Kind::EndpointSlice => {
                for mention in mentions {
                    if let Mention::Service(service) = mention {
                        self.mark_backends(world, demand, service);
                    }
                }
            }
            Kind::Secret => self.certificates.mark(object.clone()),
            Kind::ServiceExport => {
                self.exports.mark(object.clone());
                self.export_statuses.mark(object.clone());
                self.mark_backends(world, demand, object);
            }
            Kind::GatewayParameters => self.mark_parameters(world, object),
        }
    }

    fn mark_parameters(&mut self, world: &World, object: &ObjectRef) {
        let mention = Mention::Parameters(object.clone());
        for class in world.mentioning(&mention, Kind::GatewayClass) {
            self.classes.mark(class.name.clone());
        }
        for gateway in world.mentioning(&mention, Kind::Gateway) {
            self.gateways.mark(gateway.clone());
        }
        self.ports.mark(());
    }

    fn mark_gateway(&mut self, object: &ObjectRef, mentions: &[Mention]) {
        self.gateways.mark(object.clone());
        self.gateway_statuses.mark(object.clone());
        self.ports.mark(());
        for mention in mentions {
            if let Mention::Secret(secret) = mention {
                self.certificates.mark(secret.clone());
            }
        }
    }

    /// What refers to anything in `namespace` that a grant or a policy may protect.
    fn mark_namespace(&mut self, world: &World, namespace: &str) {
        for key in world.mentioning_namespace(namespace) {
            match key.kind {
                Kind::Gateway => self.gateways.mark(key.object.clone()),
                Kind::HttpRoute => self.routes.mark(key.object.clone()),
                _ => {}
            }
        }
    }

    fn mark_service(&mut self, world: &World, demand: &Demand, object: &ObjectRef) {
        for route in world.mentioning(&Mention::Service(object.clone()), Kind::HttpRoute) {
            self.routes.mark(route.clone());
        }
        for gateway in world.mentioning(&Mention::Service(object.clone()), Kind::Gateway) {
            self.gateways.mark(gateway.clone());
        }
        if world.service_export(object).is_some() {
            self.exports.mark(object.clone());
        }
        self.mark_backends(world, demand, object);
    }

    /// Every port of the Service `object` that there is, or may be now.
    fn mark_backends(&mut self, world: &World, demand: &Demand, object: &ObjectRef) {
        let known: Vec<PortKey> = self.backends.keys(ports_of(object)).cloned().collect();
        for key in known {
            self.backends.mark(key);
        }
        let declared = world.service(object).map(|service| service.ports.as_slice()).unwrap_or_default();
        for port in declared {
            self.backends.mark((object.clone(), port.port));
        }
        for key in demand.of(object) {
            self.mark_backend(key);
        }
    }

    /// One port that a route asks for, or no longer asks for.
    pub(crate) fn mark_backend(&mut self, key: BackendKey) {
        match key {
            BackendKey::Cluster(object, port) => self.backends.mark((object, port)),
            BackendKey::ClusterSet(object, port) => self.spans.mark((object, port)),
        }
    }

    /// Every port of the ServiceImport `object`.
    pub(crate) fn mark_spans(&mut self, demand: &Demand, object: &ObjectRef) {
        let asked = demand.of(object).into_iter();
        for key in asked.filter(|key| matches!(key, BackendKey::ClusterSet(..))) {
            self.mark_backend(key);
        }
    }

    /// Every cell.
    pub(crate) fn mark_all(&mut self) {
        self.classes.mark_all();
        self.trust.mark_all();
        self.east_west.mark_all();
        self.certificates.mark_all();
        self.ports.mark_all();
        self.gateways.mark_all();
        self.attachments.mark_all();
        self.backends.mark_all();
        self.exports.mark_all();
        self.imports.mark_all();
        self.names.mark_all();
        self.routes.mark_all();
        self.spans.mark_all();
        self.class_statuses.mark_all();
        self.gateway_statuses.mark_all();
        self.route_statuses.mark_all();
        self.export_statuses.mark_all();
    }

    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.classes.len()
            + self.certificates.len()
            + self.ports.len()
            + self.gateways.len()
            + self.attachments.len()
            + self.backends.len()
            + self.exports.len()
            + self.imports.len()
            + self.routes.len()
            + self.spans.len()
            + self.class_statuses.len()
            + self.gateway_statuses.len()
            + self.route_statuses.len()
            + self.export_statuses.len()
    }
}
