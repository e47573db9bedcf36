//! What an API server says of itself: the schema of each kind, references followed.

use std::collections::{BTreeMap, BTreeSet};

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

    /// Whether a kind is known in this version.
    pub(crate) fn has(&self, version: &str, kind: &str) -> bool {
        self.kinds.contains_key(&(version.to_owned(), kind.to_owned()))
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

    /// The fields of a manifest that hold no fields themselves, and are in its schema: `[]` stands for the
    /// items of a list, `*` for a name that is free.
    pub(crate) fn used(&self, manifest: &Value) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.walk(manifest, self.of(manifest), "", &mut found);
        found
    }

    fn walk(&self, value: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let (schema, free) = self.field(schema, name);
                    self.walk(value, schema, &joined(path, if free { "*" } else { name }), found);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for item in items {
                    self.walk(item, self.items(schema), &format!("{path}[]"), found);
                }
            }
            _ => drop(found.insert(path.to_owned())),
        }
    }

    /// All such fields that a kind's schema has, but what every kind has and what its controllers write.
    pub(crate) fn leaves(&self, version: &str, kind: &str) -> BTreeSet<String> {
        let schema = self.of(&json!({"apiVersion": version, "kind": kind}));
        let mut found = BTreeSet::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if !["apiVersion", "kind", "metadata", "status"].contains(&name.as_str()) {
                self.leaf(property, name, &mut found);
            }
        }
        found
    }

    fn leaf(&self, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        let schema = self.followed(schema);
        if let Some(fields) = schema["properties"].as_object() {
            fields.iter().for_each(|(name, field)| self.leaf(field, &joined(path, name), found));
        } else if schema["additionalProperties"].is_object() {
            self.leaf(&schema["additionalProperties"], &joined(path, "*"), found);
        } else if schema["items"].is_object() {
            self.leaf(&schema["items"], &format!("{path}[]"), found);
        } else {
            found.insert(path.to_owned());
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

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A text that fits a pattern.
fn text(schema: &Value) -> &'static str {
    let pattern = schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok());
    let texts = ["example", "/example", "1s", "example.com", "example.com/a", "https://example.com"];
    let fitting = texts.into_iter().find(|text| pattern.as_ref().is_none_or(|p| p.is_match(text)));
    fitting.unwrap_or("example")
}
