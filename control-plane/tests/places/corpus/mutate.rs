//! Mutations of a manifest: each field is left out, of another type, out of range, too long, too many. Which
//! ones there are follows from the manifest and from the schema of its kind, and from nothing else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::openapi::Schemas;

/// Fields that say which object it is, and what nobody may write.
const LEFT_ALONE: &[&str] = &["apiVersion", "kind", "status"];
/// What is said of a mutation that adds a field.
const WITH: &str = "with ";
/// The longest text, and the longest list, that a mutation makes.
const LONGEST: u64 = 5000;
const MOST: u64 = 130;

/// A manifest that was changed in one place.
pub(crate) struct Mutation {
    /// The field: what is in brackets is the type of an item, not its place.
    pub(crate) field: String,
    /// What was done to it.
    pub(crate) what: String,
    pub(crate) manifest: Value,
}

enum Edit {
    Remove,
    Set(Value),
}

enum Step {
    Key(String),
    Index(usize),
}

/// All mutations of a manifest but those that were made of another one of its kind, as `seen` knows.
pub(crate) fn mutations(
    manifest: &Value,
    schemas: &Schemas,
    seen: &mut BTreeSet<String>,
) -> Vec<Mutation> {
    let mut walk = Walk { manifest, schemas, seen, steps: Vec::new(), found: Vec::new() };
    let fields: Vec<_> = manifest.as_object().into_iter().flatten().collect();
    for (name, value) in fields {
        if !LEFT_ALONE.contains(&name.as_str()) {
            let schema = schemas.field(schemas.of(manifest), name).0;
            walk.field(name, value, schema, name);
        }
    }
    walk.found
}

struct Walk<'a> {
    manifest: &'a Value,
    schemas: &'a Schemas,
    seen: &'a mut BTreeSet<String>,
    steps: Vec<Step>,
    found: Vec<Mutation>,
}

impl Walk<'_> {
    fn field(&mut self, name: &str, value: &Value, schema: &Value, path: &str) {
        self.steps.push(Step::Key(name.to_owned()));
        self.value(value, schema, path);
        self.steps.pop();
    }

    fn value(&mut self, value: &Value, schema: &Value, path: &str) {
        let mut edits = vec![("left out".to_owned(), Edit::Remove), set("null", Value::Null)];
        match value {
            Value::String(text) => edits.extend(texts(text, schema)),
            Value::Number(_) => edits.extend(numbers(schema)),
            Value::Bool(_) => edits.extend([set("a text", "true".into()), set("a number", 1.into())]),
            Value::Array(items) => edits.extend(lists(items, schema)),
            Value::Object(_) => edits.extend(self.mappings(value, schema, path)),
            Value::Null => {}
        }
        for (what, edit) in edits {
            self.mutate(path, what, &edit);
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let (schema, free) = self.schemas.field(schema, name);
            let path = format!("{path}.{}", if free { "*" } else { name });
            self.field(name, value, schema, &path);
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            let sort = item["type"].as_str().or_else(|| item["protocol"].as_str()).unwrap_or_default();
            self.steps.push(Step::Index(index));
            self.value(item, self.schemas.items(schema), &format!("{path}[{sort}]"));
            self.steps.pop();
        }
    }

    fn mappings(&self, value: &Value, schema: &Value, path: &str) -> Vec<(String, Edit)> {
        let mut edits =
            vec![set("empty", json!({})), set("a list", json!([])), set("a text", "x".into())];
        let with = |name: &str, added: Value| {
            let mut value = value.clone();
            value[name] = added;
            value
        };
        edits.push(set("an unknown field", with("bogus", 1.into())));
        if path != "metadata" {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let absent = properties.filter(|(name, _)| value.get(name.as_str()).is_none());
            edits.extend(absent.map(|(name, property)| {
                set(&format!("{WITH}{name}"), with(name, self.schemas.sample(property)))
            }));
        }
        edits
    }

    fn mutate(&mut self, field: &str, what: String, edit: &Edit) {
        let kind = self.manifest["kind"].as_str().unwrap_or_default();
        if !self.seen.insert(format!("{kind} {field} {what}")) {
            return;
        }
        let mut manifest = self.manifest.clone();
        apply(&mut manifest, &self.steps, edit);
        let added = what.strip_prefix(WITH).map(|name| format!("{field}.{name}"));
        let field = added.unwrap_or_else(|| field.to_owned());
        self.found.push(Mutation { field, what, manifest });
    }
}

fn set(what: &str, value: Value) -> (String, Edit) {
    (what.to_owned(), Edit::Set(value))
}

fn texts(text: &str, schema: &Value) -> Vec<(String, Edit)> {
    let mut edits = vec![set("a number", 7.into()), set("empty", "".into())];
    edits.extend(["a b", "\u{e9}", "x/y", "*", "a..b", "-a"].map(|text| set(text, text.into())));
    edits.push(set("in upper case", text.to_uppercase().into()));
    for value in schema["enum"].as_array().into_iter().flatten() {
        edits.push(set(&value.to_string(), value.clone()));
    }
    let longest = schema["maxLength"].as_u64().filter(|most| *most <= LONGEST);
    for length in longest.into_iter().flat_map(|most| [most, most + 1]).chain([64, 254]) {
        let length = usize::try_from(length).unwrap();
        let missing = length.saturating_sub(text.chars().count());
        edits.push(set(&format!("of length {length}"), format!("{text}{}", "a".repeat(missing)).into()));
    }
    edits
}

fn numbers(schema: &Value) -> Vec<(String, Edit)> {
    let mut edits = vec![set("a text", "7".into()), set("a fraction", 1.5.into())];
    // Some schemas write their bounds with a fraction of nothing.
    let whole = |bound: &Value| format!("{:.0}", bound.as_f64()?).parse::<i64>().ok();
    let bounds = [&schema["minimum"], &schema["maximum"]].into_iter().filter_map(whole);
    let bounds = bounds.flat_map(|bound| [bound - 1, bound, bound + 1]);
    edits.extend(bounds.chain([0, -1, 65536, 2_147_483_648]).map(|n| set(&n.to_string(), n.into())));
    edits
}

fn lists(items: &[Value], schema: &Value) -> Vec<(String, Edit)> {
    let mut edits =
        vec![set("empty", json!([])), set("a mapping", json!({})), set("a text", "x".into())];
    let Some(first) = items.first() else { return edits };
    let twice: Vec<_> = items.iter().chain([first]).cloned().collect();
    edits.push(set("with the first one twice", twice.into()));
    let with_null: Vec<_> = items.iter().cloned().chain([Value::Null]).collect();
    edits.push(set("with null", with_null.into()));
    let most = schema["maxItems"].as_u64().filter(|most| *most < MOST);
    for count in most.into_iter().flat_map(|most| [most, most + 1]) {
        let many: Vec<_> = (0..count).map(|index| renamed(first, index)).collect();
        edits.push(set(&format!("of {count} items"), many.into()));
    }
    edits
}

/// One of many: its key is another one.
fn renamed(item: &Value, index: u64) -> Value {
    let mut item = item.clone();
    match &mut item {
        Value::String(text) => *text = format!("x{index}.{text}"),
        item => {
            if item["name"].is_string() {
                item["name"] = format!("x{index}").into();
            }
            if item["port"].is_number() {
                item["port"] = (1000 + index).into();
            }
        }
    }
    item
}

fn apply(manifest: &mut Value, steps: &[Step], edit: &Edit) {
    let (last, before) = steps.split_last().unwrap();
    let mut place = manifest;
    for step in before {
        place = match step {
            Step::Key(name) => &mut place[name.as_str()],
            Step::Index(index) => &mut place[*index],
        };
    }
    match (edit, last) {
        (Edit::Set(value), Step::Key(name)) => place[name.as_str()] = value.clone(),
        (Edit::Set(value), Step::Index(index)) => place[*index] = value.clone(),
        (Edit::Remove, Step::Key(name)) => drop(place.as_object_mut().unwrap().remove(name)),
        (Edit::Remove, Step::Index(index)) => drop(place.as_array_mut().unwrap().remove(*index)),
    }
}
