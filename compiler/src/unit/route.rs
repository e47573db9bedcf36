//! HTTPRoute -> rules and conditions.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    attachment,
    http_route::{self, HttpRouteOutput, references},
    reference::Grants,
};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Plain, Stage, Unit},
    fact::{HttpRoute, ReferenceGrant, Service, ServicePort, ServiceScope},
    same_fields,
};

use super::{Attachments, Imports, gateway::grants, keep::keep_all};

/// One for each HTTPRoute with a parent of ours.
#[derive(Debug)]
pub(crate) struct Routes;

/// What is read.
pub(crate) struct RoutesContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) attachments: &'a Stage<Attachments>,
    pub(crate) imports: &'a Stage<Imports>,
}

#[derive(Debug)]
pub(crate) struct RouteInputs {
    route: Arc<HttpRoute>,
    attachments: Arc<attachment::Attachments>,
    services: BTreeMap<ObjectRef, Arc<Service>>,
    imports: BTreeMap<ObjectRef, Arc<[ServicePort]>>,
    grants: Vec<Arc<ReferenceGrant>>,
    scope: Plain<ServiceScope>,
}

same_fields!(RouteInputs { route, attachments, services, imports, grants, scope });

impl Unit for Routes {
    type Key = ObjectRef;
    type Inputs = RouteInputs;
    type Output = HttpRouteOutput;
    type Context<'a> = RoutesContext<'a>;

    fn gather(context: &RoutesContext<'_>, key: &ObjectRef) -> Option<RouteInputs> {
        let attachments = Arc::clone(context.attachments.output(key)?);
        let world = context.world;
        let route = Arc::clone(world.http_route(key)?);
        let scope = world.settings().service_scope;
        let found = references(&route, scope);
        let service = |object: ObjectRef| {
            let service = Arc::clone(world.service(&object)?);
            Some((object, service))
        };
        let ports = |object: ObjectRef| {
            let ports = context.imports.output(&object)?.ports.clone()?;
            Some((object, ports))
        };
        Some(RouteInputs {
            grants: grants(world, &key.namespace, found.namespaces.iter().map(String::as_str)),
            services: found.services.into_iter().filter_map(service).collect(),
            imports: found.imports.into_iter().filter_map(ports).collect(),
            scope: Plain(scope),
            route,
            attachments,
        })
    }

    fn translate(_: &ObjectRef, inputs: &RouteInputs) -> HttpRouteOutput {
        http_route::translate(http_route::Inputs {
            route: &inputs.route,
            attachments: &inputs.attachments,
            services: &inputs.services,
            imports: &inputs.imports,
            grants: Grants(&inputs.grants),
            scope: inputs.scope.0,
        })
    }

    fn settle(old: &HttpRouteOutput, new: HttpRouteOutput) -> HttpRouteOutput {
        HttpRouteOutput { rules: keep_all(&old.rules, new.rules, |rule| &rule.name), ..new }
    }
}
