//! BackendTLSPolicy.

use serde_json::Value;

use super::{
    FieldError,
    metadata::{API_VERSION, KIND, METADATA, STATUS},
    reference,
    shape::{Field, Object, Shape, items, join, text, wrong},
    text as texts,
};

pub(super) static BACKEND_TLS_POLICY: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        STATUS,
        Field::required(
            "spec",
            Shape::Object(&Object {
                fields: &[
                    Field::required(
                        "targetRefs",
                        Shape::List(1, 16, &Shape::Object(&TARGET), &[distinct]),
                    ),
                    Field::required("validation", Shape::Object(&VALIDATION)),
                    Field::optional("options", Shape::Map(16, texts::any, &OPTION)),
                ],
                rules: &[],
            }),
        ),
    ],
    rules: &[],
};

static OPTION: Shape = Shape::Text(0, 4096, texts::any);

/// `LocalPolicyTargetReferenceWithSectionName`.
static TARGET: Object = Object {
    fields: &[
        reference::group(true, None),
        reference::kind(None),
        reference::NAME,
        reference::section("sectionName"),
    ],
    rules: &[],
};

/// References to one target must all say which section of it they mean, each another.
fn distinct(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let target = |r: &Value| ["group", "kind", "name"].map(|name| text(r, name).map(str::to_owned));
    let section = |r: &Value| text(r, "sectionName").map(str::to_owned);
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    for (index, this) in all.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let others = || all.iter().take(index).filter(|other| target(other) == target(this));
        if others().any(|other| section(other) == section(this)) {
            wrong(errors, &path, "refers to the same target and sectionName as an earlier one");
        } else if others().any(|other| section(other).is_none() || section(this).is_none()) {
            wrong(errors, &path, "must set sectionName, and so must others with the same target");
        }
    }
}

static VALIDATION: Object = Object {
    fields: &[
        Field::required("hostname", Shape::Text(1, 253, texts::subdomain)),
        Field::optional("caCertificateRefs", Shape::List(0, 8, &Shape::Object(&reference::LOCAL), &[])),
        Field::optional("wellKnownCACertificates", Shape::Text(1, 253, texts::well_known_certificates)),
        Field::optional("subjectAltNames", Shape::List(0, 5, &Shape::Object(&ALTERNATIVE_NAME), &[])),
    ],
    rules: &[certificates],
};

/// What trust is from: one of the two.
fn certificates(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let named = !items(value, "caCertificateRefs").is_empty();
    match (named, value.get("wellKnownCACertificates").is_some()) {
        (true, true) => {
            let why = "must not be set together with caCertificateRefs";
            wrong(errors, &join(path, "wellKnownCACertificates"), why);
        }
        (false, false) => {
            let why = "is required, or wellKnownCACertificates";
            wrong(errors, &join(path, "caCertificateRefs"), why);
        }
        _ => {}
    }
}

/// `SubjectAltName`.
static ALTERNATIVE_NAME: Object = Object {
    fields: &[
        Field::required("type", Shape::OneOf(&["Hostname", "URI"])),
        Field::optional("hostname", Shape::Text(1, 253, texts::hostname)),
        Field::optional("uri", Shape::Text(1, 253, texts::absolute_uri)),
    ],
    rules: &[union],
};

/// The field of the type is set, and no other.
fn union(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (kind, field) in [("Hostname", "hostname"), ("URI", "uri")] {
        match (text(value, "type") == Some(kind), value.get(field).is_some()) {
            (true, false) => wrong(errors, &join(path, field), &format!("is required for type {kind}")),
            (false, true) => {
                wrong(errors, &join(path, field), &format!("may be set for type {kind} only"));
            }
            _ => {}
        }
    }
}
