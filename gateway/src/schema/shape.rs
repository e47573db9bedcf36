//! What an object may look like, as data, and the two walks over it: defaults and errors.

use serde_json::{Map, Value};

use super::{FieldError, text as texts};
use crate::lexical::Check;

/// An object with named fields.
pub(super) struct Object {
    pub(super) fields: &'static [Field],
    /// Asked when every field is well-formed.
    pub(super) rules: &'static [Rule],
}

/// A field of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// JSON.
    default: Option<&'static str>,
    /// Whether an empty text gets the default too, in a type that the API server was built with.
    even_empty: bool,
}

/// What a value may be.
pub(super) enum Shape {
    /// Text of so many characters that passes the check.
    Text(usize, usize, fn(&str) -> Check),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A whole number in this range.
    Number(i64, i64),
    /// One of these numbers.
    OneNumberOf(&'static [i64]),
    /// True or false.
    Flag,
    /// An object.
    Object(&'static Object),
    /// An object of a type that the API server was built with, for all that is in it: there null means what
    /// is empty.
    Native(&'static Object),
    /// A list of so many, with rules about the whole.
    List(usize, usize, &'static Shape, &'static [Rule]),
    /// Any keys that pass the check, at most so many, and what they hold.
    Map(usize, fn(&str) -> Check, &'static Shape),
    /// A number of a port, or a name.
    PortOrName,
    /// Not looked into.
    Anything,
}

/// A rule over a value that is well-formed: tells what is wrong, by path.
pub(super) type Rule = fn(&Value, &str, &mut Vec<FieldError>);

impl Field {
    pub(super) const fn optional(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, required: false, default: None, even_empty: false }
    }

    pub(super) const fn required(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, required: true, default: None, even_empty: false }
    }

    pub(super) const fn defaulted(name: &'static str, shape: Shape, default: &'static str) -> Self {
        Self { name, shape, required: false, default: Some(default), even_empty: true }
    }

    /// One that is empty when it is said to be.
    pub(super) const fn pointer(name: &'static str, shape: Shape, default: &'static str) -> Self {
        Self { name, shape, required: false, default: Some(default), even_empty: false }
    }
}

impl Object {
    /// Drops nulls and fills in defaults, parents first; `native` as in [`Shape::Native`].
    pub(super) fn default(&self, value: &mut Value, native: bool) {
        let Some(map) = value.as_object_mut() else { return };
        map.retain(|_, v| !v.is_null());
        for field in self.fields {
            let absent =
                map.get(field.name).is_none_or(|value| native && field.even_empty && *value == "");
            if let Some(default) = field.default
                && absent
            {
                map.insert(field.name.to_owned(), serde_json::from_str(default).unwrap_or_default());
            }
            if let Some(value) = map.get_mut(field.name) {
                field.shape.default(value, native);
            }
        }
    }

    /// Adds everything that is wrong with `value`, which is at `path`.
    pub(super) fn validate(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        let Some(map) = value.as_object() else {
            return wrong(errors, path, "must be an object");
        };
        let before = errors.len();
        for key in map.keys().filter(|key| !self.fields.iter().any(|f| f.name == **key)) {
            wrong(errors, &join(path, key), &self.unknown(key));
        }
        for field in self.fields {
            let path = join(path, field.name);
            match map.get(field.name) {
                Some(value) => field.shape.validate(value, &path, errors),
                None if field.required => wrong(errors, &path, "is required"),
                None => {}
            }
        }
        ask(self.rules, value, path, errors, before);
    }

    fn unknown(&self, key: &str) -> String {
        let near = self.fields.iter().map(|f| f.name).find(|name| near(name, key));
        match near {
            Some(name) => format!("is no field of this kind; did you mean {name}?"),
            None => "is no field of this kind".to_owned(),
        }
    }
}

impl Shape {
    fn default(&self, value: &mut Value, native: bool) {
        match (self, value) {
            (Self::Object(object), value) => object.default(value, native),
            (Self::Native(object), value) => object.default(value, true),
            (Self::List(_, _, item, _), Value::Array(items)) => {
                for value in items {
                    if native && value.is_null() {
                        *value = item.empty();
                    }
                    item.default(value, native);
                }
            }
            (Self::Map(_, _, item), Value::Object(map)) => {
                map.retain(|_, value| native || !value.is_null());
                for (_, value) in map {
                    if value.is_null() {
                        *value = item.empty();
                    }
                    item.default(value, native);
                }
            }
            _ => {}
        }
    }

    /// What null stands for.
    fn empty(&self) -> Value {
        match self {
            Self::Text(..) => "".into(),
            Self::Object(_) => Map::new().into(),
            _ => Value::Null,
        }
    }

    fn validate(&self, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
        match self {
            Self::Text(min, max, check) => match value.as_str() {
                Some(text) => length(text, *min, *max).or_else(|| check(text).err().map(str::to_owned)),
                None => Some("must be text".to_owned()),
            },
            Self::OneOf(texts) => (!value.as_str().is_some_and(|t| texts.contains(&t)))
                .then(|| format!("must be one of {}", texts.join(", "))),
            Self::Number(min, max) => (!value.as_i64().is_some_and(|n| (*min..=*max).contains(&n)))
                .then(|| format!("must be a whole number from {min} to {max}")),
            Self::OneNumberOf(numbers) => (!value.as_i64().is_some_and(|n| numbers.contains(&n)))
                .then(|| format!("must be one of {numbers:?}")),
            Self::Flag => (!value.is_boolean()).then(|| "must be true or false".to_owned()),
            Self::Anything => None,
            Self::PortOrName => port_or_name(value),
            Self::Object(object) | Self::Native(object) => return object.validate(value, path, errors),
            Self::List(min, max, item, rules) => {
                return list(value, (*min, *max), item, rules, path, errors);
            }
            Self::Map(max, key, item) => return map(value, *max, *key, item, path, errors),
        }
        .into_iter()
        .for_each(|message| wrong(errors, path, &message));
    }
}

fn port_or_name(value: &Value) -> Option<String> {
    let fits = match value {
        Value::String(name) => texts::service_name(name).is_ok(),
        number => number.as_i64().is_some_and(|number| (1..=65535).contains(&number)),
    };
    (!fits).then(|| "must be a whole number from 1 to 65535, or the name of a port".to_owned())
}

fn length(text: &str, min: usize, max: usize) -> Option<String> {
    match text.chars().count() {
        n if n < min => Some("must not be empty".to_owned()),
        n if n > max => Some(format!("has {n} characters; {max} are allowed")),
        _ => None,
    }
}

fn list(
    value: &Value,
    (min, max): (usize, usize),
    item: &Shape,
    rules: &[Rule],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(items) = value.as_array() else { return wrong(errors, path, "must be a list") };
    let before = errors.len();
    if items.len() < min {
        wrong(errors, path, &format!("must have at least {min} item"));
    }
    if items.len() > max {
        wrong(errors, path, &format!("has {} items; {max} are allowed", items.len()));
    }
    for (index, value) in items.iter().enumerate() {
        item.validate(value, &format!("{path}[{index}]"), errors);
    }
    ask(rules, value, path, errors, before);
}

fn map(
    value: &Value,
    max: usize,
    check: fn(&str) -> Check,
    item: &Shape,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let Some(map) = value.as_object() else { return wrong(errors, path, "must be an object") };
    if map.len() > max {
        wrong(errors, path, &format!("has {} entries; {max} are allowed", map.len()));
    }
    for (key, value) in map {
        let path = format!("{path}[{key}]");
        if let Err(why) = check(key) {
            wrong(errors, &path, &format!("has an invalid key: it {why}"));
        }
        item.validate(value, &path, errors);
    }
}

fn ask(rules: &[Rule], value: &Value, path: &str, errors: &mut Vec<FieldError>, before: usize) {
    if errors.len() == before {
        for rule in rules {
            rule(value, path, errors);
        }
    }
}

/// Whether `key` is `name` with other capitals, or with one letter too many or too few.
fn near(name: &str, key: &str) -> bool {
    let (name, key) = (name.to_ascii_lowercase(), key.to_ascii_lowercase());
    let shorter = |long: &str, short: &str| {
        long.len() == short.len() + 1
            && (0..long.len()).any(|i| {
                let cut = |range: std::ops::Range<usize>| long.get(range).unwrap_or_default();
                short == format!("{}{}", cut(0..i), cut(i + 1..long.len()))
            })
    };
    name == key || shorter(&name, &key) || shorter(&key, &name)
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

pub(super) fn wrong(errors: &mut Vec<FieldError>, path: &str, message: &str) {
    errors.push(FieldError { path: path.to_owned(), message: message.to_owned() });
}

/// The items of list `name` of an object; none when it is absent.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Field `name` of an object, as text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// The fields of an object; none for other values.
pub(super) fn fields(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}

/// Tells of items of which an earlier one has the same key.
pub(super) fn unique<K: PartialEq>(
    items: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
    key: impl Fn(&Value) -> Option<K>,
    message: &str,
) {
    let mut seen = Vec::new();
    for (index, item) in items.as_array().into_iter().flatten().enumerate() {
        match key(item) {
            Some(key) if seen.contains(&key) => wrong(errors, &format!("{path}[{index}]"), message),
            Some(key) => seen.push(key),
            None => {}
        }
    }
}
