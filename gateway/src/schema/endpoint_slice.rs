//! `EndpointSlice` of `discovery.k8s.io/v1`.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    FieldError,
    core::port_name,
    metadata::{API_VERSION, KIND, METADATA},
    shape::{Field, Object, Shape, items, text, unique, wrong},
    text as texts,
};

pub(super) static ENDPOINT_SLICE: Object = Object {
    fields: &[
        API_VERSION,
        KIND,
        METADATA,
        Field::required("addressType", Shape::OneOf(&["IPv4", "IPv6", "FQDN"])),
        Field::optional("endpoints", Shape::List(0, 1000, &Shape::Object(&ENDPOINT), &[])),
        Field::optional("ports", Shape::List(0, 20_000, &Shape::Object(&PORT), &[port_names])),
    ],
    rules: &[addresses],
};

static ENDPOINT: Object = Object {
    fields: &[
        Field::required("addresses", Shape::List(1, 100, &ADDRESS, &[])),
        Field::optional(
            "conditions",
            Shape::Object(&Object {
                fields: &[
                    Field::optional("ready", Shape::Flag),
                    Field::optional("serving", Shape::Flag),
                    Field::optional("terminating", Shape::Flag),
                ],
                rules: &[],
            }),
        ),
        Field::optional("zone", Shape::Text(0, 63, texts::label_value)),
        Field::optional("hostname", Shape::Text(0, 63, texts::label)),
        Field::optional("nodeName", Shape::Text(0, 253, texts::any)),
        Field::optional("deprecatedTopology", Shape::Anything),
        Field::optional("hints", Shape::Anything),
        Field::optional("targetRef", Shape::Anything),
    ],
    rules: &[],
};

static ADDRESS: Shape = Shape::Text(1, 253, texts::any);

static PORT: Object = Object {
    fields: &[
        Field::defaulted("name", Shape::Text(0, 63, port_name), r#""""#),
        Field::defaulted("protocol", Shape::OneOf(&["TCP", "UDP", "SCTP"]), r#""TCP""#),
        Field::optional("port", Shape::Number(1, 65535)),
        Field::optional("appProtocol", Shape::Text(1, 317, texts::label_key)),
    ],
    rules: &[],
};

fn port_names(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let name = |p: &Value| text(p, "name").map(str::to_owned);
    unique(value, path, errors, name, "has the name of an earlier port");
}

/// Addresses are of the family that the slice declares, and such as the API server takes; but for
/// loopback ones.
fn addresses(value: &Value, _: &str, errors: &mut Vec<FieldError>) {
    let kind = text(value, "addressType").unwrap_or_default();
    for (index, endpoint) in items(value, "endpoints").iter().enumerate() {
        for (number, address) in items(endpoint, "addresses").iter().enumerate() {
            let path = format!("endpoints[{index}].addresses[{number}]");
            if let Some(why) = address.as_str().and_then(|a| refusal(kind, a)) {
                wrong(errors, &path, why);
            }
        }
    }
}

fn refusal(kind: &str, text: &str) -> Option<&'static str> {
    match (kind, text.parse::<IpAddr>()) {
        ("IPv4", Ok(IpAddr::V4(ip))) if ip.is_unspecified() => Some("must not be 0.0.0.0"),
        ("IPv4", Ok(IpAddr::V4(ip))) if ip.is_link_local() => Some("must not be a link-local address"),
        ("IPv4", Ok(IpAddr::V4(ip))) if ip.is_multicast() => Some("must not be a multicast address"),
        ("IPv6", Ok(IpAddr::V6(ip))) if ip.is_unspecified() => Some("must not be ::"),
        ("IPv6", Ok(IpAddr::V6(ip))) if ip.is_unicast_link_local() => {
            Some("must not be a link-local address")
        }
        ("IPv6", Ok(IpAddr::V6(ip))) if ip.is_multicast() => Some("must not be a multicast address"),
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => None,
        ("IPv4", _) => Some("must be an IPv4 address, as addressType says"),
        ("IPv6", _) => Some("must be an IPv6 address, as addressType says"),
        _ => texts::subdomain(text).err(),
    }
}
