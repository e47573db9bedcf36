//! Status as JSON, by what proxies acked; what follows from manifests alone is pinned by the cases in
//! `testdata`.

#![allow(
    clippy::needless_pass_by_value,
    clippy::needless_raw_string_hashes,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and expectations are written by the tool"
)]

use std::collections::{BTreeMap, BTreeSet};

use expect_test::{Expect, expect, expect_file};
use isthmus_gateway::{
    Condition,
    attachment::{self, Parent},
    class, definitions, http_route,
    listener::{self, Exposure, GatewayOutput, Given},
    parameters::Known,
    reference::Grants,
    status::{self, Progress},
};
use isthmus_world::fact::{
    Address, AllowedNamespaces, AllowedRoutes, Gateway, GatewayClass, GroupKind, HttpRoute, Listener,
    Meta, ObjectReference, ParentRef, Problem, RequestedAddress, ServiceScope,
};
use serde_json::{Value, json};

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

fn meta(name: &str, generation: i64) -> Meta {
    Meta { namespace: "default".into(), name: name.into(), generation, ..Meta::default() }
}

fn gateway() -> Gateway {
    let listener = |name: &str, port| Listener {
        name: name.into(),
        hostname: None,
        port,
        protocol: "HTTP".into(),
        tls: None,
        allowed: AllowedRoutes { namespaces: AllowedNamespaces::Same, kinds: Vec::new() },
    };
    Gateway {
        meta: meta("gw", 7),
        class: "isthmus".into(),
        addresses: Vec::new(),
        parameters: None,
        listeners: vec![listener("a", 8080), listener("b", 8081)],
        unsupported: Vec::new(),
    }
}

fn translated(gateway: &Gateway) -> GatewayOutput {
    exposed(gateway, Exposure::Host)
}

fn exposed(gateway: &Gateway, exposure: Exposure<'_>) -> GatewayOutput {
    translated_with(gateway, exposure, true, &Known::There)
}

fn translated_with(
    gateway: &Gateway,
    exposure: Exposure<'_>,
    class_accepted: bool,
    parameters: &Known,
) -> GatewayOutput {
    listener::translate(listener::Inputs {
        gateway,
        class_accepted,
        parameters,
        certificates: &BTreeMap::new(),
        grants: Grants(&[]),
        taken: &[],
        exposure,
    })
}

fn gateway_status(progress: &Progress) -> Value {
    let gateway = gateway();
    let attached = BTreeMap::from([("a".to_owned(), 3)]);
    status::gateway(&gateway, &translated(&gateway).report, &attached, progress, None)
}

fn proxies(acked: &[&str], behind: &[&str]) -> Progress {
    let names = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    Progress { acked: names(acked), behind: names(behind), ..Progress::default() }
}

/// Conditions of an object, one a line, without those that are as they should be.
fn troubles(status: &Value) -> String {
    let at = |value: &Value, prefix: &str| -> Vec<String> {
        let list = value.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |c: &Value, field: &str| c.get(field).and_then(Value::as_str).unwrap().to_owned();
        list.iter()
            .filter(|c| text(c, "reason") != text(c, "type") && text(c, "reason") != "NoConflicts")
            .map(|c| {
                format!(
                    "{prefix}{}={} {}: {}",
                    text(c, "type"),
                    text(c, "status"),
                    text(c, "reason"),
                    text(c, "message")
                )
            })
            .collect()
    };
    let mut lines = at(status, "");
    for listener in status.get("listeners").and_then(Value::as_array).into_iter().flatten() {
        let name = listener.get("name").and_then(Value::as_str).unwrap();
        lines.extend(at(listener, &format!("{name}: ")));
    }
    for parent in status.get("parents").and_then(Value::as_array).into_iter().flatten() {
        lines.extend(at(parent, "parent: "));
    }
    lines.join("\n")
}

#[test]
fn a_gateway_that_is_served() {
    let status = gateway_status(&proxies(&["p1"], &[]));
    expect_file!["expected/gateway.yaml"].assert_eq(&yaml(&status));
}

fn programmed(progress: Progress, expected: Expect) {
    expected.assert_eq(&troubles(&gateway_status(&progress)));
}

#[test]
fn programmed_waits_for_every_proxy() {
    programmed(proxies(&["p1", "p2"], &[]), expect![""]);
    programmed(
        proxies(&[], &[]),
        expect![[r#"
        Programmed=False Pending: no proxy is connected
        a: Programmed=False Pending: no proxy is connected
        b: Programmed=False Pending: no proxy is connected"#]],
    );
    programmed(
        proxies(&["p1"], &["p2", "p3"]),
        expect![[r#"
        Programmed=False Pending: waiting for proxy p2, p3
        a: Programmed=False Pending: waiting for proxy p2, p3
        b: Programmed=False Pending: waiting for proxy p2, p3"#]],
    );
}

#[test]
fn programmed_says_what_a_proxy_refused() {
    let refused = BTreeMap::from([("p1".to_owned(), "it lacks a feature".to_owned())]);
    programmed(
        Progress { refused, ..proxies(&["p1"], &[]) },
        expect![[r#"
        Programmed=False Invalid: proxy p1 refused it: it lacks a feature
        a: Programmed=False Invalid: proxy p1 refused it: it lacks a feature
        b: Programmed=False Invalid: proxy p1 refused it: it lacks a feature"#]],
    );
}

#[test]
fn an_address_that_is_not_this_machines_is_not_listed() {
    let unbound = |why: &str| Progress {
        unbound: [("a".to_owned(), why.to_owned())].into(),
        ..proxies(&["p1"], &[])
    };
    let addresses = |why: &str| gateway_status(&unbound(why))["addresses"].as_array().unwrap().len();
    assert_eq!(addresses("127.0.0.1:80: Cannot assign requested address (os error 99)"), 0);
    assert_eq!(addresses("127.0.0.1:80: Address already in use (os error 98)"), 1);
    assert_eq!(addresses("127.0.0.7:80: Cannot assign requested address (os error 99)"), 1);
}

#[test]
fn a_port_that_is_taken_is_a_condition_of_its_listener() {
    let unbound = |names: &[&str], why: &str| Progress {
        unbound: names.iter().map(|n| ((*n).to_owned(), why.to_owned())).collect(),
        ..proxies(&["p1"], &[])
    };
    let taken = "Address already in use (os error 98)";
    programmed(
        unbound(&["a"], taken),
        expect![[r#"
        Accepted=True ListenersNotValid: not valid: listener a; see their status
        a: Accepted=False PortUnavailable: Address already in use (os error 98): free the port, or give listener a another; it is tried again
        a: Programmed=False Pending: it is not bound, and tried again: Address already in use (os error 98)"#]],
    );
    programmed(
        unbound(&["a", "b"], taken),
        expect![[r#"
            Accepted=False ListenersNotValid: not valid: listener a, b; see their status
            Programmed=False Invalid: no listener could be bound; see their status
            a: Accepted=False PortUnavailable: Address already in use (os error 98): free the port, or give listener a another; it is tried again
            a: Programmed=False Pending: it is not bound, and tried again: Address already in use (os error 98)
            b: Accepted=False PortUnavailable: Address already in use (os error 98): free the port, or give listener b another; it is tried again
            b: Programmed=False Pending: it is not bound, and tried again: Address already in use (os error 98)"#]],
    );
    let foreign = "Cannot assign requested address (os error 99)";
    programmed(
        unbound(&["a", "b"], foreign),
        expect![[r#"
        Programmed=False AddressNotUsable: listener a: Cannot assign requested address (os error 99): use addresses of this machine in spec.addresses
        a: Programmed=False Pending: it is not bound, and tried again: Cannot assign requested address (os error 99)
        b: Programmed=False Pending: it is not bound, and tried again: Cannot assign requested address (os error 99)"#]],
    );
}

fn gateway_class() -> GatewayClass {
    GatewayClass {
        meta: meta("isthmus", 2),
        controller: isthmus_gateway::CONTROLLER.into(),
        parameters: None,
    }
}

fn class_status(definitions: &class::Definitions) -> Value {
    let output = class::translate(&gateway_class(), &Known::Missing, definitions).unwrap();
    status::gateway_class(&gateway_class(), &output, None)
}

fn features(status: &Value) -> BTreeSet<String> {
    let names = status["supportedFeatures"].as_array().unwrap().iter();
    names.map(|feature| feature["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_class_lists_what_works_in_order() {
    assert!(class::FEATURES.is_sorted());
    expect_file!["expected/class.yaml"].assert_eq(&yaml(&class_status(&class::Definitions::BuiltIn)));
    let other = GatewayClass { controller: "example.com/other".into(), ..gateway_class() };
    assert_eq!(class::translate(&other, &Known::Missing, &class::Definitions::BuiltIn), None);
}

/// There is no definition.
struct Missing;

/// The status of a class where definitions are of v1.7.0, but for one by the plural of its kind: of another
/// release, of none, or missing.
fn where_one_is(plural: &str, version: Result<Option<&str>, Missing>) -> Value {
    let found = version.ok().map(|version| version.map(str::to_owned));
    let of = |name: &str| match name.strip_suffix(".gateway.networking.k8s.io") {
        Some(name) if name == plural => found.clone(),
        _ => Some(Some("v1.7.0".to_owned())),
    };
    class_status(&class::Definitions::Installed(definitions::Installed::new(of)))
}

#[test]
fn f12_a_class_says_which_definition_is_missing_or_of_another_release() {
    let fine = where_one_is("gateways", Ok(Some("v1.5.1")));
    assert_eq!(troubles(&fine), "");
    let more: Vec<_> = features(&fine)
        .difference(&features(&class_status(&class::Definitions::BuiltIn)))
        .cloned()
        .collect();
    assert_eq!(more, ["GatewayInfrastructure"], "needs objects that run a Gateway");
    expect!["SupportedVersion=False UnsupportedVersion: the definition gateways.gateway.networking.k8s.io has version v1.2.1; supported are v1.3 to v1.7: `kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml`"].assert_eq(&troubles(&where_one_is("gateways", Ok(Some("v1.2.1")))));
    expect!["SupportedVersion=False UnsupportedVersion: the definition referencegrants.gateway.networking.k8s.io has version (none); supported are v1.3 to v1.7: `kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml`"].assert_eq(&troubles(&where_one_is("referencegrants", Ok(None))));
    let lacking = where_one_is("httproutes", Err(Missing));
    expect!["SupportedVersion=False UnsupportedVersion: the definition httproutes.gateway.networking.k8s.io is missing: `kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.7.0/standard-install.yaml`"].assert_eq(&troubles(&lacking));
    let gone: BTreeSet<_> = features(&fine).difference(&features(&lacking)).cloned().collect();
    assert!(gone.contains("HTTPRoute") && gone.contains("HTTPRouteCORS"), "{gone:?}");
    assert!(gone.iter().all(|feature| feature.starts_with("HTTPRoute")), "{gone:?}");
}

/// A reference to GatewayParameters.
fn parameters_ref(namespace: Option<&str>) -> ObjectReference {
    ObjectReference {
        kind: GroupKind { group: "isthmus.dev".into(), kind: "GatewayParameters".into() },
        namespace: namespace.map(str::to_owned),
        name: "fast".into(),
    }
}

#[test]
fn a_class_whose_parameters_cannot_be_used_says_which_and_why() {
    let told = |reference: ObjectReference, known: Known| {
        let class = GatewayClass {
            meta: meta("isthmus", 2),
            controller: isthmus_gateway::CONTROLLER.into(),
            parameters: Some(reference),
        };
        let output = class::translate(&class, &known, &class::Definitions::BuiltIn).unwrap();
        troubles(&status::gateway_class(&class, &output, None))
    };
    let named = || parameters_ref(Some("infra"));
    expect![""].assert_eq(&told(named(), Known::There));
    expect!["Accepted=False InvalidParameters: spec.parametersRef names GatewayParameters infra/fast, which does not exist"]
        .assert_eq(&told(named(), Known::Missing));
    expect!["Accepted=False InvalidParameters: spec.parametersRef names GatewayParameters infra/fast, which cannot be used: spec: no"]
        .assert_eq(&told(named(), Known::Unreadable("spec: no".into())));
    expect!["Accepted=False InvalidParameters: spec.parametersRef names GatewayParameters fast of no namespace; add their namespace"]
        .assert_eq(&told(parameters_ref(None), Known::There));
    let other = ObjectReference {
        kind: GroupKind { group: "example.com".into(), kind: "Settings".into() },
        ..named()
    };
    expect![[r#"Accepted=False InvalidParameters: spec.parametersRef names Settings fast of group "example.com"; supported are GatewayParameters of isthmus.dev"#]]
        .assert_eq(&told(other, Known::There));
}

#[test]
fn a_gateway_in_pods_that_run_goes_on_when_its_parameters_are_gone() {
    let address = [Address::Ip("192.0.2.7".parse().unwrap())];
    let pods = Exposure::Service(Given { own: &address, cluster: &[] });
    let gateway = Gateway { parameters: Some(parameters_ref(None)), ..gateway() };
    let sound = translated_with(&gateway, pods, true, &Known::There);
    assert!(sound.report.accepted());
    for (class_accepted, known) in
        [(true, Known::Missing), (true, Known::Unreadable("no".into())), (false, Known::There)]
    {
        let output = translated_with(&gateway, pods, class_accepted, &known);
        assert!(!output.report.accepted() && output.report.unprogrammable.is_some());
        assert_eq!((output.runs, &output.listeners), (true, &sound.listeners));
        assert_eq!((&output.parent, &output.report.addresses), (&sound.parent, &sound.report.addresses));
        // On one machine nothing tells what ran before.
        let output = translated_with(&gateway, Exposure::Host, class_accepted, &known);
        assert_eq!((output.runs, output.listeners.len()), (false, 0));
    }
    let output = translated_with(&gateway, pods, true, &Known::Missing);
    let status = status::gateway(&gateway, &output.report, &BTreeMap::new(), &Progress::default(), None);
    let told = troubles(&status);
    expect!["Accepted=False InvalidParameters: spec.infrastructure.parametersRef names GatewayParameters default/fast, which does not exist"]
        .assert_eq(told.lines().next().unwrap());
}

fn route() -> HttpRoute {
    HttpRoute {
        meta: meta("web", 4),
        parents: vec![ParentRef {
            kind: GroupKind { group: isthmus_gateway::GROUP.into(), kind: "Gateway".into() },
            namespace: Some("default".into()),
            name: "gw".into(),
            section: Some("a".into()),
            port: Some(8080),
        }],
        hostnames: Vec::new(),
        rules: Vec::new(),
    }
}

fn route_status(parent: Parent, progress: Option<Progress>, problem: Option<&Problem>) -> Option<Value> {
    let route = route();
    let gateway = parent.gateway.clone();
    let parents = BTreeMap::from([(gateway.clone(), parent.into())]);
    let inputs = attachment::Inputs { route: &route, parents: &parents, namespace: None };
    let attachments = attachment::translate(&inputs);
    let output = http_route::translate(http_route::Inputs {
        route: &route,
        attachments: &attachments,
        services: &BTreeMap::new(),
        imports: &BTreeMap::new(),
        grants: Grants(&[]),
        tls: &[],
        scope: ServiceScope::Cluster,
    });
    let progress = progress.map(|p| (gateway, p)).into_iter().collect();
    status::http_route(&route, &output, &progress, problem)
}

fn served() -> Parent {
    Parent::clone(&translated(&gateway()).parent)
}

#[test]
fn a_route_that_is_served() {
    let status = route_status(served(), Some(proxies(&["p1"], &[])), None).unwrap();
    expect![[r#"
        parents:
        - conditions:
          - message: the route is attached
            observedGeneration: 4
            reason: Accepted
            status: "True"
            type: Accepted
          - message: all references are resolved
            observedGeneration: 4
            reason: ResolvedRefs
            status: "True"
            type: ResolvedRefs
          - message: every connected proxy serves it
            observedGeneration: 4
            reason: Programmed
            status: "True"
            type: isthmus.dev/Programmed
          controllerName: isthmus.dev/gateway
          parentRef:
            group: gateway.networking.k8s.io
            kind: Gateway
            name: gw
            namespace: default
            port: 8080
            sectionName: a
    "#]]
    .assert_eq(&yaml(&status));
}

#[test]
fn a_route_is_programmed_when_its_own_generation_is() {
    let told = |progress| troubles(&route_status(served(), progress, None).unwrap());
    expect!["parent: isthmus.dev/Programmed=False Pending: no proxy is connected"]
        .assert_eq(&told(None));
    expect!["parent: isthmus.dev/Programmed=False Pending: waiting for proxy p2"]
        .assert_eq(&told(Some(proxies(&["p1"], &["p2"]))));
    let mut unserved = served();
    unserved.sections.iter_mut().for_each(|s| s.served = false);
    let status = route_status(unserved, Some(proxies(&["p1"], &[])), None).unwrap();
    expect!["parent: isthmus.dev/Programmed=False Invalid: no listener of Gateway default/gw that it is attached to is served"].assert_eq(&troubles(&status));
}

#[test]
fn a_route_falls_back_to_its_last_good_version() {
    let problem = Problem {
        field: Some("spec.rules[0]".into()),
        message: "is odd".into(),
        generation: 5,
        ..Problem::default()
    };
    let status = route_status(served(), Some(proxies(&["p1"], &[])), Some(&problem)).unwrap();
    expect![[r#"
        parent: PartiallyInvalid=True UnsupportedValue: Fall Back to generation 4; generation 5 is invalid: spec.rules[0]: is odd
        parent: isthmus.dev/Programmed=True Programmed: every connected proxy serves it"#]].assert_eq(&troubles(&status));
    let gateway = gateway();
    let report = translated(&gateway).report;
    let status =
        status::gateway(&gateway, &report, &BTreeMap::new(), &proxies(&["p1"], &[]), Some(&problem));
    expect!["isthmus.dev/FallBack=True UnsupportedValue: Fall Back to generation 7; generation 5 is invalid: spec.rules[0]: is odd"].assert_eq(&troubles(&status));
}

#[test]
fn a_route_without_a_parent_of_ours_has_no_status() {
    let mut other = served();
    other.gateway.name = "other".into();
    assert_eq!(route_status(other, None, None), None);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let gateway = gateway();
    let mut report = translated(&gateway).report;
    report.conditions = vec![Condition::not("Accepted", "Invalid", "\u{e9}".repeat(5000))];
    let status = status::gateway(&gateway, &report, &BTreeMap::new(), &Progress::default(), None);
    assert!(troubles(&status).lines().next().unwrap().ends_with("\u{e9}..."));
}

#[test]
fn the_pods_of_a_gateway_that_is_not_accepted_are_told_to_serve_nothing() {
    let mut gateway = gateway();
    gateway.unsupported = vec!["spec.tls.backend".to_owned()];
    for (exposure, runs) in [(Exposure::Service(Given::default()), true), (Exposure::Host, false)] {
        let output = exposed(&gateway, exposure);
        assert!(!output.report.accepted());
        assert_eq!((output.listeners.len(), output.runs), (0, runs));
    }
}

#[test]
fn a_gateway_behind_a_service_has_the_addresses_that_its_service_says() {
    let mut gateway = gateway();
    let done = Progress { acked: vec!["p".to_owned()], ..Progress::default() };
    let status = |gateway: &Gateway, given: &[Address]| {
        let output = exposed(gateway, Exposure::Service(Given { own: given, cluster: &[] }));
        let status = status::gateway(gateway, &output.report, &BTreeMap::new(), &done, None);
        let conditions = status["conditions"].as_array().unwrap().clone();
        let programmed = conditions.into_iter().find(|c| c["type"] == "Programmed").unwrap();
        let bound = output.listeners.iter().flat_map(|l| l.addresses.clone()).collect::<BTreeSet<_>>();
        (programmed["reason"].as_str().unwrap().to_owned(), status["addresses"].clone(), bound)
    };
    let everywhere = BTreeSet::from(["::".parse().unwrap()]);
    let (reason, addresses, bound) = status(&gateway, &[]);
    assert_eq!((reason.as_str(), addresses, &bound), ("AddressNotAssigned", json!([]), &everywhere));
    let given = [Address::Ip("192.0.2.7".parse().unwrap()), Address::Hostname("lb.example".into())];
    let (_, addresses, bound) = status(&gateway, &given);
    let shown = json!([
        {"type": "IPAddress", "value": "192.0.2.7"},
        {"type": "Hostname", "value": "lb.example"},
    ]);
    assert_eq!((addresses, bound), (shown, everywhere));
    gateway.addresses = vec![requested("192.0.2.8", "")];
    assert_eq!(status(&gateway, &given).0, "AddressNotUsable");
    gateway.addresses = vec![requested("192.0.2.7", "")];
    assert_eq!(status(&gateway, &given).0, "Programmed");
}

fn requested(value: &str, routability: &str) -> RequestedAddress {
    RequestedAddress { kind: "IPAddress".into(), value: value.into(), routability: routability.into() }
}

/// The addresses that a Gateway has which asks for these, and what it says of those that it has not.
fn addressed(wanted: &[(&str, &str)], exposure: Exposure<'_>) -> String {
    let addresses = wanted.iter().map(|(value, routability)| requested(value, routability));
    let gateway = Gateway { addresses: addresses.collect(), ..gateway() };
    let report = exposed(&gateway, exposure).report;
    let shown = report.addresses.iter().map(|address| match address {
        Address::Ip(ip) => ip.to_string(),
        Address::Hostname(name) => name.clone(),
    });
    let refused = report.conditions.iter().find(|c| c.kind == "Accepted" && !c.holds());
    let said = refused.or(report.unprogrammable.as_ref()).or(report.unaddressed.as_ref());
    let said = said.map(|c| format!("{}: {}", c.reason, c.message)).unwrap_or_default();
    format!("{} {said}", shown.collect::<Vec<_>>().join(","))
}

#[test]
fn gep_5093_an_address_within_the_cluster_is_an_ip_of_the_service() {
    let (own, cluster) = ([Address::Ip("192.0.2.7".parse().unwrap())], ["10.96.0.7".parse().unwrap()]);
    let given = Exposure::Service(Given { own: &own, cluster: &cluster });
    expect!["192.0.2.7 "].assert_eq(&addressed(&[], given));
    expect!["10.96.0.7 "].assert_eq(&addressed(&[("", "Cluster")], given));
    expect!["10.96.0.7 "].assert_eq(&addressed(&[("10.96.0.7", "Cluster")], given));
    expect!["192.0.2.7,10.96.0.7 "].assert_eq(&addressed(&[("", ""), ("", "Cluster")], given));
    expect!["10.96.0.7 AddressNotUsable: the Gateway's Service is not given 192.0.2.7, which spec.addresses asks for: a Service keeps the cluster IP that it was made with; delete it, and it is made anew"]
        .assert_eq(&addressed(&[("192.0.2.7", "Cluster")], given));
    expect![
        " UnsupportedAddress: spec.addresses[1].routability is example.com/site; supported is Cluster, on Kubernetes"
    ]
    .assert_eq(&addressed(&[("", ""), ("", "example.com/site")], given));
    let nothing = Exposure::Service(Given::default());
    expect![" AddressNotAssigned: the Gateway's Service has no address yet: the cluster, or its load balancer, gives it one"]
        .assert_eq(&addressed(&[("", "Cluster")], nothing));
    // What there is of a load balancer does not count as an address within the cluster.
    let balanced = Exposure::Service(Given { own: &own, cluster: &[] });
    expect![" AddressNotAssigned: the Gateway's Service has no address yet: the cluster, or its load balancer, gives it one"]
        .assert_eq(&addressed(&[("", "Cluster")], balanced));
    expect![" UnsupportedAddress: spec.addresses[0].routability is Cluster; supported is Cluster, on Kubernetes"]
        .assert_eq(&addressed(&[("", "Cluster")], Exposure::Host));
}

#[test]
fn of_several_addresses_the_first_is_asked_for() {
    let own = ["192.0.2.7", "192.0.2.8"].map(|ip| Address::Ip(ip.parse().unwrap()));
    let (first, both) = (Given { own: &own[..1], cluster: &[] }, Given { own: &own, cluster: &[] });
    let wanted = [("192.0.2.7", ""), ("192.0.2.8", "")];
    expect!["192.0.2.7 AddressNotUsable: a Service can be asked for one address, which is 192.0.2.7: take 192.0.2.8 out of spec.addresses, or configure the load balancer by spec.infrastructure.annotations"]
        .assert_eq(&addressed(&wanted, Exposure::Service(first)));
    expect!["192.0.2.7,192.0.2.8 "].assert_eq(&addressed(&wanted, Exposure::Service(both)));
    expect!["192.0.2.7 AddressNotUsable: the Gateway's Service is not given 192.0.2.9, which spec.addresses asks for"]
        .assert_eq(&addressed(&[("192.0.2.9", ""), ("192.0.2.7", "")], Exposure::Service(first)));
}
