//! The guides on Gateways, namespaces and references: what is attached, what is refused, and how status
//! says so. It means the same on every API server and in every directory; what does not is in `machine`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    backend::Backend,
    client::get,
    instance::{Instance, eventually, free, gateway_of, route, route_of, service},
};

/// Conditions as `type -> status reason`.
pub fn conditions(of: &Value) -> BTreeMap<String, String> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap().to_owned();
    let one = |c: &Value| (text(c, "type"), format!("{} {}", text(c, "status"), text(c, "reason")));
    of["conditions"].as_array().unwrap().iter().map(one).collect()
}

/// One condition of each parent of a route.
fn of_parents(instance: &Instance, namespace: &str, name: &str, kind: &str) -> Vec<String> {
    let route = instance.get("httproute", namespace, name);
    let parents = route["status"]["parents"].as_array().unwrap();
    for parent in parents {
        assert_eq!(parent["controllerName"], "isthmus.dev/gateway");
        let observed = |c: &Value| c["observedGeneration"] == route["metadata"]["generation"];
        assert!(parent["conditions"].as_array().unwrap().iter().all(observed));
    }
    parents.iter().map(|parent| conditions(parent)[kind].clone()).collect()
}

const NAMESPACES: &str = "---
apiVersion: v1
kind: Namespace
metadata:
  name: site-ns
  labels: {shared-gateway-access: \"true\"}
---
apiVersion: v1
kind: Namespace
metadata:
  name: no-external-access
";

const GRANT: &str = "---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: grant, namespace: default}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: site-ns}]
  to: [{group: \"\", kind: Service}]
";

#[test]
fn routes_of_other_namespaces() {
    let (address, a) = (free(), Backend::start("a"));
    let listeners = format!(
        "  - name: shared
    protocol: HTTP
    port: {}
    allowedRoutes:
      namespaces:
        from: Selector
        selector:
          matchLabels:
            shared-gateway-access: \"true\"
",
        address.port()
    );
    let parents = "[{name: gateway, namespace: default}]";
    let own = "  - backendRefs: [{name: a, port: 8080}]\n";
    let others = "  - matches: [{path: {value: /other}}]
    backendRefs: [{name: a, namespace: default, port: 8080}]
";
    let manifests = [
        NAMESPACES.to_owned(),
        gateway_of("gateway", address.ip(), &listeners),
        route_of("site-ns", "home", parents, "[home.example]", &format!("{own}{others}")),
        route_of("no-external-access", "home", parents, "[none.example]", own),
        service("site-ns", "a", "", &[a.address]),
        service("default", "a", "", &[a.address]),
        service("no-external-access", "a", "", &[a.address]),
    ];
    let instance = Instance::start(&manifests.concat());
    assert_eq!(get(address, "home.example", "/").body, "a");
    assert_eq!(get(address, "none.example", "/").status, 404);
    assert_eq!(of_parents(&instance, "site-ns", "home", "Accepted"), ["True Accepted"]);
    assert_eq!(
        of_parents(&instance, "no-external-access", "home", "Accepted"),
        ["False NotAllowedByListeners"]
    );
    let gateway = instance.get("gateway", "default", "gateway");
    assert_eq!(gateway["status"]["listeners"][0]["attachedRoutes"], 1);

    assert_eq!(get(address, "home.example", "/other").status, 500);
    assert_eq!(of_parents(&instance, "site-ns", "home", "ResolvedRefs"), ["False RefNotPermitted"]);
    instance.write("grant.yaml", GRANT);
    eventually("the grant", || (get(address, "home.example", "/other").body == "a").then_some(()));
    eventually("its status", || {
        let said = of_parents(&instance, "site-ns", "home", "ResolvedRefs");
        (said == ["True ResolvedRefs"]).then_some(())
    });
    instance.remove("grant.yaml");
    eventually("the end of it", || (get(address, "home.example", "/other").status == 500).then_some(()));
}

#[test]
fn reasons_of_routes() {
    let (address, a) = (free(), Backend::start("a"));
    let listeners = format!(
        "  - {{name: one, protocol: HTTP, port: {port}, hostname: \"*.example.com\"}}
  - {{name: grpc, protocol: HTTP, port: {port}, hostname: grpc.test, allowedRoutes: {{kinds: [{{kind: GRPCRoute}}]}}}}
",
        port = address.port()
    );
    let own = "  - backendRefs: [{name: a, port: 8080}]\n";
    let parent = |more: &str| format!("[{{name: gateway{more}}}]");
    let hosts = "[a.example.com]";
    let manifests = [
        gateway_of("gateway", address.ip(), &listeners),
        route_of("default", "fine", &parent(", sectionName: one"), hosts, own),
        route_of("default", "section", &parent(", sectionName: two"), hosts, own),
        route_of("default", "port", &parent(", port: 1"), hosts, own),
        route_of("default", "kind", &parent(", sectionName: grpc"), "[grpc.test]", own),
        route_of("default", "host", &parent(""), "[example.org]", own),
        route_of("default", "elsewhere", "[{name: other}]", hosts, own),
        route("no-backend", "b.example.com", "  - backendRefs: [{name: nowhere, port: 1}]\n"),
        route(
            "no-kind",
            "k.example.com",
            "  - backendRefs: [{name: a, kind: Pot, group: x.io, port: 1}]\n",
        ),
        service("default", "a", "", &[a.address]),
    ];
    let instance = Instance::start(&manifests.concat());
    for (name, accepted, resolved) in [
        ("fine", "True Accepted", "True ResolvedRefs"),
        ("section", "False NoMatchingParent", "True ResolvedRefs"),
        ("port", "False NoMatchingParent", "True ResolvedRefs"),
        ("kind", "False NotAllowedByListeners", "True ResolvedRefs"),
        ("host", "False NoMatchingListenerHostname", "True ResolvedRefs"),
        ("no-backend", "True Accepted", "False BackendNotFound"),
        ("no-kind", "True Accepted", "False InvalidKind"),
    ] {
        assert_eq!(of_parents(&instance, "default", name, "Accepted"), [accepted], "{name}");
        assert_eq!(of_parents(&instance, "default", name, "ResolvedRefs"), [resolved], "{name}");
    }
    assert!(instance.get("httproute", "default", "elsewhere").get("status").is_none());
    let status = instance.get("gateway", "default", "gateway")["status"].clone();
    assert_eq!(conditions(&status)["ResolvedRefs"], "False ListenersNotResolved");
    let of_listener = |index: usize| conditions(&status["listeners"][index]);
    assert_eq!(of_listener(0)["ResolvedRefs"], "True ResolvedRefs");
    assert_eq!(of_listener(1)["ResolvedRefs"], "False InvalidRouteKinds");
    assert_eq!(status["listeners"][1]["supportedKinds"], serde_json::json!([]));
}

#[test]
fn listeners_that_conflict_and_classes_of_others() {
    let (address, other) = (free(), free());
    let listeners = format!(
        "  - {{name: fine, protocol: HTTP, port: {}}}
  - {{name: clear, protocol: HTTP, port: {port}, hostname: a.com}}
  - {{name: secure, protocol: HTTPS, port: {port}, hostname: b.com, tls: {{certificateRefs: [{{name: x}}]}}}}
  - {{name: tcp, protocol: TCP, port: 9}}
",
        address.port(),
        port = other.port()
    );
    let simple = "  - {name: h, protocol: HTTP, port: 9}\n";
    let foreign = "---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: other}
spec: {controllerName: example.com/other}
";
    let manifests = [
        gateway_of("gateway", address.ip(), &listeners),
        gateway_of("foreign", address.ip(), simple).replace("Name: isthmus", "Name: other"),
        gateway_of("nobodys", address.ip(), simple).replace("Name: isthmus", "Name: typo"),
        foreign.to_owned(),
    ];
    let instance = Instance::start(&manifests.concat());
    let status = |name: &str| instance.get("gateway", "default", name)["status"].clone();
    let of_gateway = status("gateway");
    assert_eq!(conditions(&of_gateway)["Accepted"], "True ListenersNotValid");
    assert_eq!(conditions(&of_gateway)["Programmed"], "True Programmed");
    let accepted = |index: usize| conditions(&of_gateway["listeners"][index])["Accepted"].clone();
    assert_eq!(accepted(0), "True Accepted");
    assert_eq!(accepted(1), "False ProtocolConflict");
    assert_eq!(accepted(2), "False ProtocolConflict");
    assert_eq!(accepted(3), "False UnsupportedProtocol");
    for name in ["foreign", "nobodys"] {
        let status = status(name);
        assert_eq!(conditions(&status)["Accepted"], "Unknown Pending", "{name}");
        assert_eq!(conditions(&status)["Programmed"], "Unknown Pending", "{name}");
    }
}
