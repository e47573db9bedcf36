//! What tables show of objects as an instance would send them.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{View, age, human, table};

/// 2026-01-31T12:00:00Z.
const NOW: i64 = 1_769_860_800;

fn check(objects: &[Value], view: View<'_>, expected: &Expect) {
    expected.assert_eq(&table(objects, view).to_string());
}

fn view(kind: &str) -> View<'_> {
    View { kind, namespaces: false, prefix: "", wide: false, now: NOW }
}

fn metadata(name: &str) -> Value {
    json!({"namespace": "shop", "name": name, "creationTimestamp": "2026-01-31T11:58:30Z"})
}

fn gateway() -> Value {
    json!({
        "metadata": metadata("edge"),
        "spec": {
            "gatewayClassName": "isthmus",
            "listeners": [{"protocol": "HTTP", "port": 80}, {"protocol": "HTTPS", "port": 443}],
        },
        "status": {
            "addresses": [{"value": "127.0.0.1"}, {"value": "::1"}],
            "conditions": [
                {"type": "Accepted", "status": "True"},
                {"type": "Programmed", "status": "False"},
            ],
            "listeners": [{"attachedRoutes": 2}, {"attachedRoutes": 1}],
        },
    })
}

#[test]
fn gateways_show_what_the_definition_prints() {
    check(
        &[gateway(), json!({"metadata": {"name": "new"}})],
        view("Gateway"),
        &expect![[r#"
            NAME   CLASS     ADDRESS         PROGRAMMED   AGE
            edge   isthmus   127.0.0.1,::1   False        90s
            new                              Unknown      <unknown>
        "#]],
    );
    check(
        &[gateway()],
        View { wide: true, namespaces: true, prefix: "gateway/", ..view("Gateway") },
        &expect![[r#"
            NAMESPACE   NAME           CLASS     ADDRESS         PROGRAMMED   ACCEPTED   LISTENERS           ROUTES   AGE
            shop        gateway/edge   isthmus   127.0.0.1,::1   False        True       HTTP:80,HTTPS:443   3        90s
        "#]],
    );
}

#[test]
fn a_route_is_accepted_when_every_parent_accepts_it() {
    let parent = |accepted: &str| {
        json!({"conditions": [
            {"type": "Accepted", "status": accepted},
            {"type": "isthmus.dev/Programmed", "status": "True"},
        ]})
    };
    let route = |name: &str, parents: Vec<Value>| {
        json!({
            "metadata": metadata(name),
            "spec": {"hostnames": ["a.example", "b.example"], "parentRefs": [{"name": "edge"}]},
            "status": {"parents": parents},
        })
    };
    check(
        &[
            route("all", vec![parent("True"), parent("True")]),
            route("some", vec![parent("True"), parent("False")]),
            route("none", Vec::new()),
        ],
        view("HTTPRoute"),
        &expect![[r#"
            NAME   HOSTNAMES                   ACCEPTED   PROGRAMMED   AGE
            all    ["a.example","b.example"]   True       True         90s
            some   ["a.example","b.example"]   False      True         90s
            none   ["a.example","b.example"]   Unknown    Unknown      90s
        "#]],
    );
}

#[test]
fn core_kinds_look_as_people_know_them() {
    let service = json!({"metadata": metadata("echo"), "spec": {"ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}]}});
    check(
        &[service],
        view("Service"),
        &expect![[r#"
            NAME   TYPE        CLUSTER-IP   PORT(S)         AGE
            echo   ClusterIP   <none>       80/TCP,53/UDP   90s
        "#]],
    );
    let endpoints: Vec<Value> = (1..=5).map(|n| json!({"addresses": [format!("10.0.0.{n}")]})).collect();
    let slice = json!({"metadata": metadata("echo-1"), "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": endpoints});
    check(
        &[slice],
        view("EndpointSlice"),
        &expect![[r#"
            NAME     ADDRESSTYPE   PORTS   ENDPOINTS                                AGE
            echo-1   IPv4          8080    10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...   90s
        "#]],
    );
    check(
        &[json!({"metadata": metadata("tls"), "type": "kubernetes.io/tls", "data": {"a": "", "b": ""}})],
        view("Secret"),
        &expect![[r#"
            NAME   TYPE                DATA   AGE
            tls    kubernetes.io/tls   2      90s
        "#]],
    );
}

#[test]
fn kinds_of_ours_show_their_printer_columns() {
    let peer = json!({"metadata": metadata("west"), "spec": {"priority": 1},
        "status": {"state": "Connected", "trustDomain": "west.example", "imports": 3}});
    check(
        &[peer],
        View { wide: true, ..view("MeshPeer") },
        &expect![[r#"
            NAME   STATE       TRUST DOMAIN   IMPORTS   PRIORITY   AGE
            west   Connected   west.example   3         1          90s
        "#]],
    );
    let import = json!({"metadata": metadata("echo"),
        "spec": {"type": "ClusterSetIP", "ips": ["10.0.0.1"], "ports": [{"port": 80}]},
        "status": {"clusters": [{"cluster": "east"}, {"cluster": "west"}]}});
    check(
        &[import],
        view("ServiceImport"),
        &expect![[r#"
        NAME   TYPE           IP             AGE
        echo   ClusterSetIP   ["10.0.0.1"]   90s
    "#]],
    );
    let export = json!({"metadata": metadata("echo"),
        "status": {"conditions": [{"type": "Valid", "status": "True"}, {"type": "Conflict", "status": "False"}]}});
    check(
        &[export],
        view("ServiceExport"),
        &expect![[r#"
        NAME   VALID   CONFLICT   AGE
        echo   True    False      90s
    "#]],
    );
}

#[test]
fn ages_are_kubectls() {
    let ages = [0, 119, 120, 125, 600, 10_800, 11_160, 28_800, 172_800, 180_000, 691_200, 63_072_000];
    expect!["0s 119s 2m 2m5s 10m 3h 3h6m 8h 2d 2d2h 8d 2y"].assert_eq(&ages.map(human).join(" "));
    let later = json!({"metadata": {"creationTimestamp": "2026-02-01T00:00:00Z"}});
    assert_eq!(age(&later, NOW), "0s");
}
