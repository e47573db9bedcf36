//! What an API server says of itself: the schema of each kind, references followed.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

/// The schemas of some groups.
#[derive(Default)]
pub(crate) struct Schemas {
    named: Map<String, Value>,
    kinds: BTreeMap<(String, String), String>,
}

impl Schemas {
    /// Takes in a document of `/openapi/v3`.
    pub(crate) fn add(&mut self, document: &Value) {
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            self.named.insert(name.clone(), schema.clone());
            let kinds = schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
            for kind in kinds {
                let text = |field: &str| kind[field].as_str().unwrap_or_default();
                let version = match text("group") {
                    "" => text("version").to_owned(),
                    group => format!("{group}/{}", text("version")),
                };
                self.kinds.insert((version, text("kind").to_owned()), name.clone());
            }
        }
    }

    /// The schema of a manifest's kind; null when it is not known.
    pub(crate) fn of(&self, manifest: &Value) -> &Value {
        let text = |field: &str| manifest[field].as_str().unwrap_or_default().to_owned();
        let name = self.kinds.get(&(text("apiVersion"), text("kind")));
        name.and_then(|name| self.named.get(name)).unwrap_or(&Value::Null)
    }

    /// The schema of a field; and whether its name is free.
    pub(crate) fn field<'a>(&'a self, schema: &'a Value, name: &str) -> (&'a Value, bool) {
        match schema["properties"].get(name) {
            Some(property) => (self.followed(property), false),
            None => (self.followed(&schema["additionalProperties"]), true),
        }
    }

    /// The schema of a list's items.
    pub(crate) fn items<'a>(&'a self, schema: &'a Value) -> &'a Value {
        self.followed(&schema["items"])
    }

    fn followed<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema.get("$ref").or_else(|| schema["allOf"][0].get("$ref"));
        match reference.and_then(Value::as_str).and_then(|name| name.rsplit('/').next()) {
            Some(name) => self.named.get(name).unwrap_or(&Value::Null),
            None => schema,
        }
    }

    /// Something that fits the schema, as far as one can guess.
    pub(crate) fn sample(&self, schema: &Value) -> Value {
        let schema = self.followed(schema);
        if let Some(default) = schema.get("default").filter(|default| **default != json!({})) {
            return default.clone();
        }
        if let Some(first) = schema["enum"][0].as_str() {
            return first.into();
        }
        match schema["type"].as_str() {
            Some("string") => text(schema).into(),
            Some("integer" | "number") => {
                schema["minimum"].as_i64().map_or(1, |least| least.max(1)).into()
            }
            Some("boolean") => true.into(),
            Some("array") => vec![self.sample(&schema["items"])].into(),
            Some("object") if schema["additionalProperties"].is_object() => {
                json!({"a": self.sample(&schema["additionalProperties"])})
            }
            Some("object") => {
                let required = schema["required"].as_array().into_iter().flatten();
                let required = required.filter_map(Value::as_str);
                required
                    .map(|name| (name.to_owned(), self.sample(&schema["properties"][name])))
                    .collect()
            }
            _ => 80.into(),
        }
    }
}

/// A text that fits a pattern.
fn text(schema: &Value) -> &'static str {
    let pattern = schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok());
    let texts = ["example", "/example", "1s", "example.com", "example.com/a", "https://example.com"];
    let fitting = texts.into_iter().find(|text| pattern.as_ref().is_none_or(|p| p.is_match(text)));
    fitting.unwrap_or("example")
}
