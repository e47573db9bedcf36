//! Decoding of one part of an object, with the path of the field that is to blame.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is wrong with an object, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) field: Option<String>,
    pub(super) message: String,
}

/// The path of a field from the object's root, such as `spec.rules[0].matches`.
#[derive(Clone, Debug)]
pub(super) struct Path(String);

impl Path {
    pub(super) fn root(field: &str) -> Self {
        Self(field.to_owned())
    }

    /// Of a list at the root.
    pub(super) fn list(field: &str, index: usize) -> Self {
        Self(format!("{field}[{index}]"))
    }

    pub(super) fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    pub(super) fn item(&self, name: &str, index: usize) -> Self {
        Self(format!("{}.{name}[{index}]", self.0))
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault { field: Some(self.0.clone()), message: message.into() }
    }
}

/// Reads field `name` of `data`; absent and null are none.
pub(super) fn optional<T: DeserializeOwned>(data: &mut Value, name: &str) -> Result<Option<T>, Fault> {
    match data.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => typed(value, name).map(Some),
    }
}

/// Reads field `name` of `data`, which must be there.
pub(super) fn required<T: DeserializeOwned>(data: &mut Value, name: &str) -> Result<T, Fault> {
    optional(data, name)?.ok_or_else(|| Path::root(name).fault("it is required"))
}

fn typed<T: DeserializeOwned>(value: Value, name: &str) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = match path.as_str() {
            "." => name.to_owned(),
            below if below.starts_with('[') => format!("{name}{below}"),
            below => format!("{name}.{below}"),
        };
        Fault { field: Some(field), message: error.into_inner().to_string() }
    })
}

/// A port: 1 to 65535.
pub(super) fn port(number: i32, path: &Path) -> Result<u16, Fault> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| path.fault(format!("{number} is not a port: 1 to 65535")))
}

/// A port that may be left out.
pub(super) fn optional_port(number: Option<i32>, path: &Path) -> Result<Option<u16>, Fault> {
    number.map(|number| port(number, path)).transpose()
}
