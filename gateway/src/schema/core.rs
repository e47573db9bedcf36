//! Namespace, Service and Secret, as far as Isthmus reads them; other fields are known by name only.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::{
    FieldError,
    metadata::{API_VERSION, KIND, LABELS, METADATA, STATUS},
    shape::{Field, Object, Shape, items, join, text, unique, wrong},
    text as texts,
};
use crate::lexical::Check;

pub(super) static NAMESPACE: Object = Object {
    fields: &[API_VERSION, KIND, METADATA, STATUS, Field::optional("spec", Shape::Anything)],
    rules: &[],
};

pub(super) static SERVICE: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        STATUS,
        Field::required("spec", Shape::Object(&SERVICE_SPEC)),
    ],
    rules: &[],
};

static SERVICE_SPEC: Object = Object {
    fields: &[
        Field::defaulted(
            "type",
            Shape::OneOf(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
            r#""ClusterIP""#,
        ),
        Field::defaulted("sessionAffinity", Shape::OneOf(&["None", "ClientIP"]), r#""None""#),
        Field::optional(
            "ports",
            Shape::List(0, 4096, &Shape::Object(&SERVICE_PORT), &[port_names, port_numbers]),
        ),
        Field::optional("clusterIP", Shape::Text(0, 64, texts::cluster_ip)),
        Field::optional("externalName", Shape::Text(0, 253, texts::any)),
        Field::optional("allocateLoadBalancerNodePorts", Shape::Anything),
        Field::optional("clusterIPs", Shape::Anything),
        Field::optional("externalIPs", Shape::Anything),
        Field::optional("externalTrafficPolicy", Shape::Anything),
        Field::optional("healthCheckNodePort", Shape::Anything),
        Field::optional("internalTrafficPolicy", Shape::OneOf(&["Cluster", "Local"])),
        Field::optional("ipFamilies", Shape::Anything),
        Field::optional("ipFamilyPolicy", Shape::Anything),
        Field::optional("loadBalancerClass", Shape::Anything),
        Field::optional("loadBalancerIP", Shape::Anything),
        Field::optional("loadBalancerSourceRanges", Shape::Anything),
        Field::optional("publishNotReadyAddresses", Shape::Anything),
        Field::optional("selector", Shape::Map(4096, texts::label_key, &LABELS)),
        Field::optional("sessionAffinityConfig", Shape::Anything),
        Field::optional("trafficDistribution", Shape::Anything),
    ],
    rules: &[service],
};

fn service(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let ports = items(value, "ports").len();
    let named = text(value, "externalName").is_some_and(|name| !name.is_empty());
    match (text(value, "type"), text(value, "clusterIP")) {
        (Some("ExternalName"), _) if !named => {
            wrong(errors, &join(path, "externalName"), "is required for type ExternalName");
        }
        (Some("ExternalName"), _) | (_, Some("None")) => {}
        _ if ports == 0 => wrong(errors, &join(path, "ports"), "is required"),
        _ => {}
    }
    if text(value, "type") == Some("ExternalName")
        && let Some(Err(why)) = text(value, "externalName").filter(|_| named).map(texts::subdomain)
    {
        wrong(errors, &join(path, "externalName"), why);
    }
    if matches!(text(value, "type"), Some("ClusterIP" | "ExternalName")) {
        for (index, port) in items(value, "ports").iter().enumerate() {
            if port.get("nodePort").is_some_and(|port| *port != 0) {
                let path = format!("{path}.ports[{index}].nodePort");
                wrong(errors, &path, "may be set for types NodePort and LoadBalancer only");
            }
        }
    }
}

/// What depends on other fields: where nothing is said, a port leads to the same one of its endpoints.
pub(super) fn default_service(manifest: &mut Value) {
    let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("type").is_some_and(|kind| kind != "ExternalName") {
        spec.entry("internalTrafficPolicy").or_insert_with(|| "Cluster".into());
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let (number, Some(port)) = (port.get("port").cloned(), port.as_object_mut()) else { continue };
        let none = port.get("targetPort").is_none_or(|target| *target == 0 || *target == "");
        if let Some(number) = number.filter(|_| none) {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

static SERVICE_PORT: Object = Object {
    fields: &[
        Field::optional("name", Shape::Text(0, 63, port_name)),
        Field::required("port", Shape::Number(1, 65535)),
        Field::defaulted("protocol", Shape::OneOf(&["TCP", "UDP", "SCTP"]), r#""TCP""#),
        Field::optional("appProtocol", Shape::Text(1, 317, texts::label_key)),
        Field::optional("targetPort", Shape::PortOrName),
        Field::optional("nodePort", Shape::Number(0, 65535)),
    ],
    rules: &[],
};

pub(super) fn port_name(name: &str) -> Check {
    if name.is_empty() { Ok(()) } else { texts::label(name) }
}

fn port_names(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let many = value.as_array().is_some_and(|ports| ports.len() > 1);
    for (index, port) in value.as_array().into_iter().flatten().enumerate() {
        if many && text(port, "name").unwrap_or_default().is_empty() {
            wrong(errors, &format!("{path}[{index}].name"), "is required when there are several ports");
        }
    }
    let name = |p: &Value| text(p, "name").map(str::to_owned);
    unique(value, path, errors, name, "has the name of an earlier port");
}

fn port_numbers(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let key = |p: &Value| Some((p.get("port").cloned(), p.get("protocol").cloned()));
    unique(value, path, errors, key, "has the number and protocol of an earlier port");
}

pub(super) static SECRET: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        Field::defaulted("type", Shape::Text(1, 1_000_000, texts::any), r#""Opaque""#),
        Field::optional("data", Shape::Map(4096, texts::any, &BASE64)),
        Field::optional("stringData", Shape::Map(4096, texts::any, &STRING)),
        Field::optional("immutable", Shape::Flag),
    ],
    rules: &[tls],
};

static BASE64: Shape = Shape::Text(0, 1_500_000, base64);
static STRING: Shape = Shape::Text(0, 1_100_000, texts::any);

/// Line ends are allowed, as the API server's decoder allows them.
fn base64(text: &str) -> Check {
    let bare: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    BASE64_STANDARD
        .decode(bare)
        .map(|_| ())
        .map_err(|_| "must be base64 (use stringData for plain text)")
}

fn tls(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if text(value, "type") != Some("kubernetes.io/tls") {
        return;
    }
    for key in ["tls.crt", "tls.key"] {
        if value.get("data").and_then(|d| d.get(key)).is_none() {
            wrong(
                errors,
                &join(path, &format!("data[{key}]")),
                "is required for type kubernetes.io/tls",
            );
        }
    }
}

/// `stringData` is write-only: it ends up in `data`, and wins there.
pub(super) fn fold_string_data(manifest: &mut Value) {
    let Some(fields) = manifest.as_object_mut() else { return };
    if !fields
        .get("stringData")
        .is_some_and(|s| s.as_object().is_some_and(|s| s.values().all(Value::is_string)))
    {
        return;
    }
    let Some(Value::Object(plain)) = fields.remove("stringData") else { return };
    let data = fields.entry("data").or_insert_with(|| Map::new().into());
    for (key, value) in plain {
        if let (Some(data), Some(text)) = (data.as_object_mut(), value.as_str()) {
            data.insert(key, BASE64_STANDARD.encode(text).into());
        }
    }
}
