//! References between objects, and ReferenceGrant.

use serde_json::Value;

use super::{
    FieldError,
    metadata::{API_VERSION, KIND, METADATA, STATUS},
    shape::{Field, Object, Shape, text, wrong},
    text as texts,
};
use crate::GROUP;

pub(super) const fn group(required: bool, default: Option<&'static str>) -> Field {
    let shape = Shape::Text(0, 253, texts::group);
    match default {
        Some(json) => Field::defaulted("group", shape, json),
        None if required => Field::required("group", shape),
        None => Field::optional("group", shape),
    }
}

pub(super) const fn kind(default: Option<&'static str>) -> Field {
    let shape = Shape::Text(1, 63, texts::kind);
    match default {
        Some(json) => Field::defaulted("kind", shape, json),
        None => Field::required("kind", shape),
    }
}

pub(super) const NAME: Field = Field::required("name", Shape::Text(1, 253, texts::any));
pub(super) const NAMESPACE: Field = Field::optional("namespace", Shape::Text(1, 63, texts::label));
pub(super) const PORT: Field = Field::optional("port", Shape::Number(1, 65535));

/// A section of a Gateway or a rule of a route.
pub(super) const fn section(name: &'static str) -> Field {
    Field::optional(name, Shape::Text(1, 253, texts::subdomain))
}

/// `LocalObjectReference`, and `LocalParametersReference`.
pub(super) static LOCAL: Object = Object { fields: &[group(true, None), kind(None), NAME], rules: &[] };

/// `ObjectReference`, and `ParametersReference`.
pub(super) static OBJECT: Object =
    Object { fields: &[group(true, None), kind(None), NAME, NAMESPACE], rules: &[] };

/// `SecretObjectReference`.
pub(super) static SECRET: Object = Object {
    fields: &[group(false, Some(r#""""#)), kind(Some(r#""Secret""#)), NAME, NAMESPACE],
    rules: &[],
};

/// `BackendObjectReference`.
pub(super) static BACKEND: Object = Object {
    fields: &[group(false, Some(r#""""#)), kind(Some(r#""Service""#)), NAME, NAMESPACE, PORT],
    rules: &[port_of_service],
};

/// A Service is nothing to send to without a port.
pub(super) fn port_of_service(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let group = text(value, "group").unwrap_or_default();
    let kind = text(value, "kind").unwrap_or("Service");
    if group.is_empty() && kind == "Service" && value.get("port").is_none() {
        wrong(errors, &format!("{path}.port"), "is required for a reference to a Service");
    }
    if group == "gateway.networking.x-k8s.io" && kind == "XBackend" && value.get("port").is_some() {
        wrong(errors, &format!("{path}.port"), "must not be set for a reference to an XBackend");
    }
}

/// `ParentReference`.
static PARENT: Shape = Shape::Object(&Object {
    fields: &[
        group(false, Some(r#""gateway.networking.k8s.io""#)),
        kind(Some(r#""Gateway""#)),
        NAME,
        NAMESPACE,
        section("sectionName"),
        PORT,
    ],
    rules: &[],
});

/// `spec.parentRefs`.
pub(super) const PARENTS: Field =
    Field::optional("parentRefs", Shape::List(0, 32, &PARENT, &[distinct]));

/// References to one parent must all say which part of it they mean, each another.
fn distinct(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let parent = |r: &Value| {
        let part = |name| text(r, name).unwrap_or_default().to_owned();
        let group = text(r, "group").unwrap_or(GROUP).to_owned();
        (group, text(r, "kind").unwrap_or("Gateway").to_owned(), part("namespace"), part("name"))
    };
    let section = |r: &Value| text(r, "sectionName").map(str::to_owned);
    let port = |r: &Value| r.get("port").and_then(Value::as_i64);
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    for (index, this) in all.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let others = || all.iter().take(index).filter(|other| parent(other) == parent(this));
        if others().any(|o| section(o) == section(this) && port(o) == port(this)) {
            wrong(errors, &path, "refers to the same parent, sectionName and port as an earlier one");
        } else if others().any(|o| {
            section(o).is_some() != section(this).is_some() || port(o).is_some() != port(this).is_some()
        }) {
            wrong(
                errors,
                &path,
                "must set sectionName and port just as other references to the same parent do",
            );
        }
    }
}

static FROM: Shape = Shape::Object(&Object {
    fields: &[
        group(true, None),
        kind(None),
        Field::required("namespace", Shape::Text(1, 63, texts::label)),
    ],
    rules: &[],
});

static TO: Shape = Shape::Object(&Object {
    fields: &[group(true, None), kind(None), Field::optional("name", Shape::Text(1, 253, texts::any))],
    rules: &[],
});

pub(super) static REFERENCE_GRANT: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        STATUS,
        Field::required(
            "spec",
            Shape::Object(&Object {
                fields: &[
                    Field::required("from", Shape::List(1, 16, &FROM, &[])),
                    Field::required("to", Shape::List(1, 16, &TO, &[])),
                ],
                rules: &[],
            }),
        ),
    ],
    rules: &[],
};
