//! GatewayClass and Gateway.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    FieldError, filter,
    metadata::{API_VERSION, KIND, METADATA, STATUS},
    reference,
    shape::{Field, Object, Shape, items, join, text, unique, wrong},
    text as texts,
};

pub(super) static GATEWAY_CLASS: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        STATUS,
        Field::required(
            "spec",
            Shape::Object(&Object {
                fields: &[
                    Field::required("controllerName", Shape::Text(1, 253, texts::domain_path)),
                    Field::optional("description", Shape::Text(0, 64, texts::any)),
                    Field::optional("parametersRef", Shape::Object(&reference::OBJECT)),
                ],
                rules: &[],
            }),
        ),
    ],
    rules: &[],
};

pub(super) static GATEWAY: Object = Object {
    fields: &[API_VERSION, KIND, METADATA, STATUS, Field::required("spec", Shape::Object(&SPEC))],
    rules: &[],
};

static SPEC: Object = Object {
    fields: &[
        Field::required("gatewayClassName", Shape::Text(1, 253, texts::any)),
        Field::required("listeners", Shape::List(1, 64, &Shape::Object(&LISTENER), &[names, distinct])),
        Field::optional("addresses", Shape::List(0, 16, &Shape::Object(&ADDRESS), &[addresses])),
        Field::optional("allowedListeners", Shape::Object(&ALLOWED_LISTENERS)),
        Field::optional("defaultScope", Shape::OneOf(&["All", "None"])),
        Field::optional("infrastructure", Shape::Object(&INFRASTRUCTURE)),
        Field::optional("tls", Shape::Object(&GATEWAY_TLS)),
    ],
    rules: &[],
};

static LISTENER: Object = Object {
    fields: &[
        Field::required("name", Shape::Text(1, 253, texts::subdomain)),
        Field::optional("hostname", Shape::Text(1, 253, texts::hostname)),
        Field::required("port", Shape::Number(1, 65535)),
        Field::required("protocol", Shape::Text(1, 255, texts::protocol)),
        Field::optional("tls", Shape::Object(&LISTENER_TLS)),
        Field::defaulted(
            "allowedRoutes",
            Shape::Object(&ALLOWED_ROUTES),
            r#"{"namespaces": {"from": "Same"}}"#,
        ),
        Field::optional("filters", Shape::Object(&filter::OF_LISTENER)),
    ],
    rules: &[listener],
};

/// What goes with which protocol.
fn listener(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let protocol = text(value, "protocol").unwrap_or_default();
    let tls = value.get("tls");
    if matches!(protocol, "HTTP" | "TCP" | "UDP") && tls.is_some() {
        wrong(errors, &join(path, "tls"), &format!("must not be set for protocol {protocol}"));
    }
    let mode = tls.and_then(|tls| text(tls, "mode"));
    if protocol == "HTTPS" && mode.is_some_and(|m| m != "Terminate") {
        wrong(errors, &join(path, "tls.mode"), "must be Terminate for protocol HTTPS");
    }
    if protocol == "TLS" && mode.is_none() {
        wrong(errors, &join(path, "tls.mode"), "must be set for protocol TLS");
    }
    if matches!(protocol, "TCP" | "UDP") && value.get("hostname").is_some() {
        wrong(errors, &join(path, "hostname"), &format!("must not be set for protocol {protocol}"));
    }
    if !matches!(protocol, "HTTP" | "HTTPS") && value.get("filters").is_some() {
        wrong(errors, &join(path, "filters"), "may be set for protocols HTTP and HTTPS only");
    }
}

fn names(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = |l: &Value| text(l, "name").map(str::to_owned);
    unique(value, path, errors, name, "has the name of an earlier listener");
}

fn distinct(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let key = |l: &Value| {
        let field = |name| l.get(name).cloned();
        Some((field("port"), field("protocol"), field("hostname")))
    };
    unique(value, path, errors, key, "has the port, protocol and hostname of an earlier listener");
}

static LISTENER_TLS: Object = Object {
    fields: &[
        Field::defaulted("mode", Shape::OneOf(&["Terminate", "Passthrough"]), r#""Terminate""#),
        Field::optional("certificateRefs", Shape::List(0, 64, &Shape::Object(&reference::SECRET), &[])),
        Field::optional("options", Shape::Map(16, texts::any, &OPTION)),
    ],
    rules: &[certificates],
};

static OPTION: Shape = Shape::Text(0, 4096, texts::any);

fn certificates(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let options = value.get("options").and_then(Value::as_object).is_some_and(|o| !o.is_empty());
    if text(value, "mode") == Some("Terminate") && items(value, "certificateRefs").is_empty() && !options
    {
        wrong(errors, &join(path, "certificateRefs"), "is required when mode is Terminate (or options)");
    }
}

static ALLOWED_ROUTES: Object = Object {
    fields: &[
        Field::defaulted(
            "namespaces",
            Shape::Object(&Object {
                fields: &[
                    Field::defaulted("from", Shape::OneOf(&["All", "Selector", "Same"]), r#""Same""#),
                    Field::optional("selector", Shape::Object(&SELECTOR)),
                ],
                rules: &[],
            }),
            r#"{"from": "Same"}"#,
        ),
        Field::optional(
            "kinds",
            Shape::List(
                0,
                8,
                &Shape::Object(&Object {
                    fields: &[
                        reference::group(false, Some(r#""gateway.networking.k8s.io""#)),
                        reference::kind(None),
                    ],
                    rules: &[],
                }),
                &[],
            ),
        ),
    ],
    rules: &[],
};

static SELECTOR: Object = Object {
    fields: &[
        Field::optional("matchLabels", Shape::Map(4096, texts::any, &TEXT)),
        Field::optional(
            "matchExpressions",
            Shape::List(
                0,
                4096,
                &Shape::Object(&Object {
                    fields: &[
                        Field::required("key", Shape::Text(0, 4096, texts::any)),
                        Field::required("operator", Shape::Text(0, 4096, texts::any)),
                        Field::optional("values", Shape::List(0, 4096, &TEXT, &[])),
                    ],
                    rules: &[],
                }),
                &[],
            ),
        ),
    ],
    rules: &[],
};

static TEXT: Shape = Shape::Text(0, 4096, texts::any);

static ALLOWED_LISTENERS: Object = Object {
    fields: &[Field::defaulted(
        "namespaces",
        Shape::Object(&Object {
            fields: &[
                Field::defaulted(
                    "from",
                    Shape::OneOf(&["All", "Selector", "Same", "None"]),
                    r#""None""#,
                ),
                Field::optional("selector", Shape::Object(&SELECTOR)),
            ],
            rules: &[],
        }),
        r#"{"from": "None"}"#,
    )],
    rules: &[],
};

static ADDRESS: Object = Object {
    fields: &[
        Field::defaulted("type", Shape::Text(1, 253, texts::address_type), r#""IPAddress""#),
        Field::optional("value", Shape::Text(0, 253, texts::any)),
        Field::optional("routability", Shape::Text(0, 253, texts::routability)),
    ],
    rules: &[address],
};

fn address(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let Some(address) = text(value, "value") else { return };
    match text(value, "type") {
        Some("IPAddress") if address.parse::<IpAddr>().is_err() => {
            wrong(errors, &join(path, "value"), "must be an IP address");
        }
        Some("Hostname") if texts::hostname(address).is_err() => {
            wrong(errors, &join(path, "value"), "must be a host name");
        }
        _ => {}
    }
}

fn addresses(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let key = |a: &Value| match text(a, "type")? {
        kind @ ("IPAddress" | "Hostname") => Some((kind.to_owned(), text(a, "value")?.to_owned())),
        _ => None,
    };
    unique(value, path, errors, key, "is there already");
}

static INFRASTRUCTURE: Object = Object {
    fields: &[
        Field::optional("labels", Shape::Map(8, texts::label_key, &LABEL_VALUE)),
        Field::optional("annotations", Shape::Map(16, texts::label_key, &OPTION)),
        Field::optional("parametersRef", Shape::Object(&reference::LOCAL)),
    ],
    rules: &[],
};

static LABEL_VALUE: Shape = Shape::Text(0, 63, texts::label_value);

static GATEWAY_TLS: Object = Object {
    fields: &[
        Field::optional(
            "backend",
            Shape::Object(&Object {
                fields: &[Field::optional("clientCertificateRef", Shape::Object(&reference::SECRET))],
                rules: &[],
            }),
        ),
        Field::optional(
            "frontend",
            Shape::Object(&Object {
                fields: &[
                    Field::required("default", Shape::Object(&CLIENTS)),
                    Field::optional(
                        "perPort",
                        Shape::List(0, 64, &Shape::Object(&CLIENTS_OF_PORT), &[ports]),
                    ),
                ],
                rules: &[],
            }),
        ),
    ],
    rules: &[],
};

static CLIENTS: Object = Object {
    fields: &[Field::optional(
        "validation",
        Shape::Object(&Object {
            fields: &[
                Field::required(
                    "caCertificateRefs",
                    Shape::List(1, 16, &Shape::Object(&reference::OBJECT), &[]),
                ),
                Field::defaulted(
                    "mode",
                    Shape::OneOf(&["AllowValidOnly", "AllowInsecureFallback"]),
                    r#""AllowValidOnly""#,
                ),
            ],
            rules: &[],
        }),
    )],
    rules: &[],
};

static CLIENTS_OF_PORT: Object = Object {
    fields: &[
        Field::required("port", Shape::Number(1, 65535)),
        Field::required("tls", Shape::Object(&CLIENTS)),
    ],
    rules: &[],
};

fn ports(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    unique(value, path, errors, |p| p.get("port").cloned(), "has the port of an earlier entry");
}
