//! When conditions last changed (`metav1.Condition.lastTransitionTime`).

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What tells one element of a list of a status from another, by the list's name.
const IDENTITY: &[(&str, &[&str])] = &[
    ("listeners", &["name"]),
    ("parents", &["parentRef", "controllerName"]),
    ("ancestors", &["ancestorRef", "controllerName"]),
];

/// This second, as conditions have it (RFC 3339).
pub(crate) fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// Gives each condition of `status` the time of the same one in `old`, if that had the same status, and
/// `now` otherwise (case F19).
pub(crate) fn stamp(status: &mut Value, old: Option<&Value>, now: &str) {
    let Some(fields) = status.as_object_mut() else { return };
    for (name, value) in fields.iter_mut() {
        let before = old.and_then(|old| old.get(name));
        if name == "conditions" {
            conditions(value, before, now);
        } else if let Some((_, identity)) = IDENTITY.iter().find(|(list, _)| list == name) {
            for element in value.as_array_mut().into_iter().flatten() {
                let same =
                    |other: &&Value| identity.iter().all(|key| other.get(key) == element.get(key));
                let before = before.and_then(Value::as_array).into_iter().flatten().find(same);
                stamp(element, before, now);
            }
        }
    }
}

fn conditions(conditions: &mut Value, old: Option<&Value>, now: &str) {
    for condition in conditions.as_array_mut().into_iter().flatten() {
        let same =
            |other: &&Value| ["type", "status"].iter().all(|key| other.get(key) == condition.get(key));
        let before = old.and_then(Value::as_array).into_iter().flatten().find(same);
        let time = before.and_then(|before| before.get("lastTransitionTime")).cloned();
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), time.unwrap_or_else(|| json!(now)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::stamp;

    fn condition(kind: &str, status: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "message": message})
    }

    fn stamped(mut status: Value, old: &Value, now: &str) -> Value {
        stamp(&mut status, Some(old), now);
        status
    }

    #[test]
    fn f19_times_change_with_the_status_and_not_with_the_message() {
        let first = json!({"conditions": [condition("A", "True", "x"), condition("B", "True", "x")]});
        let first = stamped(first, &Value::Null, "t1");
        let second = json!({"conditions": [condition("B", "False", "x"), condition("A", "True", "y")]});
        let second = stamped(second, &first, "t2");
        assert_eq!(second["conditions"][0]["lastTransitionTime"], "t2");
        assert_eq!(second["conditions"][1]["lastTransitionTime"], "t1");
    }

    #[test]
    fn f19_elements_are_known_by_their_names_and_not_by_their_order() {
        let parent = |name: &str, status: &str| {
            json!({"parentRef": {"name": name}, "controllerName": "c",
                "conditions": [condition("Accepted", status, "")]})
        };
        let listener =
            |name: &str| json!({"name": name, "conditions": [condition("Programmed", "True", "")]});
        let first = json!({"parents": [parent("a", "True"), parent("b", "True")],
            "listeners": [listener("x")]});
        let first = stamped(first, &Value::Null, "t1");
        let second = json!({"parents": [parent("b", "True"), parent("a", "False"), parent("c", "True")],
            "listeners": [listener("y"), listener("x")]});
        let second = stamped(second, &first, "t2");
        let time = |list: &str, index: usize| {
            second[list][index]["conditions"][0]["lastTransitionTime"].as_str().unwrap().to_owned()
        };
        let times = [
            time("parents", 0),
            time("parents", 1),
            time("parents", 2),
            time("listeners", 0),
            time("listeners", 1),
        ];
        assert_eq!(times, ["t1", "t2", "t2", "t2", "t1"]);
    }
}
