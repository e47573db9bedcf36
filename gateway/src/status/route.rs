//! `status.parents` of a route: entries of our controller alone.

use std::collections::BTreeMap;

use isthmus_ir::ObjectRef;
use isthmus_world::fact::{HttpRoute, Problem};
use serde_json::{Value, json};

use super::{Progress, fields};
use crate::{
    CONTROLLER, Condition,
    http_route::{HttpRouteOutput, ParentReport},
};

/// Our condition on a route's parents (design, section 4): a route's edit does not change its Gateway,
/// whose `Programmed` therefore says nothing of it.
const PROGRAMMED: &str = "isthmus.dev/Programmed";

/// `status` of an HTTPRoute; none when no Gateway of ours is its parent. `progress` is that of the
/// proxies of each Gateway that the route is attached to.
pub fn http_route(
    route: &HttpRoute,
    output: &HttpRouteOutput,
    progress: &BTreeMap<ObjectRef, Progress>,
    problem: Option<&Problem>,
) -> Option<Value> {
    let none = Progress::default();
    let parents: Vec<_> = output
        .parents
        .iter()
        .map(|report| {
            let progress = progress.get(&report.gateway).unwrap_or(&none);
            parent(report, progress, route.meta.generation, problem)
        })
        .collect();
    (!parents.is_empty()).then(|| json!({ "parents": parents }))
}

fn parent(
    report: &ParentReport,
    progress: &Progress,
    generation: i64,
    problem: Option<&Problem>,
) -> Value {
    let mut conditions = report.conditions.clone();
    if let Some(problem) = problem.filter(|_| report.accepted()) {
        let message = fields::fall_back_message(problem, generation);
        conditions.retain(|c| c.kind != "PartiallyInvalid");
        conditions.push(Condition::is("PartiallyInvalid", "UnsupportedValue", message));
    }
    conditions.push(programmed(report, progress));
    json!({
        "parentRef": fields::parent(&report.parent),
        "controllerName": CONTROLLER,
        "conditions": fields::conditions(&conditions, generation),
    })
}

fn programmed(report: &ParentReport, progress: &Progress) -> Condition {
    if !report.accepted() {
        return Condition::not(PROGRAMMED, "Invalid", "the route is not accepted");
    }
    if !report.served {
        let message =
            format!("no listener of Gateway {} that it is attached to is served", report.gateway);
        return Condition::not(PROGRAMMED, "Invalid", message);
    }
    progress.programmed(PROGRAMMED)
}
