//! Defaults and rules for one object, by its kind.

use isthmus_gateway::schema::{self, FieldError};
use serde_json::Value;

use super::{document::timestamp, kinds::FileKind, structural};

/// Fills in defaults.
pub fn default(kind: FileKind, object: &mut Value) {
    match kind {
        FileKind::World(kind) => schema::default(kind.as_str(), object),
        FileKind::Own(definition) => structural::default(&definition.schema, object),
    }
}

/// Everything that is wrong with an object; `old` is the version of it that is in force.
pub fn validate(kind: FileKind, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match kind {
        FileKind::World(kind) => schema::validate(kind.as_str(), object),
        FileKind::Own(definition) => {
            let mut errors = metadata_errors(object);
            errors.extend(structural::validate(&definition.schema, object, old));
            errors
        }
    }
}

/// What is wrong with the metadata of an object of ours; what `gateway` checks for its kinds.
fn metadata_errors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong = |path: String, message: &str| {
        errors.push(FieldError { path, message: message.to_owned() });
    };
    for field in ["labels", "annotations"] {
        let path = format!("metadata.{field}");
        match object.get("metadata").and_then(|metadata| metadata.get(field)) {
            None => {}
            Some(Value::Object(entries)) => {
                for (key, _) in entries.iter().filter(|(_, value)| !value.is_string()) {
                    wrong(format!("{path}[{key}]"), "must be text");
                }
            }
            Some(_) => wrong(path, "must be a mapping"),
        }
    }
    let created = object.pointer("/metadata/creationTimestamp");
    if created.is_some_and(|created| created.as_str().and_then(timestamp).is_none()) {
        wrong("metadata.creationTimestamp".to_owned(), "must be a time such as 2026-01-31T12:00:00Z");
    }
    errors
}
