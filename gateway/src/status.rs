//! Gateway API status, exactly as specified, from what was derived and what proxies acked.
//!
//! `lastTransitionTime` is left out: who writes the status knows what stood there before, and when.

mod fields;
mod gateway;
mod route;

use std::collections::BTreeMap;

use isthmus_world::fact::{GatewayClass, Problem};
use serde_json::{Value, json};

pub use gateway::gateway;
pub use route::http_route;

use crate::{Condition, class::ClassOutput};

/// How far the connected proxies of one Gateway have come with the present generation of one object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Names of those that have acked it.
    pub acked: Vec<String>,
    /// Names of those that have not.
    pub behind: Vec<String>,
    /// What a proxy said of a resource of this object that it refused, by proxy.
    pub refused: BTreeMap<String, String>,
    /// What the operating system said of a listener that a proxy could not bind, by section; for
    /// Gateways.
    pub unbound: BTreeMap<String, String>,
}

impl Progress {
    /// `kind`, which is True when every connected proxy has acked, and there is one.
    fn programmed(&self, kind: &'static str) -> Condition {
        if let Some((proxy, why)) = self.refused.first_key_value() {
            let message = format!("proxy {proxy} refused it: {why}");
            return Condition::not(kind, "Invalid", message);
        }
        if !self.behind.is_empty() {
            let message = format!("waiting for proxy {}", self.behind.join(", "));
            return Condition::not(kind, "Pending", message);
        }
        if self.acked.is_empty() {
            return Condition::not(kind, "Pending", "no proxy is connected");
        }
        Condition::is(kind, "Programmed", "every connected proxy serves it")
    }
}

/// What an API server shows of an object of `kind` until a controller says something: the default of the
/// kind's definition. None for kinds without.
pub fn unclaimed(kind: &str) -> Option<Value> {
    let kinds: &[&str] = match kind {
        "GatewayClass" => &["Accepted"],
        "Gateway" => &["Accepted", "Programmed"],
        _ => return None,
    };
    let condition = |kind: &&str| {
        json!({
            "type": kind,
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        })
    };
    Some(json!({ "conditions": kinds.iter().map(condition).collect::<Vec<_>>() }))
}

/// `status` of a GatewayClass.
pub fn gateway_class(class: &GatewayClass, output: &ClassOutput, problem: Option<&Problem>) -> Value {
    let features: Vec<_> = output.features.iter().map(|name| json!({ "name": name })).collect();
    let mut conditions = output.conditions.clone();
    conditions.extend(problem.map(|p| fields::fall_back(p, class.meta.generation)));
    json!({
        "conditions": fields::conditions(&conditions, class.meta.generation),
        "supportedFeatures": features,
    })
}
