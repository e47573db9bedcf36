//! Defaults and rules of manifests: each case is a manifest and what is wrong with it.

#![allow(
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::needless_raw_string_hashes,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and expectations are written by the tool"
)]

use expect_test::{Expect, expect};
use isthmus_gateway::schema;
use serde_json::Value;

/// YAML with keys in order, whether or not some crate asks `serde_json` to keep them as they came.
fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(&sorted(value)).unwrap()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: std::collections::BTreeMap<_, _> =
                map.iter().map(|(k, v)| (k, sorted(v))).collect();
            map.into_iter().map(|(k, v)| (k.clone(), v)).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Defaults and validates one manifest; `metadata` is added when it has none.
fn read(manifest: &str) -> (String, Value) {
    let mut manifest: Value = serde_saphyr::from_str(manifest).unwrap();
    let kind = manifest["kind"].as_str().unwrap().to_owned();
    manifest["apiVersion"] = "v1".into();
    if manifest["metadata"].is_null() {
        manifest["metadata"] = serde_json::json!({ "name": "a" });
    }
    schema::default(&kind, &mut manifest);
    (kind, manifest)
}

fn check(manifest: &str, errors: Expect) {
    let (kind, manifest) = read(manifest);
    let found: Vec<_> = schema::validate(&kind, &manifest).iter().map(ToString::to_string).collect();
    errors.assert_eq(&found.join("\n"));
}

/// A route with one rule, which begins at `rule`.
fn rule(rule: &str, errors: Expect) {
    let indented = rule.replace('\n', "\n    ");
    check(&format!("kind: HTTPRoute\nspec:\n  rules:\n  - {indented}"), errors);
}

fn listener(listener: &str, errors: Expect) {
    let indented = listener.replace('\n', "\n    ");
    let head =
        "kind: Gateway\nspec:\n  gatewayClassName: isthmus\n  listeners:\n  - name: a\n    port: 80";
    check(&format!("{head}\n    {indented}"), errors);
}

#[test]
fn a_route_gets_the_defaults_of_its_crd() {
    let (_, route) = read(
        "
kind: HTTPRoute
spec:
  parentRefs: [{name: gw, namespace: null}]
  rules:
  - backendRefs: [{name: web, port: 80}]
    filters:
    - type: RequestRedirect
      requestRedirect: {scheme: https}
    - type: RequestMirror
      requestMirror: {backendRef: {name: log, port: 80}, fraction: {numerator: 1}}
  - matches: [{headers: [{name: a, value: b}]}, {path: {value: /x}}]
status: {parents: []}
",
    );
    expect![[r#"
        parentRefs:
        - group: gateway.networking.k8s.io
          kind: Gateway
          name: gw
        rules:
        - backendRefs:
          - group: ""
            kind: Service
            name: web
            port: 80
            weight: 1
          filters:
          - requestRedirect:
              scheme: https
              statusCode: 302
            type: RequestRedirect
          - requestMirror:
              backendRef:
                group: ""
                kind: Service
                name: log
                port: 80
              fraction:
                denominator: 100
                numerator: 1
            type: RequestMirror
          matches:
          - path:
              type: PathPrefix
              value: /
        - matches:
          - headers:
            - name: a
              type: Exact
              value: b
            path:
              type: PathPrefix
              value: /
          - path:
              type: PathPrefix
              value: /x
    "#]]
    .assert_eq(&yaml(&route["spec"]));
    assert!(route.get("status").is_none(), "a status is not written by an author");
}

#[test]
fn a_route_without_rules_matches_everything() {
    let (_, route) = read("kind: HTTPRoute\nspec: {}");
    assert_eq!(route["spec"]["rules"][0]["matches"][0]["path"]["value"], "/");
}

#[test]
fn a_gateway_gets_the_defaults_of_its_crd() {
    let (_, gateway) = read(
        "
kind: Gateway
spec:
  gatewayClassName: isthmus
  addresses: [{value: 127.0.0.1}]
  listeners:
  - {name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
  - {name: b, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}
",
    );
    expect![[r#"
        addresses:
        - type: IPAddress
          value: "127.0.0.1"
        gatewayClassName: isthmus
        listeners:
        - allowedRoutes:
            namespaces:
              from: Same
          name: a
          port: 443
          protocol: HTTPS
          tls:
            certificateRefs:
            - group: ""
              kind: Secret
              name: cert
            mode: Terminate
        - allowedRoutes:
            kinds:
            - group: gateway.networking.k8s.io
              kind: HTTPRoute
            namespaces:
              from: Same
          name: b
          port: 80
          protocol: HTTP
    "#]]
    .assert_eq(&yaml(&gateway["spec"]));
}

#[test]
fn string_data_of_a_secret_ends_up_in_its_data() {
    let (_, secret) = read("{kind: Secret, data: {a: eA==, b: eA==}, stringData: {a: hello}}");
    assert_eq!(secret["data"], serde_json::json!({ "a": "aGVsbG8=", "b": "eA==" }));
    assert_eq!(secret["type"], "Opaque");
    assert!(secret.get("stringData").is_none());
}

#[test]
fn unknown_fields_are_told_with_what_was_meant() {
    check(
        "{kind: HTTPRoute, spec: {hostname: [a.com], Rules: [], zzz: 1}}",
        expect![[r#"
        spec.Rules is no field of this kind; did you mean rules?
        spec.hostname is no field of this kind; did you mean hostnames?
        spec.zzz is no field of this kind"#]],
    );
}

#[test]
fn what_is_missing_or_of_another_type_is_told() {
    check(
        "{kind: Gateway, metadata: {}, spec: {listeners: {}}}",
        expect![[r#"
        metadata.name is required
        spec.gatewayClassName is required
        spec.listeners must be a list"#]],
    );
    check("{kind: Gateway}", expect!["spec is required"]);
    check(
        "{kind: HTTPRoute, spec: {hostnames: a.com, rules: [7]}}",
        expect![[r#"
        spec.hostnames must be a list
        spec.rules[0] must be an object"#]],
    );
}

#[test]
fn metadata_follows_the_rules_of_names() {
    check(
        "{kind: Namespace, metadata: {name: a.b, labels: {-x: y, ok: 'no no'}, creationTimestamp: soon}}",
        expect![[r#"
            metadata.creationTimestamp must be a time such as 2026-01-31T12:00:00Z
            metadata.labels[-x] has an invalid key: it must be letters, digits, '-', '_' and '.', 63 at most, with a domain and '/' in front if any
            metadata.labels[-x] must be text
            metadata.labels[ok] must be letters, digits, '-', '_' and '.', 63 at most
            metadata.name must be lower-case letters, digits and '-', with a letter or digit at both ends, 63 at most"#]],
    );
    check(
        "{kind: GatewayClass, metadata: {name: A}, spec: {controllerName: isthmus}}",
        expect![[r#"
        metadata.name must be lower-case letters, digits, '-' and '.', with a letter or digit at both ends
        spec.controllerName must be a domain and a path, such as example.com/name"#]],
    );
}

#[test]
fn paths_are_absolute_and_plain() {
    for path in [
        "a", "", "/a//b", "/./a", "/a/../b", "/%2fa", "/%2Fa", "/a#b", "/..", "/a/.", "/a b", "/%zz",
        "/\u{e9}",
    ] {
        for kind in ["Exact", "PathPrefix"] {
            let (_, route) = read(&format!(
                "kind: HTTPRoute\nspec: {{rules: [{{matches: [{{path: {{type: {kind}, value: {path:?}}}}}]}}]}}"
            ));
            let errors = schema::validate("HTTPRoute", &route);
            assert_eq!(errors.len(), 1, "{path:?}: {errors:?}");
            assert_eq!(errors[0].path, "spec.rules[0].matches[0].path.value");
        }
    }
    rule("matches: [{path: {type: Exact, value: /a/b.c/~d:@!$&'()*+;=%20}}]", expect![[""]]);
    rule("matches: [{path: {type: RegularExpression, value: 'a//b'}}]", expect![[""]]);
}

#[test]
fn matches_have_limits() {
    rule(
        "matches: [{method: get, headers: [{name: 'a:', value: ''}, {name: b, value: c, type: Prefix}]}]",
        expect![[r#"
            spec.rules[0].matches[0].headers[0].name must be the name of a header field
            spec.rules[0].matches[0].headers[0].value must not be empty
            spec.rules[0].matches[0].headers[1].type must be one of Exact, RegularExpression
            spec.rules[0].matches[0].method must be one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH"#]],
    );
    rule(
        "matches: [{queryParams: [{name: a, value: b}, {name: a, value: c}]}]",
        expect!["spec.rules[0].matches[0].queryParams[1] has the name of an earlier entry"],
    );
    let many = "{path: {value: /}},".repeat(64);
    let rules = format!("{{matches: [{many}]}},").repeat(3);
    check(
        &format!("kind: HTTPRoute\nspec: {{rules: [{rules}]}}"),
        expect!["spec.rules has 192 matches together; 128 are allowed"],
    );
}

#[test]
fn a14_values_of_headers_cannot_split_messages() {
    rule(
        r#"filters:
- type: RequestHeaderModifier
  requestHeaderModifier: {set: [{name: a, value: "b\r\nc: d"}], add: [{name: b, value: "x\0"}]}
- type: ResponseHeaderModifier
  responseHeaderModifier: {set: [{name: "a\r\nb", value: ok}]}"#,
        expect![[r#"
            spec.rules[0].filters[0].requestHeaderModifier.add[0].value holds a control character (CR, LF and NUL would split the message)
            spec.rules[0].filters[0].requestHeaderModifier.set[0].value holds a control character (CR, LF and NUL would split the message)
            spec.rules[0].filters[1].responseHeaderModifier.set[0].name must be the name of a header field"#]],
    );
}

#[test]
fn a_filter_holds_the_field_of_its_type() {
    rule(
        "filters: [{type: URLRewrite, requestRedirect: {}}]",
        expect![[r#"
        spec.rules[0].filters[0].requestRedirect may be set for type RequestRedirect only
        spec.rules[0].filters[0].urlRewrite is required for type URLRewrite"#]],
    );
    rule(
        "filters: [{type: Magic}]",
        expect![
            "spec.rules[0].filters[0].type must be one of RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, ExtensionRef, CORS, ExternalAuth"
        ],
    );
}

#[test]
fn filters_of_one_type_are_not_repeated() {
    rule(
        "filters:
- {type: RequestRedirect, requestRedirect: {statusCode: 300}}
- {type: RequestRedirect, requestRedirect: {scheme: ftp, port: 0}}",
        expect![[r#"
            spec.rules[0].filters[0].requestRedirect.statusCode must be one of [301, 302, 303, 307, 308]
            spec.rules[0].filters[1].requestRedirect.port must be a whole number from 1 to 65535
            spec.rules[0].filters[1].requestRedirect.scheme must be one of http, https"#]],
    );
    rule(
        "filters:
- {type: URLRewrite, urlRewrite: {hostname: a.com}}
- {type: URLRewrite, urlRewrite: {hostname: b.com}}
- {type: RequestRedirect, requestRedirect: {}}",
        expect![[r#"
            spec.rules[0].filters must not have both RequestRedirect and URLRewrite
            spec.rules[0].filters[1] has the type of an earlier filter, which may be there once"#]],
    );
    rule(
        "filters:
- {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 50, fraction: {numerator: 2, denominator: 1}}}
- {type: RequestMirror, requestMirror: {backendRef: {name: a, port: 1}, percent: 101}}",
        expect![[r#"
            spec.rules[0].filters[0].requestMirror.fraction.numerator must not be greater than denominator
            spec.rules[0].filters[1].requestMirror.percent must be a whole number from 0 to 100"#]],
    );
}

#[test]
fn a_redirect_goes_nowhere_else() {
    rule(
        "filters: [{type: RequestRedirect, requestRedirect: {}}]
backendRefs: [{name: a, port: 1}]",
        expect!["spec.rules[0].backendRefs must not be set beside a RequestRedirect filter"],
    );
}

#[test]
fn a_prefix_is_replaced_where_one_is_matched() {
    rule(
        "matches: [{path: {type: Exact, value: /a}}]
filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]",
        expect![
            "spec.rules[0].matches must be exactly one, with a path of type PathPrefix, for a filter with replacePrefixMatch"
        ],
    );
    rule(
        "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /b}}}]",
        expect![[r#"
            spec.rules[0].filters[0].urlRewrite.path.replaceFullPath is required for type ReplaceFullPath
            spec.rules[0].filters[0].urlRewrite.path.replacePrefixMatch may be set for type ReplacePrefixMatch only"#]],
    );
}

#[test]
fn references_to_services_need_ports() {
    rule(
        "backendRefs: [{name: a}, {name: a, port: 70000, weight: -1}, {name: b, kind: Thing, group: x.io}]",
        expect![[r#"
            spec.rules[0].backendRefs[0].port is required for a reference to a Service
            spec.rules[0].backendRefs[1].port must be a whole number from 1 to 65535
            spec.rules[0].backendRefs[1].weight must be a whole number from 0 to 1000000"#]],
    );
}

#[test]
fn durations_follow_gep_2257_and_fit() {
    rule(
        "timeouts: {request: 1s, backendRequest: 2s}",
        expect!["spec.rules[0].timeouts.backendRequest must not be longer than request"],
    );
    rule("timeouts: {request: 0s, backendRequest: 2s}", expect![[""]]);
    rule(
        "timeouts: {request: 1.5s}",
        expect![
            "spec.rules[0].timeouts.request must be up to four numbers of up to five digits with units, such as 1h30m or 500ms"
        ],
    );
}

#[test]
fn references_to_one_parent_name_its_parts() {
    let parents =
        |refs: &str, errors| check(&format!("kind: HTTPRoute\nspec: {{parentRefs: [{refs}]}}"), errors);
    parents(
        "{name: a}, {name: a}",
        expect!["spec.parentRefs[1] refers to the same parent, sectionName and port as an earlier one"],
    );
    parents(
        "{name: a, sectionName: x}, {name: a}",
        expect![
            "spec.parentRefs[1] must set sectionName and port just as other references to the same parent do"
        ],
    );
    parents(
        "{name: a, sectionName: x}, {name: a, sectionName: x}",
        expect!["spec.parentRefs[1] refers to the same parent, sectionName and port as an earlier one"],
    );
    parents(
        "{name: a, sectionName: x}, {name: a, sectionName: z}, {name: a, namespace: b}",
        expect![""],
    );
    parents("{name: a, sectionName: x, port: 1}, {name: a, sectionName: x, port: 2}", expect![[""]]);
}

#[test]
fn rule_names_are_unique() {
    check(
        "kind: HTTPRoute\nspec: {rules: [{name: a}, {name: b}, {name: a}]}",
        expect!["spec.rules[2] has the name of an earlier rule"],
    );
}

#[test]
fn listeners_are_distinct() {
    check(
        "
kind: Gateway
spec:
  gatewayClassName: isthmus
  listeners:
  - {name: a, port: 80, protocol: HTTP, hostname: a.com}
  - {name: b, port: 80, protocol: HTTP, hostname: a.com}
  - {name: a, port: 81, protocol: HTTP}
",
        expect![[r#"
            spec.listeners[1] has the port, protocol and hostname of an earlier listener
            spec.listeners[2] has the name of an earlier listener"#]],
    );
}

#[test]
fn tls_goes_with_the_protocol() {
    listener(
        "protocol: HTTP\ntls: {certificateRefs: [{name: a}]}",
        expect!["spec.listeners[0].tls must not be set for protocol HTTP"],
    );
    listener(
        "protocol: HTTPS\ntls: {mode: Passthrough}",
        expect!["spec.listeners[0].tls.mode must be Terminate for protocol HTTPS"],
    );
    listener(
        "protocol: HTTPS\ntls: {}",
        expect!["spec.listeners[0].tls.certificateRefs is required when mode is Terminate (or options)"],
    );
    listener("protocol: TLS", expect!["spec.listeners[0].tls.mode must be set for protocol TLS"]);
    listener(
        "protocol: TCP\nhostname: a.com",
        expect!["spec.listeners[0].hostname must not be set for protocol TCP"],
    );
    listener("protocol: example.com/custom\nhostname: '*.a.com'", expect![[""]]);
    listener(
        "protocol: HTTP\nhostname: '*.*.com'",
        expect![
            "spec.listeners[0].hostname must be a host name in lower case, with '*' as its first label at most"
        ],
    );
    listener(
        "protocol: HTTP\nallowedRoutes: {namespaces: {from: Some}, kinds: [{}]}",
        expect![[r#"
        spec.listeners[0].allowedRoutes.kinds[0].kind is required
        spec.listeners[0].allowedRoutes.namespaces.from must be one of All, Selector, Same"#]],
    );
}

#[test]
fn addresses_are_such_and_unique() {
    check(
        "
kind: Gateway
spec:
  gatewayClassName: isthmus
  addresses: [{value: 1.2.3.4}, {value: 1.2.3.4}, {value: a.b}, {type: Hostname, value: '!'}, {type: x}]
  listeners: [{name: a, port: 0, protocol: HTTP}]
",
        expect![[r#"
            spec.addresses[2].value must be an IP address
            spec.addresses[3].value must be a host name
            spec.addresses[4].type must be IPAddress, Hostname, NamedAddress, or a domain and a path, such as example.com/name
            spec.listeners[0].port must be a whole number from 1 to 65535"#]],
    );
}

#[test]
fn grants_name_both_sides() {
    check(
        "{kind: ReferenceGrant, spec: {from: [], to: [{group: '', kind: Secret}]}}",
        expect!["spec.from must have at least 1 item"],
    );
    check(
        "{kind: ReferenceGrant, spec: {from: [{kind: HTTPRoute}], to: [{kind: Service}]}}",
        expect![[r#"
            spec.from[0].group is required
            spec.from[0].namespace is required
            spec.to[0].group is required"#]],
    );
}

#[test]
fn ports_of_services_are_named_and_distinct() {
    check(
        "{kind: Service, spec: {ports: [{port: 80}, {port: 80, name: a}]}}",
        expect![[r#"
        spec.ports[0].name is required when there are several ports
        spec.ports[1] has the number and protocol of an earlier port"#]],
    );
    check("{kind: Service, spec: {}}", expect!["spec.ports is required"]);
    check("{kind: Service, spec: {clusterIP: None}}", expect![[""]]);
    check(
        "{kind: Service, spec: {type: ExternalName}}",
        expect!["spec.externalName is required for type ExternalName"],
    );
    check(
        "{kind: Service, metadata: {name: a.b}, spec: {ports: [{port: 80, appProtocol: kubernetes.io/h2c}]}}",
        expect![
            "metadata.name must be lower-case letters, digits and '-', with a letter or digit at both ends, 63 at most"
        ],
    );
}

#[test]
fn g11_slices_name_no_address_that_leads_back() {
    check(
        "
kind: EndpointSlice
addressType: IPv4
endpoints:
- addresses: [127.0.0.1]
- addresses: [169.254.169.254]
- addresses: [0.0.0.0, 224.0.0.1, '::1', nonsense]
ports: [{port: 8080}]
",
        expect![[r#"
            endpoints[1].addresses[0] must not be a link-local address
            endpoints[2].addresses[0] must not be 0.0.0.0
            endpoints[2].addresses[1] must not be a multicast address
            endpoints[2].addresses[2] must be an IPv4 address, as addressType says
            endpoints[2].addresses[3] must be an IPv4 address, as addressType says"#]],
    );
    check(
        "{kind: EndpointSlice, addressType: IPv6, endpoints: [{addresses: ['fe80::1']}, {addresses: []}]}",
        expect!["endpoints[1].addresses must have at least 1 item"],
    );
    check(
        "{kind: EndpointSlice, addressType: IPv6, endpoints: [{addresses: ['fe80::1', '::', 'ff02::1', '::1']}]}",
        expect![[r#"
            endpoints[0].addresses[0] must not be a link-local address
            endpoints[0].addresses[1] must not be ::
            endpoints[0].addresses[2] must not be a multicast address"#]],
    );
}

#[test]
fn secrets_hold_base64() {
    check(
        "{kind: Secret, type: kubernetes.io/tls, data: {tls.crt: '!', x: 'YQ=='}}",
        expect!["data[tls.crt] must be base64 (use stringData for plain text)"],
    );
    check(
        "{kind: Secret, type: kubernetes.io/tls, data: {tls.crt: YQ==}}",
        expect!["data[tls.key] is required for type kubernetes.io/tls"],
    );
    check("{kind: Secret, stringData: {a: 7}}", expect!["stringData[a] must be text"]);
}

#[test]
fn other_kinds_are_not_touched() {
    let mut other = serde_json::json!({ "kind": "Deployment", "status": {}, "x": null });
    let before = other.clone();
    schema::default("Deployment", &mut other);
    assert_eq!(other, before);
    assert_eq!(schema::validate("Deployment", &other), []);
}
