//! Filters of rules, of backends and of listeners.

use serde_json::Value;

use super::{
    FieldError, path, reference,
    shape::{Field, Object, Shape, fields, items, join, text, unique, wrong},
    text as texts,
};
use crate::lexical::{self, Check};

/// Types of filters and the fields that hold them.
const TYPES: &[(&str, &str)] = &[
    ("CORS", "cors"),
    ("ExtensionRef", "extensionRef"),
    ("ExternalAuth", "externalAuth"),
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("RequestRedirect", "requestRedirect"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("URLRewrite", "urlRewrite"),
];

/// `filters` of a rule or a backend.
pub(super) const FILTERS: Field = Field::optional("filters", Shape::List(0, 16, &ANY, &[repeated]));

static ANY: Shape = Shape::Object(&FILTER);

static FILTER: Object = Object {
    fields: &[
        Field::required(
            "type",
            Shape::OneOf(&[
                "RequestHeaderModifier",
                "ResponseHeaderModifier",
                "RequestMirror",
                "RequestRedirect",
                "URLRewrite",
                "ExtensionRef",
                "CORS",
                "ExternalAuth",
            ]),
        ),
        Field::optional("cors", Shape::Object(&CORS)),
        Field::optional("extensionRef", Shape::Object(&reference::LOCAL)),
        Field::optional("externalAuth", Shape::Object(&EXTERNAL_AUTH)),
        Field::optional("requestHeaderModifier", Shape::Object(&HEADERS)),
        Field::optional("requestMirror", Shape::Object(&MIRROR)),
        Field::optional("requestRedirect", Shape::Object(&REDIRECT)),
        Field::optional("responseHeaderModifier", Shape::Object(&HEADERS)),
        Field::optional("urlRewrite", Shape::Object(&REWRITE)),
    ],
    rules: &[union],
};

/// `ListenerFilters`.
pub(super) static OF_LISTENER: Object = Object {
    fields: &[Field::optional(
        "requests",
        Shape::List(
            0,
            16,
            &Shape::Object(&Object {
                fields: &[
                    Field::required("type", Shape::OneOf(&["ExternalAuth", "ExtensionRef"])),
                    Field::optional("extensionRef", Shape::Object(&reference::LOCAL)),
                    Field::optional("externalAuth", Shape::Object(&EXTERNAL_AUTH)),
                ],
                rules: &[union],
            }),
            &[],
        ),
    )],
    rules: &[],
};

/// The field of the type is set, and no other.
fn union(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kind = text(value, "type").unwrap_or_default();
    for (name, field) in TYPES {
        match (kind == *name, value.get(field).is_some()) {
            (true, false) => wrong(errors, &join(path, field), &format!("is required for type {name}")),
            (false, true) => {
                wrong(errors, &join(path, field), &format!("may be set for type {name} only"));
            }
            _ => {}
        }
    }
}

fn repeated(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kind = |f: &Value| match text(f, "type")? {
        "RequestMirror" | "ExtensionRef" | "ExternalAuth" => None,
        other => Some(other.to_owned()),
    };
    unique(value, path, errors, kind, "has the type of an earlier filter, which may be there once");
    let has =
        |kind| value.as_array().is_some_and(|all| all.iter().any(|f| text(f, "type") == Some(kind)));
    if has("RequestRedirect") && has("URLRewrite") {
        wrong(errors, path, "must not have both RequestRedirect and URLRewrite");
    }
}

static HEADERS: Object = Object {
    fields: &[
        Field::optional("set", Shape::List(0, 16, &HEADER, &[named_once])),
        Field::optional("add", Shape::List(0, 16, &HEADER, &[named_once])),
        Field::optional("remove", Shape::List(0, 16, &NAME, &[once])),
    ],
    rules: &[],
};

static HEADER: Shape = Shape::Object(&Object {
    fields: &[
        Field::required("name", Shape::Text(1, 256, texts::header_name)),
        Field::required("value", Shape::Text(1, 4096, header_value)),
    ],
    rules: &[],
});

static NAME: Shape = Shape::Text(0, 4096, texts::any);

fn header_value(value: &str) -> Check {
    lexical::header_value(value)
}

pub(super) fn named_once(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = |h: &Value| text(h, "name").map(str::to_owned);
    unique(value, path, errors, name, "has the name of an earlier entry");
}

pub(super) fn once(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    unique(value, path, errors, |v| Some(v.clone()), "is there already");
}

static MIRROR: Object = Object {
    fields: &[
        Field::required("backendRef", Shape::Object(&reference::BACKEND)),
        Field::optional("percent", Shape::Number(0, 100)),
        Field::optional(
            "fraction",
            Shape::Object(&Object {
                fields: &[
                    Field::required("numerator", Shape::Number(0, 2_147_483_647)),
                    Field::defaulted("denominator", Shape::Number(1, 2_147_483_647), "100"),
                ],
                rules: &[fraction],
            }),
        ),
    ],
    rules: &[one_share],
};

fn fraction(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let number = |name| value.get(name).and_then(Value::as_i64);
    if number("numerator") > number("denominator") {
        wrong(errors, &join(path, "numerator"), "must not be greater than denominator");
    }
}

fn one_share(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if fields(value).is_some_and(|f| f.contains_key("percent") && f.contains_key("fraction")) {
        wrong(errors, &join(path, "percent"), "must not be set together with fraction");
    }
}

static REDIRECT: Object = Object {
    fields: &[
        Field::optional("scheme", Shape::OneOf(&["http", "https"])),
        Field::optional("hostname", Shape::Text(1, 253, texts::subdomain)),
        Field::optional("path", Shape::Object(&path::MODIFIER)),
        Field::optional("port", Shape::Number(1, 65535)),
        Field::defaulted("statusCode", Shape::OneNumberOf(&[301, 302, 303, 307, 308]), "302"),
    ],
    rules: &[],
};

static REWRITE: Object = Object {
    fields: &[
        Field::optional("hostname", Shape::Text(1, 253, texts::subdomain)),
        Field::optional("path", Shape::Object(&path::MODIFIER)),
    ],
    rules: &[],
};

static CORS: Object = Object {
    fields: &[
        Field::optional("allowOrigins", Shape::List(0, 64, &ORIGIN, &[once, star])),
        Field::optional("allowCredentials", Shape::Flag),
        Field::optional("allowMethods", Shape::List(0, 9, &METHOD, &[once, star])),
        Field::optional("allowHeaders", Shape::List(0, 64, &HEADER_NAME, &[once, star])),
        Field::optional("exposeHeaders", Shape::List(0, 64, &HEADER_NAME, &[once])),
        Field::defaulted("maxAge", Shape::Number(1, 2_147_483_647), "5"),
    ],
    rules: &[],
};

static ORIGIN: Shape = Shape::Text(1, 253, texts::origin);
static HEADER_NAME: Shape = Shape::Text(1, 256, texts::header_name);
static METHOD: Shape =
    Shape::OneOf(&["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]);

fn star(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let all = value.as_array().map_or(&[][..], Vec::as_slice);
    if all.len() > 1 && all.iter().any(|v| v == "*") {
        wrong(errors, path, "must not have '*' beside others");
    }
}

static EXTERNAL_AUTH: Object = Object {
    fields: &[
        Field::required("protocol", Shape::OneOf(&["HTTP", "GRPC"])),
        Field::required("backendRef", Shape::Object(&reference::BACKEND)),
        Field::optional(
            "http",
            Shape::Object(&Object {
                fields: &[
                    Field::optional("path", Shape::Text(0, 1024, auth_path)),
                    Field::optional("allowedHeaders", AUTH_HEADERS),
                    Field::optional("allowedResponseHeaders", AUTH_HEADERS),
                ],
                rules: &[],
            }),
        ),
        Field::optional(
            "grpc",
            Shape::Object(&Object {
                fields: &[Field::optional("allowedHeaders", AUTH_HEADERS)],
                rules: &[],
            }),
        ),
        Field::optional(
            "forwardBody",
            Shape::Object(&Object {
                fields: &[Field::optional("maxSize", Shape::Number(0, 2_147_483_647))],
                rules: &[],
            }),
        ),
    ],
    rules: &[auth],
};

const AUTH_HEADERS: Shape = Shape::List(0, 64, &NAME, &[once]);

fn auth_path(path: &str) -> Check {
    if path.is_empty() { Err("must not be empty") } else { lexical::path_characters(path) }
}

/// The field of the protocol is set, and no other.
fn auth(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (protocol, field) in [("HTTP", "http"), ("GRPC", "grpc")] {
        match (text(value, "protocol") == Some(protocol), value.get(field).is_some()) {
            (true, false) => {
                wrong(errors, &join(path, field), &format!("is required for protocol {protocol}"));
            }
            (false, true) => {
                wrong(errors, &join(path, field), &format!("may be set for protocol {protocol} only"));
            }
            _ => {}
        }
    }
}

/// Whether any filter of `owner`, a rule or a backend, replaces the matched prefix by what `by` names.
pub(super) fn replace_prefix(owner: &Value, by: &str) -> bool {
    items(owner, "filters").iter().any(|filter| path::replaces_prefix(filter, by))
}
