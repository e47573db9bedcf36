//! HTTPRoute -> rules and conditions.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    attachment,
    backend::TlsTarget,
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
    tls: Plain<Vec<TlsTarget>>,
    scope: Plain<ServiceScope>,
}

same_fields!(RouteInputs { route, attachments, services, imports, grants, tls, scope });

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
        let named = found.services.union(&found.imports);
        Some(RouteInputs {
            tls: Plain(named.flat_map(|object| tls_targets(world, object)).collect()),
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
            tls: &inputs.tls.0,
            scope: inputs.scope.0,
        })
    }

    fn settle(old: &HttpRouteOutput, new: HttpRouteOutput) -> HttpRouteOutput {
        HttpRouteOutput { rules: keep_all(&old.rules, new.rules, |rule| &rule.name), ..new }
    }
}

/// What BackendTLSPolicies are about, of those in the namespace of `object` that name one like it.
fn tls_targets(world: &World, object: &ObjectRef) -> Vec<TlsTarget> {
    let targets = world.tls_targets(&object.namespace);
    let named = targets.filter(|(_, target)| target.name == object.name);
    named.map(|(policy, target)| TlsTarget { policy: policy.clone(), target: target.clone() }).collect()
}
