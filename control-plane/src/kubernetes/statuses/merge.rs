//! What to write over a status: ours in the place of what we wrote before, and everybody else's as it is.

use isthmus_gateway::CONTROLLER;
use isthmus_world::Kind;
use serde_json::{Map, Value, json};

use crate::store::conditions;

/// Conditions of ours that are not always there begin so, or are this one of listeners.
const OWN: &str = "isthmus.dev/";
const OVERLAP: &str = "OverlappingTLSConfig";

/// The status that `observed` is to become, with `ours` in it (null when nothing of it is ours any more);
/// none when it is that already. `others` says of an entry of a route that another revision of this
/// controller wrote it, and `now` is the time of conditions that change.
pub(super) fn merged(
    kind: Kind,
    observed: &Value,
    ours: &Value,
    others: &dyn Fn(&Value) -> bool,
    now: &str,
) -> Option<Value> {
    if kind == Kind::HttpRoute {
        let status = route(observed, ours, others, now);
        return (!list(&status, "parents").eq(list(observed, "parents"))).then_some(status);
    }
    let status = fields(observed, ours, now)?;
    (status != *observed).then_some(status)
}

/// `status.parents`: an element for each parent and controller. Each stays in its place: a controller that
/// orders the list in another way would otherwise be fought over it for ever (case F9).
fn route(observed: &Value, ours: &Value, others: &dyn Fn(&Value) -> bool, now: &str) -> Value {
    let mut ours = ours.clone();
    conditions::stamp(&mut ours, Some(observed), now);
    let is_ours = |parent: &&Value| of_us(parent) && !others(parent);
    let mut left: Vec<Value> = list(&ours, "parents").cloned().collect();
    let mut all = Vec::new();
    for parent in list(observed, "parents") {
        let same = |mine: &Value| mine.get("parentRef") == parent.get("parentRef");
        if !is_ours(&parent) {
            all.push(parent.clone());
        } else if let Some(index) = left.iter().position(same) {
            all.push(left.remove(index));
        }
    }
    all.extend(left);
    json!({ "parents": all })
}

/// Whether a route's status has an entry of this controller.
pub(super) fn names_us(status: &Value) -> bool {
    list(status, "parents").any(of_us)
}

fn of_us(parent: &Value) -> bool {
    parent.get("controllerName").is_some_and(|name| name == CONTROLLER)
}

fn list<'a>(status: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    status.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A status that is ours but for conditions of other types.
fn fields(observed: &Value, ours: &Value, now: &str) -> Option<Value> {
    let mut ours = ours.clone();
    conditions::stamp(&mut ours, Some(observed), now);
    let mut status: Map<String, Value> = observed.as_object().cloned().unwrap_or_default();
    for (name, value) in ours.as_object()? {
        let value = match name.as_str() {
            "conditions" => conditions_with(observed, value),
            "listeners" => listeners_with(observed, value),
            _ => value.clone(),
        };
        status.insert(name.clone(), value);
    }
    Some(Value::Object(status))
}

/// `ours`, each with the conditions of others that `observed` has for a listener of its name.
fn listeners_with(observed: &Value, ours: &Value) -> Value {
    let with = |listener: &Value| {
        let same = |other: &&Value| other.get("name") == listener.get("name");
        let mut merged = listener.clone();
        if let Some(before) = list(observed, "listeners").find(same)
            && let Some(conditions) = merged.get_mut("conditions")
        {
            *conditions = conditions_with(before, conditions);
        }
        merged
    };
    ours.as_array().into_iter().flatten().map(with).collect()
}

/// `ours`, and those of `observed` that are of no type of ours.
fn conditions_with(observed: &Value, ours: &Value) -> Value {
    let kind = |condition: &Value| condition.get("type").and_then(Value::as_str).map(str::to_owned);
    let own: Vec<_> = ours.as_array().into_iter().flatten().map(kind).collect();
    let foreign = |condition: &&Value| {
        let kind = kind(condition);
        !own.contains(&kind) && !kind.is_some_and(|kind| kind.starts_with(OWN) || kind == OVERLAP)
    };
    let foreign = list(observed, "conditions").filter(foreign).cloned();
    ours.as_array().into_iter().flatten().cloned().chain(foreign).collect()
}

/// Whether something that was programmed is said to wait for proxies now.
pub(super) fn demoted(observed: &Value, status: &Value) -> bool {
    let holders = |status: &Value| -> Vec<Value> {
        let nested = list(status, "parents").chain(list(status, "listeners")).cloned();
        std::iter::once(status.clone()).chain(nested).collect()
    };
    let programmed = |holder: &Value, verdict: &str, reason: Option<&str>| {
        list(holder, "conditions").any(|condition| {
            let is = |field: &str, value: &str| condition.get(field).is_some_and(|v| v == value);
            let kind = is("type", "Programmed") || is("type", "isthmus.dev/Programmed");
            kind && is("status", verdict) && reason.is_none_or(|reason| is("reason", reason))
        })
    };
    let (before, after) = (holders(observed), holders(status));
    before.iter().any(|holder| programmed(holder, "True", None))
        && after.iter().any(|holder| programmed(holder, "False", Some("Pending")))
}

#[cfg(test)]
mod tests {
    use isthmus_gateway::CONTROLLER;
    use isthmus_world::Kind;
    use serde_json::{Value, json};

    use super::demoted;

    /// With one revision.
    fn merged(kind: Kind, observed: &Value, ours: &Value, now: &str) -> Option<Value> {
        super::merged(kind, observed, ours, &|_| false, now)
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": ""})
    }

    fn parent(controller: &str, gateway: &str, status: &str) -> Value {
        json!({
            "controllerName": controller,
            "parentRef": {"name": gateway},
            "conditions": [condition("Accepted", status, "R")],
        })
    }

    #[test]
    fn f19_entries_of_other_controllers_stay() {
        let observed = json!({"parents": [parent("other.example/x", "a", "True")]});
        let ours = json!({"parents": [parent(CONTROLLER, "a", "True")]});
        let first = merged(Kind::HttpRoute, &observed, &ours, "t1").unwrap();
        assert_eq!(first["parents"][0], observed["parents"][0]);
        assert_eq!(first["parents"][1]["conditions"][0]["lastTransitionTime"], "t1");
        assert_eq!(merged(Kind::HttpRoute, &first, &ours, "t2"), None, "nothing is different");
        let turned = json!({"parents": [first["parents"][1], first["parents"][0]]});
        assert_eq!(merged(Kind::HttpRoute, &turned, &ours, "t2"), None, "the order is no difference");
        let gone = merged(Kind::HttpRoute, &first, &Value::Null, "t2").unwrap();
        assert_eq!(gone, observed);
    }

    #[test]
    fn f20_entries_of_another_revision_stay() {
        let observed = json!({"parents": [parent(CONTROLLER, "theirs", "True")]});
        let others = |parent: &Value| parent["parentRef"]["name"] == "theirs";
        let merged = |observed: &Value, ours: &Value| {
            super::merged(Kind::HttpRoute, observed, ours, &others, "t1")
        };
        assert_eq!(merged(&observed, &Value::Null), None);
        assert_eq!(merged(&Value::Null, &Value::Null), None, "nothing is no list of nothing");
        let ours = json!({"parents": [parent(CONTROLLER, "ours", "True")]});
        let both = merged(&observed, &ours).unwrap();
        assert_eq!(both["parents"].as_array().unwrap().len(), 2);
        assert_eq!(merged(&both, &Value::Null), Some(observed));
    }

    #[test]
    fn f19_conditions_of_other_types_stay_and_times_are_kept() {
        let observed = json!({"conditions": [
            {"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "",
                "lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"type": "example.com/Checked", "status": "True", "lastTransitionTime": "t0"},
            {"type": "isthmus.dev/FallBack", "status": "True", "lastTransitionTime": "t0"},
        ]});
        let ours = json!({"conditions": [condition("Accepted", "True", "Accepted")]});
        let first = merged(Kind::GatewayClass, &observed, &ours, "t1").unwrap();
        let types: Vec<_> =
            first["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
        assert_eq!(types, ["Accepted", "example.com/Checked"]);
        assert_eq!(merged(Kind::GatewayClass, &first, &ours, "t2"), None);
        assert_eq!(merged(Kind::GatewayClass, &first, &Value::Null, "t2"), None);
    }

    #[test]
    fn f19_conditions_of_others_on_a_listener_stay() {
        let listener =
            |conditions: Value| json!({"listeners": [{"name": "http", "conditions": conditions}]});
        let observed = listener(json!([
            {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": "t0"},
            {"type": "OverlappingTLSConfig", "status": "True", "lastTransitionTime": "t0"},
            {"type": "example.com/Checked", "status": "True", "lastTransitionTime": "t0"},
        ]));
        let ours = listener(json!([condition("Accepted", "True", "Accepted")]));
        let merged = |observed: &Value| merged(Kind::Gateway, observed, &ours, "t1");
        let first = merged(&observed).unwrap();
        let conditions = first["listeners"][0]["conditions"].as_array().unwrap();
        let types: Vec<_> = conditions.iter().map(|c| c["type"].clone()).collect();
        assert_eq!(types, ["Accepted", "example.com/Checked"]);
        assert_eq!(conditions[0]["lastTransitionTime"], "t0");
        assert_eq!(merged(&first), None);
    }

    #[test]
    fn what_waits_for_proxies_after_being_programmed_is_seen() {
        let status = |status: &str, reason: &str| json!({"parents": [{"conditions": [condition("isthmus.dev/Programmed", status, reason)]}]});
        let done = status("True", "Programmed");
        assert!(demoted(&done, &status("False", "Pending")));
        assert!(!demoted(&done, &status("False", "Invalid")));
        assert!(!demoted(&status("False", "Pending"), &status("False", "Pending")));
    }
}
