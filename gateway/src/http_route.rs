//! HTTPRoute -> one IR route a rule, and the route's conditions.
//!
//! An invalid rule is dropped and named; a reference that cannot be resolved answers 500 for its share,
//! and so does a rule whose extension is unknown, for it must not be served without.

mod backends;
mod filters;
mod matches;
mod rule;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_ir::{Attachment, ObjectRef, Route};
use isthmus_world::fact::{HttpRoute, ParentRef, Service, ServicePort, ServiceScope};

pub use backends::{References, references};

use crate::{
    Condition,
    attachment::{Attached, Attachments},
    backend::{BackendKey, TlsTarget},
    reference::Grants,
};
use backends::Resolver;
use rule::Invalid;

/// What is read for one HTTPRoute.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The route.
    pub route: &'a HttpRoute,
    /// What [`attachment`](crate::attachment) decided.
    pub attachments: &'a Attachments,
    /// Those of [`References::services`] that exist.
    pub services: &'a BTreeMap<ObjectRef, Arc<Service>>,
    /// The ports of those of [`References::imports`] that exist.
    pub imports: &'a BTreeMap<ObjectRef, Arc<[ServicePort]>>,
    /// Grants in [`References::namespaces`].
    pub grants: Grants<'a>,
    /// What BackendTLSPolicies are about, of what [`References`] name; others do no harm.
    pub tls: &'a [TlsTarget],
    /// What a backendRef to a Service spans.
    pub scope: ServiceScope,
}

/// What follows from an HTTPRoute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRouteOutput {
    /// One for each valid rule; empty when no listener serves it.
    pub rules: Vec<Arc<Route>>,
    /// What `rules` send requests to: the [`backend`](crate::backend) units that are needed.
    pub backends: BTreeSet<BackendKey>,
    /// One for each parentRef to a Gateway of ours, in the route's order.
    pub parents: Vec<ParentReport>,
}

/// The part of `status.parents[]` that follows from manifests alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParentReport {
    /// As the route has it.
    pub parent: ParentRef,
    /// The Gateway that it names.
    pub gateway: ObjectRef,
    /// Listeners whose `attachedRoutes` counts this route: none when it is not accepted.
    pub attached: Vec<String>,
    /// Whether one of them is served.
    pub served: bool,
    /// `Accepted`, `ResolvedRefs`, and `PartiallyInvalid` where it is so.
    pub conditions: Vec<Condition>,
}

impl ParentReport {
    /// Whether the route is accepted by this parent.
    pub fn accepted(&self) -> bool {
        self.conditions.iter().any(|c| c.kind == "Accepted" && c.holds())
    }
}

/// Decides over one HTTPRoute.
pub fn translate(inputs: Inputs<'_>) -> HttpRouteOutput {
    let mut resolver = Resolver::new(inputs);
    let mut valid = Vec::new();
    let mut invalid = Vec::new();
    for (index, rule) in inputs.route.rules.iter().enumerate() {
        // References of an invalid rule are resolved too, so that one look at the status shows all.
        let route = rule::route(inputs.route, index, rule, &mut resolver);
        match rule::check(index, rule) {
            Ok(()) => valid.push(route),
            Err(why) => invalid.push((index, why)),
        }
    }
    let references = resolver.condition();
    let attachments = attachments(inputs.attachments);
    let rules: Vec<_> = if attachments.is_empty() {
        Vec::new()
    } else {
        valid.iter().map(|r| Arc::new(Route { attachments: attachments.clone(), ..r.clone() })).collect()
    };
    let verdict = verdict(valid.len(), &invalid);
    let parents = inputs.attachments.parents.iter().map(|a| parent(a, &verdict, &references));
    HttpRouteOutput { backends: resolver.used_by(&rules), parents: parents.collect(), rules }
}

/// The listeners of all parents, each once.
fn attachments(attached: &Attachments) -> Vec<Attachment> {
    let mut all: Vec<Attachment> = Vec::new();
    for attachment in attached.parents.iter().flat_map(|p| &p.listeners) {
        if !all.iter().any(|a| a.listener == attachment.listener) {
            all.push(attachment.clone());
        }
    }
    all
}

/// What the rules say of the route as a whole.
enum Rules {
    Valid,
    Partly(Condition),
    Invalid(Condition),
}

fn verdict(valid: usize, invalid: &[(usize, Invalid)]) -> Rules {
    let Some((_, first)) = invalid.first() else { return Rules::Valid };
    let messages: Vec<_> = invalid.iter().map(|(_, why)| why.message.as_str()).collect();
    let messages = messages.join("; ");
    if valid == 0 {
        return Rules::Invalid(Condition::not("Accepted", first.reason, messages));
    }
    let indexes: Vec<_> = invalid.iter().map(|(index, _)| index.to_string()).collect();
    let message = format!("Dropped Rule {}: {messages}", indexes.join(", "));
    Rules::Partly(Condition::is("PartiallyInvalid", "UnsupportedValue", message))
}

fn parent(attached: &Attached, rules: &Rules, resolved: &Condition) -> ParentReport {
    let accepted = match rules {
        Rules::Invalid(condition) if attached.accepted.holds() => condition,
        _ => &attached.accepted,
    };
    let mut conditions = vec![accepted.clone(), resolved.clone()];
    if let Rules::Partly(condition) = rules
        && accepted.holds()
    {
        conditions.push(condition.clone());
    }
    ParentReport {
        parent: attached.parent.clone(),
        gateway: attached.gateway.clone(),
        attached: if accepted.holds() { attached.sections.clone() } else { Vec::new() },
        served: accepted.holds() && !attached.listeners.is_empty(),
        conditions,
    }
}
