//! Whether an object says what it is to say: every wanted field is there, with the wanted value.
//!
//! Fields that nobody asked for are someone else's (defaults of the API server, other controllers) and
//! are no difference. Entries of lists with a key are found by it, so that an entry which somebody added
//! is none either; other lists are compared whole, and so are the few fields that nobody else may add to.
//! Amounts are compared as amounts: an API server writes `1000m` as `1`.

use std::fmt;

use serde_json::Value;

use crate::quantity;

/// One field that is not as it is to be.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The path of the field, such as `spec.replicas`.
    pub path: String,
    /// What it is to be.
    pub wanted: Value,
    /// What it is; null where it is missing.
    pub found: Value,
}

impl Difference {
    fn new(path: &str, wanted: &Value, found: &Value) -> Self {
        Self { path: path.to_owned(), wanted: wanted.clone(), found: found.clone() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, wanted, found } = self;
        match found {
            Value::Null => write!(f, "{path}: {wanted}, which is missing"),
            found => write!(f, "{path}: {wanted}, not {found}"),
        }
    }
}

/// Where `found` differs from `wanted`, in order of the fields.
pub fn differences(wanted: &Value, found: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(&mut String::new(), wanted, found, &mut all);
    all
}

fn compare(path: &mut String, wanted: &Value, found: &Value, all: &mut Vec<Difference>) {
    match (wanted, found) {
        (Value::Object(fields), Value::Object(_)) => {
            for (name, wanted) in fields {
                let found = found.get(name).unwrap_or(&Value::Null);
                let dot = if path.is_empty() { "" } else { "." };
                within(path, &format!("{dot}{name}"), |path| {
                    let known = all.len();
                    compare(path, wanted, found, all);
                    if known == all.len() && has_more(name, wanted, found) {
                        all.push(Difference::new(path, wanted, found));
                    }
                });
            }
        }
        (Value::Array(wanted), Value::Array(found)) if keyed(wanted) => {
            for entry in wanted {
                let at = found.iter().find(|other| same_entry(entry, other)).unwrap_or(&Value::Null);
                let key = keys(entry).filter_map(|key| entry.get(key)).map(label).collect::<Vec<_>>();
                within(path, &format!("[{}]", key.join(",")), |path| compare(path, entry, at, all));
            }
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => {
            for (index, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                within(path, &format!("[{index}]"), |path| compare(path, wanted, found, all));
            }
        }
        // What is empty and what is missing are one thing: API servers leave out empty fields.
        (wanted, Value::Null) if is_empty(wanted) => {}
        (wanted, found) if equal(wanted, found) => {}
        (wanted, found) => {
            all.push(Difference::new(path, wanted, found));
        }
    }
}

/// Fields that a write replaces as a whole, and in which API servers put no defaults where all is written
/// that has one: what somebody added to them is a difference.
const WHOLE: &[&str] = &["ingress", "labelSelector", "podSelector", "rules", "selector", "subjects"];

/// Whether somebody added something to a field that is to be as it was written.
fn has_more(name: &str, wanted: &Value, found: &Value) -> bool {
    WHOLE.contains(&name) && !differences(found, wanted).is_empty()
}

fn within(path: &mut String, part: &str, compare: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(part);
    compare(path);
    path.truncate(length);
}

/// The fields by which an entry of a list is known, the first group that it has. Ports are known by
/// number and protocol, volume mounts by path, conditions by type.
const KEYS: &[&[&str]] = &[
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["uid"],
    &["name"],
    &["type"],
];

fn keys(entry: &Value) -> impl Iterator<Item = &'static str> {
    let has = |keys: &&&[&str]| keys.first().is_some_and(|key| entry.get(key).is_some());
    KEYS.iter().find(has).into_iter().flat_map(|keys| keys.iter().copied())
}

fn keyed(entries: &[Value]) -> bool {
    !entries.is_empty() && entries.iter().all(|entry| keys(entry).next().is_some())
}

fn same_entry(wanted: &Value, found: &Value) -> bool {
    keys(wanted).all(|key| wanted.get(key).is_none_or(|value| found.get(key) == Some(value)))
}

fn label(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

fn equal(wanted: &Value, found: &Value) -> bool {
    let amounts = || match (wanted.as_str(), found.as_str()) {
        (Some(wanted), Some(found)) => {
            quantity::parse(wanted).is_some_and(|amount| quantity::parse(found) == Some(amount))
        }
        _ => false,
    };
    wanted == found || amounts()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::differences;

    fn check(wanted: &Value, found: &Value, expected: &Expect) {
        let all: Vec<String> = differences(wanted, found).iter().map(ToString::to_string).collect();
        expected.assert_eq(&all.join("\n"));
    }

    #[test]
    fn what_others_add_is_no_difference() {
        check(
            &json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}}),
            &json!({"status": {}, "spec": {"replicas": 1, "paused": false, "template": {"spec": {"containers": [
                {"name": "injected"}, {"name": "a", "image": "i", "terminationMessagePath": "/dev"},
            ]}}}}),
            &expect![[""]],
        );
    }

    #[test]
    fn what_is_other_or_missing_is_named() {
        check(
            &json!({"spec": {"replicas": 1, "args": ["a", "b"], "ports": [{"port": 80, "name": "x"}]}}),
            &json!({"spec": {"replicas": 3, "args": ["a"], "ports": [{"port": 81, "name": "x"}]}}),
            &expect![[r#"
                spec.args: ["a","b"], not ["a"]
                spec.ports[80]: {"name":"x","port":80}, which is missing
                spec.replicas: 1, not 3"#]],
        );
    }

    #[test]
    fn amounts_are_compared_as_amounts() {
        check(
            &json!({"cpu": "1000m", "memory": "1024Mi"}),
            &json!({"cpu": "1", "memory": "1Gi"}),
            &expect![[""]],
        );
        check(&json!({"cpu": "1000m"}), &json!({"cpu": "2"}), &expect![[r#"cpu: "1000m", not "2""#]]);
    }

    #[test]
    fn the_empty_and_the_missing_are_one() {
        check(
            &json!({"spec": {"resources": {"limits": {}}, "list": []}}),
            &json!({"spec": {}}),
            &expect![[""]],
        );
    }
}
