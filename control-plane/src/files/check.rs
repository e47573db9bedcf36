//! Defaults and rules for one object, by its kind.

use isthmus_gateway::schema::{self, FieldError};
use serde_json::Value;

use super::{kinds::FileKind, structural};

/// Fills in defaults.
pub fn default(kind: FileKind, object: &mut Value) {
    match kind {
        FileKind::World(kind) => schema::default(kind.as_str(), object),
        FileKind::Own(definition) => {
            schema::default_metadata(object);
            structural::default(&definition.schema, object);
        }
    }
}

/// Everything that is wrong with an object; `old` is the version of it that is in force.
pub fn validate(kind: FileKind, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    match kind {
        FileKind::World(kind) => schema::validate(kind.as_str(), object),
        FileKind::Own(definition) => {
            let mut errors = schema::validate_metadata(object);
            errors.extend(structural::validate(&definition.schema, object, old));
            errors
        }
    }
}
