//! Pieces that the status of several kinds have in common.

use std::borrow::Cow;

use isthmus_world::fact::{GroupKind, ParentRef, Problem};
use serde_json::{Map, Value, json};

use crate::{Condition, GROUP};

/// Longest message of a condition, in bytes: the API server takes 32768, and people read less.
const LONGEST: usize = 4096;

/// `conditions`, observed at `generation`.
pub(super) fn conditions(conditions: &[Condition], generation: i64) -> Value {
    let each = |c: &Condition| {
        json!({
            "type": c.kind,
            "status": c.verdict.as_str(),
            "observedGeneration": generation,
            "reason": c.reason,
            "message": shortened(&c.message),
        })
    };
    conditions.iter().map(each).collect()
}

fn shortened(message: &str) -> Cow<'_, str> {
    if message.len() <= LONGEST {
        return message.into();
    }
    let end = message.floor_char_boundary(LONGEST);
    format!("{}...", message.get(..end).unwrap_or_default()).into()
}

/// Says, of an object without a condition for it, that an older generation is in force.
pub(super) fn fall_back(problem: &Problem, generation: i64) -> Condition {
    Condition::is("isthmus.dev/FallBack", "UnsupportedValue", fall_back_message(problem, generation))
}

/// Gateway API, `PartiallyInvalid`: begins with "Fall Back", and says why.
pub(super) fn fall_back_message(problem: &Problem, generation: i64) -> String {
    let field = problem.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
    format!(
        "Fall Back to generation {generation}; generation {} is invalid: {field}{}",
        problem.generation, problem.message
    )
}

/// `RouteGroupKind`.
pub(super) fn kind(kind: &GroupKind) -> Value {
    json!({ "group": kind.group, "kind": kind.kind })
}

/// `ParentReference`, with the fields that the route has set.
pub(super) fn parent(parent: &ParentRef) -> Value {
    let mut fields = Map::new();
    fields.insert("group".into(), parent.kind.group.as_str().into());
    fields.insert("kind".into(), parent.kind.kind.as_str().into());
    fields.insert("name".into(), parent.name.as_str().into());
    if let Some(namespace) = &parent.namespace {
        fields.insert("namespace".into(), namespace.as_str().into());
    }
    if let Some(section) = &parent.section {
        fields.insert("sectionName".into(), section.as_str().into());
    }
    if let Some(port) = parent.port {
        fields.insert("port".into(), port.into());
    }
    debug_assert!(parent.kind.group == GROUP, "only Gateways have reports");
    fields.into()
}
