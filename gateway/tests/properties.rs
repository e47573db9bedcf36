//! What must hold of any input.

#![allow(clippy::indexing_slicing, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use isthmus_gateway::{
    Condition, GROUP,
    attachment::{Attached, Attachments},
    certificate, http_route,
    reference::Grants,
    schema,
};
use isthmus_ir::{
    Change, Cors, Filter, HeaderEdits, HeaderMatch, HostPattern, ObjectRef, PathMatch, PathRewrite,
    QueryMatch, Redacted, Redirect, Resource, Rewrite, Route, RouteMatch, ValueMatch, cors::Origin,
    matcher::Tables, matcher::rewrite,
};
use isthmus_world::fact::{
    GroupKind, HttpFilter, HttpRoute, HttpRule, Meta, ObjectReference, ParentRef, RuleTimeouts, Secret,
    ServiceScope,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value};

/// Pieces of texts.
const PARTS: &[&str] = &[
    "/", "a", "b.c", "..", ".", "%2f", "%41", "%", "é", "\r\n", "\0", " ", "(", ")", "[", "*", "+", "?",
    "#", ";", "\\", "host", "X-A", ":", "a.com", "*.a.com", "{1000}", "{9999}", "\u{202e}",
];

/// Texts that are nearly what they should be.
fn text() -> impl Strategy<Value = String> {
    vec(select(PARTS), 0..5).prop_map(|parts| parts.concat())
}

/// Names of header fields, most of them valid.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![6 => select(&["x-a", "X-B", "c"][..]).prop_map(str::to_owned), 1 => text()]
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        1 => text().prop_map(PathMatch::Exact),
        1 => text().prop_map(PathMatch::Prefix),
        1 => text().prop_map(PathMatch::Regex),
        4 => Just(PathMatch::Prefix("/".into())),
    ]
}

fn value() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![text().prop_map(ValueMatch::Exact), text().prop_map(ValueMatch::Regex)]
}

fn one_match() -> impl Strategy<Value = RouteMatch> {
    let headers = vec((name(), value()).prop_map(|(name, value)| HeaderMatch { name, value }), 0..3);
    let query = vec((text(), value()).prop_map(|(name, value)| QueryMatch { name, value }), 0..3);
    (path(), option::of(Just("GET".to_owned())), headers, query)
        .prop_map(|(path, method, headers, query)| RouteMatch { path, method, headers, query })
}

fn edits() -> impl Strategy<Value = HeaderEdits> {
    (vec((name(), text()), 0..2), vec((name(), text()), 0..2), vec(name(), 0..2))
        .prop_map(|(set, add, remove)| HeaderEdits { set, add, remove })
}

fn new_path() -> impl Strategy<Value = Option<PathRewrite>> {
    option::of(prop_oneof![text().prop_map(PathRewrite::Full), text().prop_map(PathRewrite::Prefix)])
}

fn filter() -> impl Strategy<Value = HttpFilter> {
    let redirect = (option::of(text()), option::of(text()), new_path(), select(&[301, 302, 300, 0][..]));
    let reference = ObjectReference {
        kind: GroupKind { group: "example.com".into(), kind: "Auth".into() },
        namespace: None,
        name: "a".into(),
    };
    prop_oneof![
        edits().prop_map(|e| HttpFilter::Plain(Filter::RequestHeaders(e))),
        edits().prop_map(|e| HttpFilter::Plain(Filter::ResponseHeaders(e))),
        (option::of(text()), new_path())
            .prop_map(|(hostname, path)| HttpFilter::Plain(Filter::Rewrite(Rewrite { hostname, path }))),
        redirect.prop_map(|(scheme, hostname, path, status)| {
            HttpFilter::Plain(Filter::Redirect(Redirect { scheme, hostname, path, port: None, status }))
        }),
        Just(HttpFilter::Extension(reference)),
        Just(HttpFilter::Unsupported("ExternalAuth".into())),
        (vec(text(), 0..3), vec(text(), 0..3)).prop_map(|(origins, headers)| {
            HttpFilter::Plain(Filter::Cors(Cors {
                origins,
                credentials: true,
                methods: Vec::new(),
                headers,
                expose: Vec::new(),
                max_age: 5,
            }))
        }),
    ]
}

fn rule() -> impl Strategy<Value = HttpRule> {
    (vec(one_match(), 1..3), vec(filter(), 0..3)).prop_map(|(matches, filters)| HttpRule {
        name: None,
        matches,
        filters,
        backends: Vec::new(),
        timeouts: RuleTimeouts::default(),
        retry: None,
        unsupported: Vec::new(),
    })
}

fn translated(rules: Vec<HttpRule>) -> http_route::HttpRouteOutput {
    let meta = Meta { namespace: "default".into(), name: "web".into(), ..Meta::default() };
    let parent = ParentRef {
        kind: GroupKind { group: GROUP.into(), kind: "Gateway".into() },
        namespace: None,
        name: "gw".into(),
        section: None,
        port: None,
    };
    let attached = Attached {
        parent: parent.clone(),
        gateway: ObjectRef::new("default", "gw"),
        sections: vec!["a".into()],
        listeners: vec![isthmus_ir::Attachment {
            listener: "default/gw/a".into(),
            hostnames: vec![HostPattern::Any],
        }],
        accepted: Condition::is("Accepted", "Accepted", ""),
    };
    let route = HttpRoute { meta, parents: vec![parent], hostnames: Vec::new(), rules };
    http_route::translate(http_route::Inputs {
        route: &route,
        attachments: &Attachments { parents: vec![attached] },
        services: &BTreeMap::new(),
        imports: &BTreeMap::new(),
        grants: Grants(&[]),
        tls: &[],
        scope: ServiceScope::Cluster,
    })
}

/// What a proxy could not do safely.
fn unsafe_filter(filter: &Filter) -> bool {
    let bad = |text: &str| text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0));
    match filter {
        Filter::RequestHeaders(e) | Filter::ResponseHeaders(e) => {
            e.set.iter().chain(&e.add).any(|(n, v)| bad(n) || bad(v) || n.is_empty())
                || e.remove.iter().any(|n| bad(n) || n.is_empty())
        }
        Filter::Rewrite(Rewrite { hostname, path })
        | Filter::Redirect(Redirect { hostname, path, .. }) => {
            hostname.as_deref().is_some_and(bad)
                || path.as_ref().is_some_and(|p| rewrite::check(p).is_err())
        }
        Filter::Cors(cors) => {
            cors.origins.iter().any(|origin| Origin::parse(origin).is_err())
                || cors.headers.iter().any(|name| bad(name) || name.is_empty())
        }
        Filter::Mirror { .. } => false,
    }
}

/// Names of fields that some kind has.
const FIELDS: &[&str] = &[
    "spec",
    "metadata",
    "name",
    "namespace",
    "labels",
    "rules",
    "matches",
    "path",
    "type",
    "value",
    "filters",
    "requestRedirect",
    "urlRewrite",
    "replacePrefixMatch",
    "backendRefs",
    "port",
    "parentRefs",
    "sectionName",
    "listeners",
    "protocol",
    "tls",
    "addresses",
    "timeouts",
    "request",
    "ports",
    "data",
    "stringData",
    "endpoints",
    "addressType",
    "status",
];

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
        select(
            &[
                "PathPrefix",
                "ReplacePrefixMatch",
                "RequestRedirect",
                "HTTPS",
                "IPv4",
                "kubernetes.io/tls"
            ][..]
        )
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(FIELDS), inner), 0..5).prop_map(|all| all
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn what_is_accepted_is_taken_by_the_matcher(rules in vec(rule(), 1..4)) {
        let count = rules.len();
        let output = translated(rules);
        let changes: Vec<Change> =
            output.rules.iter().map(|r| Change::Upsert(Resource::Route(r.clone()))).collect();
        let updated = Tables::<()>::default().update(&changes, |_| Ok(()));
        prop_assert_eq!(&updated.refused, &[]);
        let filters = output.rules.iter().flat_map(|r: &std::sync::Arc<Route>| &r.filters);
        prop_assert_eq!(filters.filter(|f| unsafe_filter(f)).count(), 0);
        let conditions = &output.parents[0].conditions;
        let partly = conditions.iter().any(|c| c.kind == "PartiallyInvalid");
        prop_assert_eq!(partly, !output.rules.is_empty() && output.rules.len() < count);
        prop_assert_eq!(output.parents[0].accepted(), !output.rules.is_empty());
    }

    #[test]
    fn manifests_of_any_shape_are_told_of_not_died_of(mut manifest in json(), kind in select(schema::KINDS)) {
        schema::default(kind, &mut manifest);
        schema::validate(kind, &manifest);
        let once = manifest.clone();
        schema::default(kind, &mut manifest);
        prop_assert_eq!(manifest, once, "defaults are filled in once");
    }

    #[test]
    fn certificates_of_any_bytes_are_refused_not_died_of(at in 0_usize..2000, byte: u8, in_key: bool) {
        let mut certificate = include_bytes!("certificates/ec-pkcs8.crt").to_vec();
        let mut key = include_bytes!("certificates/ec-pkcs8.key").to_vec();
        let file = if in_key { &mut key } else { &mut certificate };
        let at = at % file.len();
        file.splice(at..=at, [byte]);
        let meta = Meta { namespace: "ns".into(), name: "cert".into(), ..Meta::default() };
        let secret = Secret {
            meta,
            kind: "kubernetes.io/tls".into(),
            certificate: Some(certificate),
            key: Some(Redacted::new(key)),
        };
        let _ = certificate::translate(&secret);
    }
}
