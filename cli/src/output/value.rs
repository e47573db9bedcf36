//! Reading of objects whose shape is not promised: whatever is missing reads as nothing.

use serde_json::Value;

/// The text at `pointer`; empty when there is none.
pub(crate) fn text<'a>(of: &'a Value, pointer: &str) -> &'a str {
    of.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements at `pointer`.
pub(crate) fn list<'a>(of: &'a Value, pointer: &str) -> &'a [Value] {
    of.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A scalar as a table shows it; anything else as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The `status` of condition `kind` in the list at `pointer`.
pub(crate) fn condition<'a>(of: &'a Value, pointer: &str, kind: &str) -> Option<&'a str> {
    let found = list(of, pointer).iter().find(|condition| text(condition, "/type") == kind)?;
    found.get("status").and_then(Value::as_str)
}
