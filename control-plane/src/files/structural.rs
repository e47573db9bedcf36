//! Objects of our own kinds against the schema of their CRD: structure, then CEL rules.
//!
//! What an API server does for them, in its order: defaults, structure, rules. Fields that the schema
//! does not have are refused, as kubectl does by default. What the evaluator of rules lacks is an error:
//! a rule is never skipped.

use isthmus_gateway::schema::FieldError;
use kube::core::cel::{Validator, apply_defaults};
use serde_json::Value;

/// Leaves out nulls where the schema has none, and fills in its defaults.
pub fn default(schema: &Value, object: &mut Value) {
    prune(schema, object);
    // What is filled in may have defaults of its own.
    loop {
        let filled = apply_defaults(schema, object);
        if filled == *object {
            return;
        }
        *object = filled;
    }
}

/// Leaves out the nulls of mappings where the schema does not allow them.
fn prune(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let of = |name: &str| schema["properties"].get(name).or(schema.get("additionalProperties"));
            fields.retain(|name, value| {
                !value.is_null() || of(name).is_none_or(|schema| schema["nullable"] == true)
            });
            for (name, value) in fields {
                if let Some(schema) = of(name) {
                    prune(schema, value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(&schema["items"], item)),
        _ => {}
    }
}

/// The object without any null: rules are not asked about what is null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            there.map(|(name, value)| (name.clone(), without_nulls(value))).collect()
        }
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Everything that is wrong with an object after [`default`]; `old` is the version in force.
pub fn validate(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    structure("", schema, object, &mut errors);
    if errors.is_empty()
        && let Err(broken) = Validator::new().validate(schema, &without_nulls(object), old)
    {
        let rule = |error: &kube::core::cel::ValidationError| FieldError {
            path: error.field_path.clone(),
            message: error.message.clone(),
        };
        errors.extend(broken.as_slice().iter().map(rule));
    }
    errors
}

fn structure(path: &str, schema: &Value, value: &Value, errors: &mut Vec<FieldError>) {
    let mut wrong = |message: String| errors.push(FieldError { path: path.to_owned(), message });
    if value.is_null() {
        // An enumeration does not have null unless it says so, whatever else may be null.
        let allowed = schema["enum"].as_array().filter(|allowed| !allowed.contains(value));
        if schema["nullable"] != true {
            wrong("must not be null".to_owned());
        } else if let Some(allowed) = allowed {
            wrong(not_one_of(value, allowed));
        }
        return;
    }
    if let Some(expected) = schema["type"].as_str()
        && !is_type(expected, value)
    {
        return wrong(format!("must be {} but is {}", article(expected), type_of(value)));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        wrong(not_one_of(value, allowed));
    }
    match value {
        Value::String(text) => self::text(schema, text, &mut wrong),
        Value::Number(number) => self::number(schema, number.as_f64(), &mut wrong),
        Value::Array(items) => sequence(path, schema, items, errors),
        Value::Object(fields) => mapping(path, schema, fields, errors),
        _ => {}
    }
}

fn not_one_of(value: &Value, allowed: &[Value]) -> String {
    let allowed: Vec<String> = allowed.iter().filter(|v| !v.is_null()).map(plain).collect();
    format!("{} is not one of {}", plain(value), allowed.join(", "))
}

fn text(schema: &Value, text: &str, wrong: &mut dyn FnMut(String)) {
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        wrong(format!("is longer than {most} characters"));
    }
    if let Some(least) = schema["minLength"].as_u64().filter(|least| length < *least) {
        wrong(format!("is shorter than {least} characters"));
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match(text) => {}
            Ok(_) => wrong(format!("{text:?} does not match {pattern}")),
            Err(error) => wrong(format!("its pattern cannot be read: {error}")),
        }
    }
}

fn number(schema: &Value, number: Option<f64>, wrong: &mut dyn FnMut(String)) {
    let Some(number) = number else { return };
    let of_32_bits = f64::from(i32::MIN)..=f64::from(i32::MAX);
    if schema["format"] == "int32" && !of_32_bits.contains(&number) {
        wrong("is not an integer of 32 bits".to_owned());
    }
    if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
        wrong(format!("is greater than {most}"));
    }
    if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
        wrong(format!("is less than {least}"));
    }
}

fn sequence(path: &str, schema: &Value, items: &[Value], errors: &mut Vec<FieldError>) {
    let mut wrong = |message: String| errors.push(FieldError { path: path.to_owned(), message });
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| items.len() as u64 > *most) {
        wrong(format!("has more than {most} items"));
    }
    if let Some(least) = schema["minItems"].as_u64().filter(|least| (items.len() as u64) < *least) {
        wrong(format!("has fewer than {least} items"));
    }
    for (index, item) in items.iter().enumerate() {
        structure(&format!("{path}[{index}]"), &schema["items"], item, errors);
    }
}

fn mapping(
    path: &str,
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
    errors: &mut Vec<FieldError>,
) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            errors.push(FieldError { path: under(name), message: "is required".to_owned() });
        }
    }
    for (name, value) in fields {
        let standard = path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            _ if standard => {}
            (Some(property), _) => structure(&under(name), property, value, errors),
            (None, Some(any)) if any.is_object() => structure(&under(name), any, value, errors),
            (None, None) if schema["properties"].is_object() => {
                let known = schema["properties"].as_object().into_iter().flatten();
                let known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
                let message = format!("is not a field here; the fields are {}", known.join(", "));
                errors.push(FieldError { path: under(name), message });
            }
            _ => {}
        }
    }
}

fn is_type(expected: &str, value: &Value) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn article(kind: &str) -> String {
    match kind {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "string" => "a text (put it in quotes)".to_owned(),
        other => format!("a {other}"),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{default, validate};

    fn check(spec: &Value, expected: &Expect) {
        let definitions = isthmus_crds::definitions();
        let install = definitions.iter().find(|d| d.resource.kind == "MeshInstall").unwrap();
        let mut object = json!({"apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshInstall",
            "metadata": {"name": "mesh"}, "spec": spec});
        default(&install.schema, &mut object);
        let errors = validate(&install.schema, &object, None);
        let shown = match errors.as_slice() {
            [] => object["spec"].to_string(),
            errors => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn i3_defaults_come_before_rules() {
        for nothing in [json!({}), json!(null)] {
            check(
                &nothing,
                &expect![[
                    r#"{"cluster":{"id":"local","locality":{}},"controlPlane":{"resources":{"limits":{},"requests":{}}},"defaults":{"serviceScope":"Cluster"},"dns":{"port":15353},"drift":"Repair","gateways":{"eastWest":{"enabled":true,"port":15443}},"proxy":{"accessLog":false,"resources":{"limits":{},"requests":{}}},"upgrade":{"rollback":true,"timeoutSeconds":300}}"#
                ]],
            );
        }
        check(
            &json!({"gateways": {"eastWest": {"port": 1}}}),
            &expect![[
                r#"{"cluster":{"id":"local","locality":{}},"controlPlane":{"resources":{"limits":{},"requests":{}}},"defaults":{"serviceScope":"Cluster"},"dns":{"port":15353},"drift":"Repair","gateways":{"eastWest":{"enabled":true,"port":1}},"proxy":{"accessLog":false,"resources":{"limits":{},"requests":{}}},"upgrade":{"rollback":true,"timeoutSeconds":300}}"#
            ]],
        );
    }

    #[test]
    fn i3_what_the_schema_does_not_allow_is_refused() {
        check(
            &json!({
                "cluster": {"id": "East_1", "network": 7, "zone": "a"},
                "gateways": {"eastWest": {"port": 70000, "advertise": "x"}},
                "proxy": {"threads": 0, "accessLog": "no"},
                "defaults": {"serviceScope": "World"},
                "dns": [],
            }),
            &expect![[r#"
                spec.cluster.id "East_1" does not match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
                spec.cluster.network must be a text (put it in quotes) but is a number
                spec.cluster.zone is not a field here; the fields are id, locality, network, trustDomain
                spec.defaults.serviceScope World is not one of Cluster, ClusterSet
                spec.dns must be a mapping but is a list
                spec.gateways.eastWest.advertise must be a list but is a text
                spec.gateways.eastWest.port is greater than 65535
                spec.proxy.accessLog must be a boolean but is a text
                spec.proxy.threads is less than 1"#]],
        );
        check(
            &json!({"dns": {"address": "localhost"}}),
            &expect!["spec.dns.address must be an IP address"],
        );
    }
}
