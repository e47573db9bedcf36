//! What objects mean: defaults filled in, one bad object alone, and nothing said of secrets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use expect_test::expect;
use isthmus_ir::{Filter, Fraction, ObjectRef, PathMatch, PathRewrite};
use isthmus_world::{
    Change, Kind, ObjectKey,
    fact::{AllowedNamespaces, Fact, Gateway, HttpFilter, HttpRoute, Problem, Secret, ServiceType},
    ingest::{DynamicObject, Unread, ingest, refuse},
};

fn object(yaml: &str) -> DynamicObject {
    let value: serde_json::Value = serde_saphyr::from_str(yaml).unwrap();
    serde_json::from_value(value).unwrap()
}

fn change(yaml: &str) -> Change {
    ingest(object(yaml)).unwrap()
}

fn fact(yaml: &str) -> Fact {
    match change(yaml) {
        Change::Upsert(fact) => fact,
        other => panic!("{other:?} is no fact"),
    }
}

fn problem(yaml: &str) -> (ObjectKey, Problem) {
    match change(yaml) {
        Change::Problem { key, problem } => (key, problem),
        other => panic!("{other:?} is no problem"),
    }
}

fn gateway(yaml: &str) -> Gateway {
    let Fact::Gateway(gateway) = fact(yaml) else { panic!("no Gateway") };
    gateway
}

/// An HTTPRoute whose `spec` is `spec`, in flow or block style indented by two.
fn route(spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: shop, \
         generation: 3}}\nspec:\n{spec}"
    )
}

fn http_route(spec: &str) -> HttpRoute {
    let Fact::HttpRoute(route) = fact(&route(spec)) else { panic!("no HTTPRoute") };
    route
}

#[test]
fn f1_an_unknown_enum_value_is_a_problem_of_its_object_alone() {
    let spec = "  parentRefs: [{name: edge}, {name: 7}]\n  rules:\n  - matches:\n    - path: {type: Exact, \
                value: /}\n    - path: {type: Glob, value: /*}\n";
    let (key, problem) = problem(&route(spec));
    assert_eq!(key, ObjectKey::new(Kind::HttpRoute, "shop", "r"));
    assert_eq!(problem.generation, 3);
    let parents: Vec<_> = problem.parents.iter().map(|parent| parent.name.as_str()).collect();
    assert_eq!(parents, ["edge"]);
    expect![[r#"Some("spec.parentRefs[1].name"): invalid type: integer `7`, expected a string"#]]
        .assert_eq(&format!("{:?}: {}", problem.field, problem.message));
}

#[test]
fn f1_the_field_of_an_unknown_value_is_named() {
    let said = |spec: &str| {
        let (_, problem) = problem(&route(spec));
        format!("{}: {}", problem.field.unwrap_or_default(), problem.message)
    };
    expect!["spec.rules[0].filters[0].type: unknown variant `Teleport`, expected one of `RequestHeaderModifier`, `ResponseHeaderModifier`, `RequestMirror`, `RequestRedirect`, `URLRewrite`, `ExtensionRef`, `CORS`, `ExternalAuth`"]
        .assert_eq(&said("  rules: [{filters: [{type: Teleport}]}]"));
    expect!["spec.rules[0].filters[0].requestMirror: it is required by the filter's type"]
        .assert_eq(&said("  rules: [{filters: [{type: RequestMirror}]}]"));
    expect!["spec.rules[1].backendRefs[0].port: 70000 is not a port: 1 to 65535"]
        .assert_eq(&said("  rules: [{}, {backendRefs: [{name: a, port: 70000}]}]"));
    expect!["spec.rules[0].backendRefs[0].weight: -1 is less than 0"]
        .assert_eq(&said("  rules: [{backendRefs: [{name: a, weight: -1}]}]"));
    expect![[r#"spec.rules[0].timeouts.request: "1 minute" is not a duration such as 1m30s"#]]
        .assert_eq(&said("  rules: [{timeouts: {request: 1 minute}}]"));
    expect![
        "spec.rules[0].filters[0].requestRedirect.statusCode: 200 is none of 301, 302, 303, 307 and 308"
    ]
    .assert_eq(&said(
        "  rules: [{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 200}}]}]",
    ));
    expect!["spec: it is required"].assert_eq(&said(""));
}

#[test]
fn a_source_can_refuse_an_object_that_breaks_its_rules() {
    let change =
        refuse(&object(&route("  parentRefs: [{name: edge}]")), Some("spec".into()), "no".into());
    let Ok(Change::Problem { key, problem }) = change else { panic!("{change:?}") };
    assert_eq!(key.object, ObjectRef::new("shop", "r"));
    assert_eq!((problem.parents.len(), problem.generation, problem.message.as_str()), (1, 3, "no"));
}

#[test]
fn what_is_not_for_us_is_told_apart() {
    let unread = |yaml: &str| ingest(object(yaml)).unwrap_err().to_string();
    expect!["Pod of v1 is not read by Isthmus"]
        .assert_eq(&unread("{apiVersion: v1, kind: Pod, metadata: {name: a}}"));
    expect!["Service of v2 is not read by Isthmus"]
        .assert_eq(&unread("{apiVersion: v2, kind: Service, metadata: {name: a}}"));
    assert_eq!(ingest(object("{metadata: {name: a}}")), Err(Unread::Unnamed("kind")));
    let unnamed = ingest(object("{apiVersion: v1, kind: Service, metadata: {}}"));
    assert_eq!(unnamed, Err(Unread::Unnamed("metadata.name")));
}

#[test]
fn defaults_of_a_gateway_are_those_of_the_specification() {
    let bare = gateway(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: \
         {gatewayClassName: isthmus, addresses: [{value: 10.0.0.1}], listeners: [{name: a, port: 443, \
         protocol: HTTPS, tls: {certificateRefs: [{name: c}]}, allowedRoutes: {kinds: [{kind: \
         HTTPRoute}]}}]}}",
    );
    let written = gateway(
        "{apiVersion: gateway.networking.k8s.io/v1beta1, kind: Gateway, metadata: {name: g, namespace: \
         default}, spec: {gatewayClassName: isthmus, addresses: [{type: IPAddress, value: 10.0.0.1}], \
         listeners: [{name: a, port: 443, protocol: HTTPS, hostname: '', tls: {mode: Terminate, \
         certificateRefs: [{group: '', kind: Secret, name: c}]}, allowedRoutes: {namespaces: {from: Same}, \
         kinds: [{group: gateway.networking.k8s.io, kind: HTTPRoute}]}}]}}",
    );
    assert_eq!(bare, written);
}

#[test]
fn a_selector_that_is_missing_selects_nothing() {
    let namespaces = |selector: &str| {
        let gateway = gateway(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g}}, spec: \
             {{gatewayClassName: c, listeners: [{{name: a, port: 1, protocol: HTTP, allowedRoutes: \
             {{namespaces: {{from: Selector{selector}}}}}}}]}}}}"
        ));
        gateway.listeners.into_iter().next().unwrap().allowed.namespaces
    };
    assert_eq!(namespaces(""), AllowedNamespaces::None);
    let AllowedNamespaces::Selector(all) = namespaces(", selector: {}") else { panic!("no selector") };
    assert!(all.selects(&std::collections::BTreeMap::new()));
    let some =
        namespaces(", selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Near}]}");
    let AllowedNamespaces::Selector(some) = some else { panic!("no selector") };
    assert!(!some.selects(&[("a".to_owned(), "b".to_owned())].into()));
}

#[test]
fn what_a_gateway_asks_for_in_vain_is_listed() {
    let gateway = gateway(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: \
         {gatewayClassName: c, listeners: [], infrastructure: {parametersRef: {group: a, kind: b, name: \
         c}}, tls: {frontend: {default: {}}}}}",
    );
    assert_eq!(gateway.unsupported, ["spec.tls.frontend"]);
}

#[test]
fn parameters_are_named_by_gateways_of_their_namespace_and_by_classes_of_any() {
    let gateway = |kind: &str| {
        gateway(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g, namespace: \
             shop}}, spec: {{gatewayClassName: c, listeners: [], infrastructure: {{parametersRef: {{group: \
             isthmus.dev, kind: {kind}, name: p}}}}}}}}"
        ))
    };
    let named = gateway("GatewayParameters").named_parameters().unwrap();
    assert_eq!(named.to_string(), "shop/p");
    assert_eq!(gateway("Other").named_parameters(), None);
    assert_eq!(gateway("Other").parameters.unwrap().kind.kind, "Other");
    let class = |namespace: &str| {
        let Fact::GatewayClass(class) = fact(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {{name: c}}, spec: \
             {{controllerName: d.dev/c, parametersRef: {{group: isthmus.dev, kind: GatewayParameters, name: \
             p{namespace}}}}}}}"
        )) else {
            panic!("no GatewayClass")
        };
        class
    };
    assert_eq!(class(", namespace: infra").named_parameters().unwrap().to_string(), "infra/p");
    assert_eq!(class("").named_parameters(), None);
}

#[test]
fn parameters_that_cannot_be_read_are_a_problem() {
    let parameters = |spec: &str| {
        format!(
            "{{apiVersion: isthmus.dev/v1alpha1, kind: GatewayParameters, metadata: {{name: p}}{spec}}}"
        )
    };
    let Fact::GatewayParameters(found) = fact(&parameters("")) else { panic!("no GatewayParameters") };
    assert_eq!(found.meta.object().to_string(), "default/p");
    let (key, problem) = problem(&parameters(", spec: {service: {type: ExternalName}}"));
    assert_eq!(
        (key.kind, problem.field.as_deref()),
        (Kind::GatewayParameters, Some("spec.service.type"))
    );
}

#[test]
fn what_an_address_is_reached_from_is_read_though_the_bindings_do_not_know_it() {
    let gateway = gateway(
        "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: g}, spec: \
         {gatewayClassName: c, listeners: [], addresses: [{value: 10.0.0.1}, {routability: Cluster}, \
         {routability: ''}]}}",
    );
    let addresses = gateway.addresses.iter().map(|a| (a.value.as_str(), a.routability.as_str()));
    assert_eq!(addresses.collect::<Vec<_>>(), [("10.0.0.1", ""), ("", "Cluster"), ("", "")]);
}

#[test]
fn a_service_of_a_gateway_keeps_what_it_is_reached_by() {
    let service = |label: &str, kind: &str| {
        let Fact::Service(service) = fact(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s{label}}}, spec: {{type: {kind}, \
             clusterIPs: [10.0.0.1, 'fd00::1']}}, status: {{loadBalancer: {{ingress: [{{ip: \
             192.0.2.1}}]}}}}}}"
        )) else {
            panic!("no Service")
        };
        format!("{:?} {:?}", service.gateway_addresses, service.gateway_cluster_ips)
    };
    let label = ", labels: {gateway.networking.k8s.io/gateway-name: g}";
    expect!["[Ip(192.0.2.1)] [10.0.0.1, fd00::1]"].assert_eq(&service(label, "LoadBalancer"));
    expect!["[Ip(10.0.0.1), Ip(fd00::1)] [10.0.0.1, fd00::1]"].assert_eq(&service(label, "NodePort"));
    expect!["[] []"].assert_eq(&service("", "LoadBalancer"));
}

#[test]
fn filters_of_a_listener_are_asked_for_in_vain() {
    let unsupported = |filters: &str| {
        let gateway = gateway(&format!(
            "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: g}}, spec: \
             {{gatewayClassName: c, listeners: [{{name: a, port: 1, protocol: HTTP}}, {{name: b, port: 2, \
             protocol: HTTP{filters}}}]}}}}"
        ));
        gateway.unsupported
    };
    let auth = ", filters: {requests: [{type: ExternalAuth}]}";
    assert_eq!(unsupported(auth), ["spec.listeners[1].filters"]);
    assert!(unsupported("").is_empty() && unsupported(", filters: null").is_empty());
}

#[test]
fn defaults_of_a_route_are_those_of_the_specification() {
    let bare =
        http_route("  parentRefs: [{name: edge}]\n  rules: [{backendRefs: [{name: a, port: 80}]}]");
    let written = http_route(
        "  parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]\n  hostnames: []\n  \
         rules: [{matches: [{path: {type: PathPrefix, value: /}}], timeouts: {request: 0s}, backendRefs: \
         [{group: '', kind: Service, name: a, port: 80, weight: 1}]}]",
    );
    assert_eq!(bare, written);
    assert_eq!(bare.parents.first().unwrap().namespace, None);
    let none = http_route("  parentRefs: [{name: edge}]");
    let prefix = &none.rules.first().unwrap().matches.first().unwrap().path;
    assert_eq!(*prefix, PathMatch::Prefix("/".into()));
}

#[test]
fn names_of_headers_are_lower_case_and_the_first_entry_counts() {
    let route = http_route(
        "  rules: [{matches: [{headers: [{name: X-A, value: '1'}, {name: x-a, value: '2'}], queryParams: \
         [{name: q, value: '1'}, {name: Q, value: '2'}]}], filters: [{type: RequestHeaderModifier, \
         requestHeaderModifier: {set: [{name: X-B, value: '1'}, {name: x-b, value: '2'}], remove: [X-C]}}]}]",
    );
    let rule = route.rules.first().unwrap();
    let found = rule.matches.first().unwrap();
    let headers: Vec<_> = found.headers.iter().map(|h| (h.name.as_str(), &h.value)).collect();
    expect![[r#"[("x-a", Exact("1"))]"#]].assert_eq(&format!("{headers:?}"));
    assert_eq!(found.query.len(), 2);
    expect![[
        r#"[Plain(RequestHeaders(HeaderEdits { set: [("x-b", "1")], add: [], remove: ["x-c"] }))]"#
    ]]
    .assert_eq(&format!("{:?}", rule.filters));
}

#[test]
fn a_prefix_has_no_trailing_slash() {
    let prefix = |value: &str| {
        let route = http_route(&format!("  rules: [{{matches: [{{path: {{value: {value}}}}}]}}]"));
        route.rules.first().unwrap().matches.first().unwrap().path.clone()
    };
    assert_eq!(prefix("/a/"), PathMatch::Prefix("/a".into()));
    assert_eq!(prefix("/"), PathMatch::Prefix("/".into()));
}

#[test]
fn filters_of_backends_are_those_of_rules() {
    let filters = "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, \
                   replacePrefixMatch: /}}}, {type: RequestMirror, requestMirror: {backendRef: {name: m, \
                   port: 80}, percent: 42}}, {type: RequestRedirect, requestRedirect: {scheme: https}}, \
                   {type: CORS, cors: {}}, {type: ExtensionRef, extensionRef: {group: g, kind: k, name: \
                   ext}}]";
    let route = http_route(&format!("  rules: [{{{filters}, backendRefs: [{{name: a, {filters}}}]}}]"));
    let rule = route.rules.first().unwrap();
    assert_eq!(rule.filters, rule.backends.first().unwrap().filters);
    let [HttpFilter::Plain(Filter::Rewrite(rewrite)), mirror, redirect, cors, extension] =
        &rule.filters[..]
    else {
        panic!("{:?}", rule.filters)
    };
    assert_eq!(rewrite.path, Some(PathRewrite::Prefix("/".into())));
    let HttpFilter::Mirror { backend, fraction } = mirror else { panic!("{mirror:?}") };
    assert_eq!((backend.object.name.as_str(), backend.port), ("m", Some(80)));
    assert_eq!(*fraction, Fraction { numerator: 42, denominator: 100 });
    let HttpFilter::Plain(Filter::Redirect(redirect)) = redirect else { panic!("{redirect:?}") };
    assert_eq!((redirect.status, redirect.scheme.as_deref()), (302, Some("https")));
    let HttpFilter::Plain(Filter::Cors(cors)) = cors else { panic!("{cors:?}") };
    assert_eq!((cors.max_age, cors.credentials, cors.origins.len()), (5, false, 0));
    let HttpFilter::Extension(extension) = extension else { panic!("{extension:?}") };
    assert_eq!(extension.kind.kind, "k");
}

#[test]
fn fields_that_are_not_implemented_are_listed() {
    let route = http_route("  rules: [{retry: {codes: [503]}, sessionPersistence: {}}, {}]");
    let unsupported: Vec<_> = route.rules.iter().map(|rule| rule.unsupported.join(" ")).collect();
    assert_eq!(unsupported, ["sessionPersistence", ""]);
    let retries: Vec<_> = route.rules.iter().map(|rule| rule.retry.as_ref()).collect();
    assert_eq!(retries[0].map(|retry| (retry.attempts, &retry.codes[..])), Some((1, &[503][..])));
    assert!(retries[1].is_none(), "the default is ours to choose");
}

#[test]
fn a_grant_is_read_in_both_versions() {
    let grant = |version: &str| {
        fact(&format!(
            "{{apiVersion: gateway.networking.k8s.io/{version}, kind: ReferenceGrant, metadata: {{name: g, \
             namespace: a}}, spec: {{from: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: \
             b}}], to: [{{group: '', kind: Service}}]}}}}"
        ))
    };
    assert_eq!(grant("v1"), grant("v1beta1"));
}

#[test]
fn an_export_is_read_in_both_versions() {
    let export = |version: &str| {
        fact(&format!(
            "{{apiVersion: multicluster.x-k8s.io/{version}, kind: ServiceExport, metadata: {{name: s, \
             namespace: a, creationTimestamp: '2026-01-02T03:04:05Z'}}}}"
        ))
    };
    assert_eq!(export("v1beta1"), export("v1alpha1"));
    assert_eq!(export("v1beta1").meta().created, 1_767_323_045);
}

#[test]
fn what_is_not_used_makes_no_other_fact() {
    let service = |more: &str, status: &str| {
        fact(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, generation: 1{more}}}, spec: {{ports: \
             [{{port: 80}}]}}{status}}}"
        ))
    };
    let heartbeat = ", resourceVersion: '9', labels: {a: b}, managedFields: [{manager: m}], annotations: \
                     {other.dev/a: b}";
    assert_eq!(service("", ""), service(heartbeat, ", status: {loadBalancer: {}}"));
    assert_ne!(service("", ""), service(", annotations: {isthmus.dev/a: b}", ""));
    let Fact::Service(service) = service("", "") else { panic!("no Service") };
    assert_eq!((service.kind, service.headless), (ServiceType::ClusterIp, false));
    assert_eq!(service.ports.first().unwrap().protocol, "TCP");
}

#[test]
fn a_namespace_has_its_name_as_a_label() {
    let fact = fact("{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {a: b}}}");
    expect![[r#"{"a": "b", "kubernetes.io/metadata.name": "team"}"#]]
        .assert_eq(&format!("{:?}", fact.meta().labels));
    assert_eq!(fact.key(), ObjectKey::new(Kind::Namespace, "", "team"));
}

const SLICE: &str = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s-1, namespace: \
                     shop, labels: {kubernetes.io/service-name: s}}, addressType: IPv4, ports: [{name: http, \
                     port: 8080}, {name: all}], endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, \
                     name: p}, zone: z}, {addresses: [10.0.0.2], conditions: {ready: false}}, {addresses: \
                     [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}}]}";

#[test]
fn conditions_of_endpoints_have_the_specifications_defaults() {
    let Fact::EndpointSlice(slice) = fact(SLICE) else { panic!("no EndpointSlice") };
    assert_eq!((slice.service.as_str(), slice.ports.len()), ("s", 1));
    let conditions: Vec<_> = slice
        .endpoints
        .iter()
        .map(|e| (e.conditions.ready, e.conditions.serving, e.conditions.terminating))
        .collect();
    assert_eq!(conditions, [(true, true, false), (false, false, false), (false, true, true)]);
    assert_eq!(slice.endpoints.first().unwrap().pod.as_deref(), Some("p"));
}

#[test]
fn a_slice_of_no_service_is_not_kept() {
    let orphan = SLICE.replace("kubernetes.io/service-name", "other");
    assert_eq!(change(&orphan), Change::Delete(ObjectKey::new(Kind::EndpointSlice, "shop", "s-1")));
}

#[test]
fn an_address_of_another_family_is_a_problem() {
    let (_, problem) = problem(&SLICE.replace("10.0.0.2", "'fd00::1'"));
    assert_eq!(problem.field.as_deref(), Some("endpoints[1].addresses[0]"));
}

#[test]
fn a_secret_is_decoded_and_text_wins_over_data() {
    let yaml = "{apiVersion: v1, kind: Secret, metadata: {name: s}, type: kubernetes.io/tls, data: {tls.crt: \
                b2xk, tls.key: a2V5}, stringData: {tls.crt: new}}";
    let Fact::Secret(Secret { certificate, key, .. }) = fact(yaml) else { panic!("no Secret") };
    assert_eq!(certificate.as_deref(), Some(b"new".as_slice()));
    assert_eq!(key.unwrap().expose(), b"key");
    let opaque = yaml.replace("kubernetes.io/tls", "Opaque");
    assert_eq!(change(&opaque), Change::Delete(ObjectKey::new(Kind::Secret, "default", "s")));
}

#[test]
fn nothing_of_a_secret_is_quoted() {
    for data in ["data: {tls.key: hunter2!}", "stringData: {tls.key: [hunter2!]}", "data: hunter2!"] {
        let yaml = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, type: kubernetes.io/tls, {data}}}"
        );
        let (_, problem) = problem(&yaml);
        assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
    }
}

fn policy(version: &str, spec: &str) -> Change {
    change(&format!(
        "{{apiVersion: gateway.networking.k8s.io/{version}, kind: BackendTLSPolicy, metadata: {{name: p, \
         namespace: a}}, spec: {spec}}}"
    ))
}

#[test]
fn a_policy_is_read_in_both_versions() {
    let spec = "{targetRefs: [{group: '', kind: Service, name: s, sectionName: ''}, {group: '', kind: Service, \
                name: t, sectionName: tls}], validation: {hostname: a.example}}";
    assert_eq!(policy("v1", spec), policy("v1alpha3", spec));
    let Change::Upsert(Fact::BackendTlsPolicy(policy)) = policy("v1", spec) else { panic!("no policy") };
    let targets: Vec<_> = policy.targets.iter().map(|t| (&*t.name, t.section.as_deref())).collect();
    assert_eq!(targets, [("s", None), ("t", Some("tls"))]);
}

#[test]
fn g13_a_policy_that_cannot_be_read_says_what_it_is_about_all_the_same() {
    let spec = "{targetRefs: [{group: '', kind: Service, name: s}, {name: 1}]}";
    let Change::Problem { problem, .. } = policy("v1", spec) else { panic!("it is read") };
    assert_eq!(problem.field.as_deref(), Some("spec.targetRefs[1].name"));
    let names: Vec<_> = problem.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names, ["s"]);
    let Change::Problem { problem, .. } = policy("v1", "{}") else { panic!("it is read") };
    assert_eq!((problem.targets.len(), problem.field.as_deref()), (0, Some("spec")));
}
