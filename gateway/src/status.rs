//! Gateway API status, exactly as specified, from what was derived and what proxies acked.
//!
//! `lastTransitionTime` is left out: who writes the status knows what stood there before, and when.

use std::collections::BTreeMap;

use isthmus_ir::ObjectRef;
use isthmus_world::fact::{Gateway, GatewayClass, HttpRoute, Problem};
use serde_json::Value;

use crate::{class::ClassOutput, http_route::HttpRouteOutput, listener::GatewayReport};

/// How far the proxies of one Gateway have come with one object's present generation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Names of connected proxies that have acked it.
    pub acked: Vec<String>,
    /// Names of connected proxies that have not.
    pub behind: Vec<String>,
    /// Resources of this object that a proxy refused: what it said, by proxy.
    pub refused: BTreeMap<String, String>,
    /// Listeners that a proxy could not bind, by section: what the operating system said. For Gateways.
    pub unbound: BTreeMap<String, String>,
}

/// `status` of a GatewayClass.
pub fn gateway_class(class: &GatewayClass, output: &ClassOutput, problem: Option<&Problem>) -> Value {
    let _ = (class, output, problem);
    Value::Null
}

/// `status` of a Gateway. `attached` counts routes by listener.
pub fn gateway(
    gateway: &Gateway,
    report: &GatewayReport,
    attached: &BTreeMap<String, u32>,
    progress: &Progress,
    problem: Option<&Problem>,
) -> Value {
    let _ = (gateway, report, attached, progress, problem);
    Value::Null
}

/// `status` of an HTTPRoute; null when it has no parent of ours. `progress` is that of the proxies of
/// each Gateway that it is attached to.
pub fn http_route(
    route: &HttpRoute,
    output: &HttpRouteOutput,
    progress: &BTreeMap<ObjectRef, Progress>,
    problem: Option<&Problem>,
) -> Value {
    let _ = (route, output, progress, problem);
    Value::Null
}
