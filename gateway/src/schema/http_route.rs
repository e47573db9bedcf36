//! HTTPRoute.

use serde_json::Value;

use super::{
    FieldError, filter,
    metadata::{API_VERSION, KIND, METADATA, STATUS},
    path,
    reference::{self, PARENTS, PORT, port_of_service, section},
    shape::{Field, Object, Shape, items, join, text, unique, wrong},
    text as texts,
};
use crate::lexical::{self, Check};

pub(super) static HTTP_ROUTE: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        STATUS,
        Field::required(
            "spec",
            Shape::Object(&Object {
                fields: &[
                    PARENTS,
                    Field::optional("hostnames", Shape::List(0, 16, &HOSTNAME, &[])),
                    Field::defaulted(
                        "rules",
                        Shape::List(1, 16, &Shape::Object(&RULE), &[names, matches]),
                        r#"[{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]"#,
                    ),
                    Field::optional("useDefaultGateways", Shape::OneOf(&["All", "None"])),
                ],
                rules: &[],
            }),
        ),
    ],
    rules: &[],
};

static HOSTNAME: Shape = Shape::Text(1, 253, texts::hostname);

fn names(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = |r: &Value| text(r, "name").map(str::to_owned);
    unique(value, path, errors, name, "has the name of an earlier rule");
}

fn matches(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let count: usize = value.as_array().into_iter().flatten().map(|r| items(r, "matches").len()).sum();
    if count > 128 {
        wrong(errors, path, &format!("has {count} matches together; 128 are allowed"));
    }
}

static RULE: Object = Object {
    fields: &[
        section("name"),
        Field::defaulted(
            "matches",
            Shape::List(0, 64, &Shape::Object(&MATCH), &[]),
            r#"[{"path": {"type": "PathPrefix", "value": "/"}}]"#,
        ),
        filter::FILTERS,
        Field::optional("backendRefs", Shape::List(0, 16, &Shape::Object(&BACKEND), &[])),
        Field::optional("timeouts", Shape::Object(&TIMEOUTS)),
        Field::optional("retry", Shape::Object(&RETRY)),
        Field::optional("sessionPersistence", Shape::Object(&SESSION_PERSISTENCE)),
    ],
    rules: &[redirect, prefix],
};

fn redirect(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let redirects = items(value, "filters").iter().any(|f| f.get("requestRedirect").is_some());
    if redirects && !items(value, "backendRefs").is_empty() {
        wrong(errors, &join(path, "backendRefs"), "must not be set beside a RequestRedirect filter");
    }
}

/// Only a prefix can be replaced, and only one. As in the definition, backends are asked for it where one
/// alone replaces.
fn prefix(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let replaced = |by: &str| {
        let backends = items(value, "backendRefs").iter();
        filter::replace_prefix(value, by)
            || backends.filter(|b| filter::replace_prefix(b, by)).count() == 1
    };
    if !path::REPLACING.iter().any(|by| replaced(by)) {
        return;
    }
    let kind = match items(value, "matches") {
        [only] => only.get("path").and_then(|p| text(p, "type")),
        _ => None,
    };
    if kind != Some("PathPrefix") {
        let why =
            "must be exactly one, with a path of type PathPrefix, for a filter with replacePrefixMatch";
        wrong(errors, &join(path, "matches"), why);
    }
}

static MATCH: Object = Object {
    fields: &[
        Field::defaulted("path", Shape::Object(&path::MATCH), r#"{"type": "PathPrefix", "value": "/"}"#),
        Field::optional(
            "headers",
            Shape::List(0, 16, &Shape::Object(&HEADER_MATCH), &[filter::named_once]),
        ),
        Field::optional(
            "queryParams",
            Shape::List(0, 16, &Shape::Object(&QUERY_MATCH), &[filter::named_once]),
        ),
        Field::optional(
            "method",
            Shape::OneOf(&[
                "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
            ]),
        ),
    ],
    rules: &[],
};

const MATCH_TYPE: Field =
    Field::defaulted("type", Shape::OneOf(&["Exact", "RegularExpression"]), r#""Exact""#);

static HEADER_MATCH: Object = Object {
    fields: &[
        MATCH_TYPE,
        Field::required("name", Shape::Text(1, 256, texts::header_name)),
        Field::required("value", Shape::Text(1, 4096, header_value)),
    ],
    rules: &[],
};

fn header_value(value: &str) -> Check {
    lexical::header_value(value)
}

static QUERY_MATCH: Object = Object {
    fields: &[
        MATCH_TYPE,
        Field::required("name", Shape::Text(1, 256, texts::header_name)),
        Field::required("value", Shape::Text(1, 1024, texts::any)),
    ],
    rules: &[],
};

static BACKEND: Object = Object {
    fields: &[
        reference::group(false, Some(r#""""#)),
        reference::kind(Some(r#""Service""#)),
        reference::NAME,
        reference::NAMESPACE,
        PORT,
        Field::defaulted("weight", Shape::Number(0, 1_000_000), "1"),
        filter::FILTERS,
    ],
    rules: &[port_of_service],
};

static TIMEOUTS: Object = Object {
    fields: &[
        Field::optional("request", Shape::Text(1, 24, texts::duration)),
        Field::optional("backendRequest", Shape::Text(1, 24, texts::duration)),
    ],
    rules: &[timeouts],
};

fn timeouts(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let length = |name| text(value, name).and_then(texts::parse_duration);
    if let (Some(request), Some(backend)) = (length("request"), length("backendRequest"))
        && !request.is_zero()
        && backend > request
    {
        wrong(errors, &join(path, "backendRequest"), "must not be longer than request");
    }
}

static RETRY: Object = Object {
    fields: &[
        Field::optional("codes", Shape::List(0, 4096, &Shape::Number(400, 599), &[filter::once])),
        Field::defaulted("attempts", Shape::Number(0, i64::MAX), "1"),
        Field::optional("backoff", Shape::Text(1, 24, texts::duration)),
    ],
    rules: &[],
};

static SESSION_PERSISTENCE: Object = Object {
    fields: &[
        Field::defaulted("type", Shape::OneOf(&["Cookie", "Header"]), r#""Cookie""#),
        Field::optional("absoluteTimeout", Shape::Text(1, 24, texts::duration)),
        Field::optional("cookie", Shape::Object(&COOKIE)),
        Field::optional(
            "header",
            Shape::Object(&Object {
                fields: &[Field::required("name", Shape::Text(1, 256, texts::header_name))],
                rules: &[],
            }),
        ),
    ],
    rules: &[session],
};

static COOKIE: Object = Object {
    fields: &[
        Field::defaulted("lifetimeType", Shape::OneOf(&["Permanent", "Session"]), r#""Session""#),
        Field::optional("name", Shape::Text(1, 256, texts::header_name)),
        Field::defaulted("path", Shape::Text(0, 1024, texts::any), r#""/""#),
    ],
    rules: &[],
};

/// The field of the type is set, and no other; and what is permanent has an end.
fn session(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (kind, field) in [("Cookie", "cookie"), ("Header", "header")] {
        match (text(value, "type") == Some(kind), value.get(field).is_some()) {
            (true, false) => wrong(errors, &join(path, field), &format!("is required for type {kind}")),
            (false, true) => {
                wrong(errors, &join(path, field), &format!("may be set for type {kind} only"));
            }
            _ => {}
        }
    }
    let life = value.get("cookie").and_then(|cookie| text(cookie, "lifetimeType"));
    if life == Some("Permanent") && value.get("absoluteTimeout").is_none() {
        wrong(errors, &join(path, "absoluteTimeout"), "is required for a permanent cookie");
    }
}
