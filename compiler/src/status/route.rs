//! Status of each HTTPRoute.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    Condition,
    http_route::{HttpRouteOutput, ParentReport},
    status::{Progress, http_route},
};
use isthmus_ir::{Key, Kind as IrKind, ObjectRef, RouteKind};
use isthmus_world::{
    Kind, ObjectKey, World,
    engine::{Plain, Stage, Unit},
    fact::{HttpRoute, ParentRef, Problem},
    same_fields,
};
use serde_json::Value;

use crate::{
    milestone::{Milestones, Subject, progress},
    scope::gateway_scope,
    unit::{Attachments, Gateways, Routes},
};

/// One for each HTTPRoute with a parent of ours, readable or not.
#[derive(Debug)]
pub(crate) struct RouteStatuses;

/// What is read.
pub(crate) struct RouteStatusesContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) gateways: &'a Stage<Gateways>,
    pub(crate) attachments: &'a Stage<Attachments>,
    pub(crate) routes: &'a Stage<Routes>,
    pub(crate) milestones: &'a Milestones,
}

#[derive(Debug)]
pub(crate) struct RouteStatusInputs {
    route: Option<Arc<HttpRoute>>,
    output: Option<Arc<HttpRouteOutput>>,
    /// Of each Gateway that serves it.
    progress: Plain<BTreeMap<ObjectRef, Progress>>,
    /// Parents that are ours, of a route that cannot be read.
    unread: Plain<Vec<(ParentRef, ObjectRef)>>,
    problem: Option<Arc<Problem>>,
    fault: Option<Arc<str>>,
}

same_fields!(RouteStatusInputs { route, output, progress, unread, problem, fault });

impl Unit for RouteStatuses {
    type Key = ObjectRef;
    type Inputs = RouteStatusInputs;
    type Output = Option<Value>;
    type Context<'a> = RouteStatusesContext<'a>;

    fn gather(context: &RouteStatusesContext<'_>, key: &ObjectRef) -> Option<RouteStatusInputs> {
        let at = ObjectKey { kind: Kind::HttpRoute, object: key.clone() };
        let problem = context.world.problem(&at);
        let route = context.world.http_route(key);
        let output = context.routes.output(key);
        let unread = match (route, output) {
            (Some(_), Some(_)) => Vec::new(),
            (Some(route), None) => ours(context, key, &route.parents),
            (None, _) => ours(context, key, &problem?.parents),
        };
        (output.is_some() || !unread.is_empty()).then(|| RouteStatusInputs {
            progress: Plain(output.map(|output| progresses(context, key, output)).unwrap_or_default()),
            route: route.cloned(),
            output: output.cloned(),
            unread: Plain(unread),
            problem: problem.cloned(),
            fault: context.routes.fault(key).or_else(|| context.attachments.fault(key)).cloned(),
        })
    }

    fn translate(key: &ObjectRef, inputs: &RouteStatusInputs) -> Option<Value> {
        let generation = inputs.route.as_ref().map_or(0, |route| route.meta.generation);
        let problem = super::problem(inputs.problem.as_ref(), inputs.fault.as_ref(), generation);
        if let (Some(route), Some(output)) = (&inputs.route, &inputs.output) {
            return http_route(route, output, &inputs.progress.0, problem.as_deref());
        }
        let problem = problem?;
        let output = unread_output(&inputs.unread.0, &problem);
        http_route(&unread_route(key, &problem), &output, &BTreeMap::new(), None)
    }
}

/// Those of `parents` that name Gateways of ours.
fn ours(
    context: &RouteStatusesContext<'_>,
    route: &ObjectRef,
    parents: &[ParentRef],
) -> Vec<(ParentRef, ObjectRef)> {
    let gateway = |parent: &ParentRef| {
        let of_gateway = parent.kind.group == Kind::Gateway.group() && parent.kind.kind == "Gateway";
        let namespace = parent.namespace.as_ref().unwrap_or(&route.namespace);
        let gateway = ObjectRef::new(namespace, &parent.name);
        (of_gateway && context.gateways.output(&gateway).is_some()).then_some((parent.clone(), gateway))
    };
    parents.iter().filter_map(gateway).collect()
}

fn progresses(
    context: &RouteStatusesContext<'_>,
    key: &ObjectRef,
    output: &HttpRouteOutput,
) -> BTreeMap<ObjectRef, Progress> {
    let rules = format!("{}/{key}/", RouteKind::Http.as_str());
    let owns = |key: &Key| match key.kind {
        IrKind::Route => key.name.as_str().starts_with(&rules),
        IrKind::Service | IrKind::Endpoints => output.backends.iter().any(|b| b.name() == key.name),
        _ => false,
    };
    let of = |parent: &ParentReport| {
        let scope = gateway_scope(&parent.gateway);
        let revision = context.milestones.revision(&scope, Subject::Route(key.clone()))?;
        let progress = progress(context.world.reports(&scope), revision, owns, None);
        Some((parent.gateway.clone(), progress))
    };
    output.parents.iter().filter_map(of).collect()
}

/// A route of which no version could be read.
fn unread_route(object: &ObjectRef, problem: &Problem) -> HttpRoute {
    HttpRoute {
        meta: super::unread_meta(object, problem.generation),
        parents: problem.parents.clone(),
        hostnames: Vec::new(),
        rules: Vec::new(),
    }
}

fn unread_output(parents: &[(ParentRef, ObjectRef)], problem: &Problem) -> HttpRouteOutput {
    let message = super::said(problem);
    let report = |(parent, gateway): &(ParentRef, ObjectRef)| ParentReport {
        parent: parent.clone(),
        gateway: gateway.clone(),
        attached: Vec::new(),
        served: false,
        conditions: vec![Condition::not("Accepted", "UnsupportedValue", message.clone())],
    };
    HttpRouteOutput {
        rules: Vec::new(),
        backends: std::collections::BTreeSet::new(),
        parents: parents.iter().map(report).collect(),
    }
}
