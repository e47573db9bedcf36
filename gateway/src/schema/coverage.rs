//! Every field that the tables know is read, refused where it is set, or left out for a reason that stands
//! here: a manifest with it is taken, and a wish that nobody hears is worse than one that is refused
//! (invariant 11).
//!
//! A field is read when what is made of a manifest depends on it: each is left out and set to several
//! values, in manifests with every value of the unions around it.

use std::collections::BTreeSet;

use isthmus_world::{
    Change, Kind,
    fact::Fact,
    ingest,
    ingest::{DynamicObject, Unread},
};
use serde_json::{Value, json};

use super::{
    KINDS, default, object,
    shape::{Field, Object, Shape, join},
};

/// Why a field is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// Whoever sets it is told that it is not implemented, and is not served without it.
    Refused,
    /// Nothing is lost without it.
    Ignored(&'static str),
}
use Why::{Ignored, Refused};

/// Fields of objects of any kind: what identifies them, and what controllers say of them.
const OF_EVERY_KIND: &[&str] = &["apiVersion", "kind", "metadata", "status"];

const CLUSTER_IP: Why =
    Ignored("it is about the Service's own addresses, which endpoints are reached without");

const HOW: Why = Ignored("its targets answer with an error as long as TLS to them cannot be had");

/// Fields that are not read, with all that is below them.
const NOT_READ: &[(&str, &str, Why)] = &[
    ("BackendTLSPolicy", "spec.options", HOW),
    ("BackendTLSPolicy", "spec.validation", HOW),
    ("EndpointSlice", "endpoints[].deprecatedTopology", Ignored("it is of older versions")),
    ("EndpointSlice", "endpoints[].hints", Ignored("no zone is preferred")),
    ("EndpointSlice", "endpoints[].hostname", Ignored("it is about DNS names of single endpoints")),
    ("EndpointSlice", "endpoints[].nodeName", Ignored("no node is preferred")),
    ("EndpointSlice", "endpoints[].targetRef.apiVersion", Ignored("kind and name say which Pod")),
    ("EndpointSlice", "endpoints[].targetRef.fieldPath", Ignored("kind and name say which Pod")),
    ("EndpointSlice", "endpoints[].targetRef.namespace", Ignored("it is the slice's")),
    ("EndpointSlice", "endpoints[].targetRef.resourceVersion", Ignored("kind and name say which Pod")),
    ("EndpointSlice", "endpoints[].targetRef.uid", Ignored("kind and name say which Pod")),
    ("EndpointSlice", "ports[].appProtocol", Ignored("it is the Service's to say")),
    ("EndpointSlice", "ports[].protocol", Ignored("it is the Service's to say")),
    ("Gateway", "spec.allowedListeners", Ignored("it lets ListenerSets in, and none is read")),
    (
        "Gateway",
        "spec.defaultScope",
        Ignored("it lets routes in that name no Gateway, and none is read"),
    ),
    ("Gateway", "spec.infrastructure.annotations", Ignored("it is the operator's to read")),
    ("Gateway", "spec.infrastructure.labels", Ignored("it is the operator's to read")),
    ("Gateway", "spec.listeners[].filters", Refused),
    ("Gateway", "spec.tls.backend", Refused),
    ("Gateway", "spec.tls.frontend", Refused),
    ("GatewayClass", "spec.description", Ignored("it is for people")),
    ("HTTPRoute", "spec.rules[].backendRefs[].filters[].externalAuth", Ignored("its type is refused")),
    ("HTTPRoute", "spec.rules[].filters[].externalAuth", Ignored("its type is refused")),
    ("HTTPRoute", "spec.rules[].sessionPersistence", Refused),
    (
        "HTTPRoute",
        "spec.useDefaultGateways",
        Ignored("it asks for Gateways by defaultScope: there is none"),
    ),
    ("Namespace", "spec", Ignored("it is the API server's")),
    ("Secret", "immutable", Ignored("it is the API server's to hold to")),
    ("Service", "spec.allocateLoadBalancerNodePorts", CLUSTER_IP),
    ("Service", "spec.externalIPs", CLUSTER_IP),
    ("Service", "spec.externalName", Ignored("a Service of that type is refused")),
    ("Service", "spec.externalTrafficPolicy", CLUSTER_IP),
    ("Service", "spec.healthCheckNodePort", CLUSTER_IP),
    ("Service", "spec.internalTrafficPolicy", CLUSTER_IP),
    ("Service", "spec.ipFamilies", CLUSTER_IP),
    ("Service", "spec.ipFamilyPolicy", CLUSTER_IP),
    ("Service", "spec.loadBalancerClass", CLUSTER_IP),
    ("Service", "spec.loadBalancerIP", CLUSTER_IP),
    ("Service", "spec.loadBalancerSourceRanges", CLUSTER_IP),
    ("Service", "spec.ports[].nodePort", CLUSTER_IP),
    ("Service", "spec.ports[].targetPort", Ignored("EndpointSlices have the number")),
    ("Service", "spec.publishNotReadyAddresses", Ignored("EndpointSlices say what is ready")),
    ("Service", "spec.selector", Ignored("EndpointSlices say what is selected")),
    ("Service", "spec.sessionAffinityConfig", CLUSTER_IP),
    ("Service", "spec.trafficDistribution", Ignored("no zone is preferred")),
];

/// What an object has to have beside what it must have, by kind and path, for the rest to be looked at.
fn beside(kind: &str, path: &str) -> Value {
    match (kind, path) {
        ("EndpointSlice", "") => json!({"metadata": {"labels": {"kubernetes.io/service-name": "a"}}}),
        ("EndpointSlice", "endpoints[].targetRef") => json!({"kind": "Pod", "name": "a"}),
        ("EndpointSlice", "ports[]") => json!({"port": 80}),
        ("Secret", "") => json!({"type": "kubernetes.io/tls"}),
        ("Service", "") => {
            json!({"metadata": {"labels": {"gateway.networking.k8s.io/gateway-name": "a"}}})
        }
        _ => json!({}),
    }
}

/// Texts of which each check takes some.
const TEXTS: &[&str] = &[
    "10.0.0.1",
    "10.0.0.2",
    "a",
    "b",
    "/a",
    "/b",
    "1s",
    "2s",
    "a.example/b",
    "a.example/c",
    "https://a.example",
    "https://b.example",
    "spiffe://a.example/b",
    "spiffe://a.example/c",
    "IPAddress",
    "Hostname",
    "System",
    "Pod",
    "None",
    "kubernetes.io/tls",
    "b2xk",
    "a2V5",
];
/// Keys of maps of which some are well-known.
const KEYS: &[&str] = &["a", "a.example/b", "tls.crt"];
const NUMBERS: &[i64] = &[1, 2, 80, 81, 403, 404];

/// Manifests with a value at one place, or without: one for each way to be there.
type Place<'a> = &'a dyn Fn(Option<Value>) -> Vec<Value>;

#[derive(Default)]
struct Walk {
    kind: &'static str,
    unread: Vec<String>,
    /// Rows of [`NOT_READ`] that say something.
    needed: BTreeSet<usize>,
}

impl Walk {
    fn object(&mut self, object: &'static Object, path: &str, place: Place<'_>) {
        let top = |field: &&Field| path.is_empty() && OF_EVERY_KIND.contains(&field.name);
        for field in object.fields.iter().filter(|field| !top(field)) {
            let bases = self.bases(object, path, field.name);
            let within = |value: Option<Value>| {
                let with = |mut base: Value| {
                    match value.clone() {
                        Some(value) => base[field.name] = value,
                        None => drop(base.as_object_mut().unwrap().remove(field.name)),
                    }
                    place(Some(base))
                };
                bases.iter().cloned().flat_map(with).collect()
            };
            self.value(&field.shape, field.required, &join(path, field.name), &within);
        }
    }

    fn value(&mut self, shape: &'static Shape, required: bool, path: &str, place: Place<'_>) {
        let row = NOT_READ.iter().position(|(kind, field, _)| *kind == self.kind && *field == path);
        if let Some(row) = row {
            if self.stands(NOT_READ[row].2, shape, required, place) {
                self.needed.insert(row);
            }
            return;
        }
        match shape {
            Shape::Object(object) | Shape::Native(object) => self.object(object, path, place),
            Shape::List(_, _, item, _) => {
                let list = |item: Option<Value>| place(Some(item.into_iter().collect()));
                self.value(item, false, &format!("{path}[]"), &list);
            }
            _ if self.is_read(shape, required, place) => {}
            _ => self.unread.push(format!("{} {path}", self.kind)),
        }
    }

    fn stands(&self, why: Why, shape: &Shape, required: bool, place: Place<'_>) -> bool {
        match why {
            Refused => place(Some(minimal(shape))).into_iter().any(|manifest| self.is_refused(manifest)),
            Ignored(_) => !self.is_read(shape, required, place),
        }
    }

    /// Objects around the field `except`: one for each combination of the texts that choose between others.
    fn bases(&self, object: &Object, path: &str, except: &str) -> Vec<Value> {
        let mut bases = vec![beside(self.kind, path)];
        if path.is_empty() {
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind).unwrap();
            let version = kind.versions()[0];
            let slash = if kind.group().is_empty() { "" } else { "/" };
            bases[0]["apiVersion"] = format!("{}{slash}{version}", kind.group()).into();
            bases[0]["kind"] = self.kind.into();
            bases[0]["metadata"]["name"] = "a".into();
        }
        for field in object.fields.iter().filter(|field| field.name != except) {
            if bases[0].get(field.name).is_some() {
                continue;
            }
            let values = match &field.shape {
                Shape::OneOf(texts) => texts.iter().map(|text| json!(text)).collect(),
                shape if field.required => vec![minimal(shape)],
                _ => continue,
            };
            let with = |value: &Value| {
                let mut all = bases.clone();
                for base in &mut all {
                    base[field.name] = value.clone();
                }
                all
            };
            bases = values.iter().flat_map(with).collect();
        }
        bases
    }

    /// Whether a value makes another difference than another one does, or, where there may be none, than
    /// none does.
    fn is_read(&self, shape: &Shape, required: bool, place: Place<'_>) -> bool {
        let none = (!required).then_some(None);
        let values = none.into_iter().chain(samples(shape).into_iter().map(Some));
        let outcomes = |value: Option<Value>| {
            place(value).into_iter().map(|manifest| self.taken(manifest)).collect::<Vec<_>>()
        };
        // What is not looked into may be anything here, and is not where it is read.
        let is_guess = matches!(shape, Shape::Anything);
        let differ = |(one, other): (&Outcome, &Outcome)| {
            one != other && !(is_guess && (is_problem(one) || is_problem(other)))
        };
        let mut all = values.map(outcomes);
        let first = all.next().unwrap();
        all.any(|other| first.iter().zip(&other).any(differ))
    }

    fn taken(&self, mut manifest: Value) -> Outcome {
        default(self.kind, &mut manifest);
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        ingest(object)
    }

    fn is_refused(&self, manifest: Value) -> bool {
        match self.taken(manifest) {
            Ok(Change::Upsert(Fact::Gateway(fact))) => !fact.unsupported.is_empty(),
            Ok(Change::Upsert(Fact::HttpRoute(fact))) => {
                fact.rules.iter().any(|rule| !rule.unsupported.is_empty())
            }
            _ => false,
        }
    }
}

type Outcome = Result<Change, Unread>;

fn is_problem(outcome: &Outcome) -> bool {
    matches!(outcome, Ok(Change::Problem { .. }))
}

/// Values of a shape.
fn samples(shape: &Shape) -> Vec<Value> {
    match shape {
        Shape::Text(min, max, check) => {
            let length = |text: &&&str| (*min..=*max).contains(&text.len());
            let all = TEXTS.iter().filter(length).filter(|text| check(text).is_ok());
            all.map(|text| json!(text)).collect()
        }
        Shape::OneOf(texts) => texts.iter().map(|text| json!(text)).collect(),
        Shape::Number(min, max) => {
            NUMBERS.iter().filter(|number| (min..=max).contains(number)).map(|n| json!(n)).collect()
        }
        Shape::OneNumberOf(numbers) => numbers.iter().map(|number| json!(number)).collect(),
        Shape::Flag => vec![true.into(), false.into()],
        Shape::PortOrName => vec![80.into(), "http".into()],
        Shape::Anything => {
            vec![json!({"a": "b"}), "a".into(), 1.into(), true.into(), json!(["10.0.0.1"]), json!(["a"])]
        }
        Shape::Map(_, _, item) => {
            let entry = |value: Value| KEYS.iter().map(move |key| json!({*key: value}));
            samples(item).into_iter().flat_map(entry).collect()
        }
        Shape::Object(_) | Shape::Native(_) | Shape::List(..) => vec![minimal(shape)],
    }
}

/// The least that a shape takes.
fn minimal(shape: &Shape) -> Value {
    match shape {
        Shape::Object(object) | Shape::Native(object) => {
            let required = object.fields.iter().filter(|field| field.required);
            required.map(|field| (field.name.to_owned(), minimal(&field.shape))).collect()
        }
        Shape::List(0, ..) => json!([]),
        Shape::List(_, _, item, _) => json!([minimal(item)]),
        Shape::Map(..) => json!({}),
        scalar => samples(scalar).into_iter().next().unwrap(),
    }
}

#[test]
fn every_field_is_read_or_refused_or_left_out_for_a_reason() {
    let mut walk = Walk::default();
    for kind in KINDS {
        walk.kind = *kind;
        walk.object(object(kind).unwrap(), "", &|value| value.into_iter().collect());
    }
    assert!(walk.unread.is_empty(), "these are not read:\n{}", walk.unread.join("\n"));
    let rows = (0..NOT_READ.len()).filter(|row| !walk.needed.contains(row));
    let idle: Vec<_> = rows.map(|row| NOT_READ[row]).collect();
    assert!(idle.is_empty(), "these are no fields, or are read, or are not refused: {idle:?}");
}

#[test]
fn a_field_that_is_read_is_told_from_one_that_is_not() {
    let walk = Walk { kind: "Gateway", ..Walk::default() };
    let gateway = |field: &str, value: Option<Value>| {
        let mut manifest = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "a"}, "spec": {"gatewayClassName": "a", "listeners": []}});
        if let Some(value) = value {
            manifest["spec"][field] = value;
        }
        vec![manifest]
    };
    let text = Shape::Text(1, 253, super::text::any);
    assert!(walk.is_read(&text, true, &|value| gateway("gatewayClassName", value)));
    assert!(!walk.is_read(&text, false, &|value| gateway("newerThanIsthmus", value)));
}
