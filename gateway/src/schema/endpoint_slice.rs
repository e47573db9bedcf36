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
        Field::defaulted(
            "conditions",
            Shape::Object(&Object {
                fields: &[
                    Field::optional("ready", Shape::Flag),
                    Field::optional("serving", Shape::Flag),
                    Field::optional("terminating", Shape::Flag),
                ],
                rules: &[],
            }),
            "{}",
        ),
        Field::optional("zone", Shape::Text(0, 1_000_000, texts::any)),
        Field::optional("hostname", Shape::Text(0, 63, texts::label)),
        Field::optional("nodeName", Shape::Text(1, 253, texts::subdomain)),
        Field::optional("deprecatedTopology", Shape::Anything),
        Field::optional("hints", Shape::Anything),
        Field::optional("targetRef", Shape::Object(&TARGET)),
    ],
    rules: &[],
};

static TARGET: Object = Object {
    fields: &[
        Field::optional("apiVersion", ANY),
        Field::optional("kind", ANY),
        Field::optional("namespace", ANY),
        Field::optional("name", ANY),
        Field::optional("uid", ANY),
        Field::optional("resourceVersion", ANY),
        Field::optional("fieldPath", ANY),
    ],
    rules: &[],
};

const ANY: Shape = Shape::Text(0, 1_000_000, texts::any);

static ADDRESS: Shape = Shape::Text(1, 253, texts::any);

static PORT: Object = Object {
    fields: &[
        Field::defaulted("name", Shape::Text(0, 63, port_name), r#""""#),
        Field::pointer("protocol", Shape::OneOf(&["TCP", "UDP", "SCTP"]), r#""TCP""#),
        // What is no port is told when it is read, in both places.
        Field::optional("port", Shape::Number(-2_147_483_648, 2_147_483_647)),
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
        ("IPv6", Ok(IpAddr::V6(ip))) if ip.to_ipv4_mapped().is_some() => {
            Some("must not be an IPv4 address in IPv6 form")
        }
        ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => None,
        ("IPv4", _) => Some("must be an IPv4 address, as addressType says"),
        ("IPv6", _) => Some("must be an IPv6 address, as addressType says"),
        _ => texts::subdomain(text).err(),
    }
}
