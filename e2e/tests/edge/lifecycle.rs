//! Living with an instance: edits, mistakes, crashes and the end.

use std::thread;

use serde_json::Value;

use super::{
    backend::Backend,
    client::{ask, get},
    instance::{Instance, eventually, free, gateway, route, service, signal},
};

const TO_A: &str = "  - backendRefs: [{name: a, port: 8080}]\n";

fn instance() -> (Instance, std::net::SocketAddr, Backend) {
    let (address, a) = (free(), Backend::start("a"));
    let manifests =
        [gateway(address), service("default", "a", "", &[a.address]), route("r", "example.com", TO_A)];
    (Instance::start(&manifests.concat()), address, a)
}

fn serves(address: std::net::SocketAddr, host: &str) -> Option<()> {
    let answer = ask(address, "GET /", host, &[]).ok()?;
    (answer.status == 200).then_some(())
}

#[test]
fn edits_and_deletions_apply_live() {
    let (instance, address, _a) = instance();
    instance.write("more.yaml", &route("more", "more.example", TO_A));
    eventually("the route", || serves(address, "more.example"));
    let moved = route("more", "moved.example", TO_A).replace('\n', "\r\n");
    instance.write("more.yaml", &moved);
    eventually("the edit", || serves(address, "moved.example"));
    assert_eq!(get(address, "more.example", "/").status, 404);
    instance.write("more.yaml", &moved[..moved.len() / 2]);
    let json = r#"{"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "HTTPRoute",
        "metadata": {"name": "json"}, "spec": {"parentRefs": [{"name": "gateway"}],
        "hostnames": ["json.example"], "rules": [{"backendRefs": [{"name": "a", "port": 8080}]}]}}"#;
    instance.write("more.json", json);
    eventually("the route in JSON", || serves(address, "json.example"));
    assert_eq!(serves(address, "moved.example"), Some(()), "half a file deletes nothing");
    instance.remove("more.yaml");
    eventually("the deletion", || (get(address, "moved.example", "/").status == 404).then_some(()));
    assert_eq!(serves(address, "example.com"), Some(()));
}

#[test]
fn e1_a_mistake_stays_with_its_author() {
    let (instance, address, _a) = instance();
    instance.write("r2.yaml", &route("r2", "two.example", TO_A));
    eventually("the route", || serves(address, "two.example"));
    let broken = route("r2", "two.example", &TO_A.replace("8080", "99999"));
    instance.write("r2.yaml", &[broken, route("r3", "three.example", TO_A)].concat());
    eventually("its neighbour", || serves(address, "three.example"));
    assert_eq!(serves(address, "two.example"), Some(()), "the last good version stays");
    let status = instance.get("httproute", "default", "r2")["status"].clone();
    let conditions = status["parents"][0]["conditions"].as_array().unwrap().clone();
    let partly: Vec<&Value> = conditions.iter().filter(|c| c["type"] == "PartiallyInvalid").collect();
    let message = partly[0]["message"].as_str().unwrap();
    for part in ["Fall Back", "spec.rules[0].backendRefs[0].port", "r2.yaml:9:"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn e15_the_end_waits_for_requests_and_a_second_signal_does_not() {
    for (hurry, expected) in [(false, Some(200)), (true, None)] {
        let (mut instance, address, a) = instance();
        let held = a.hold();
        let request = thread::spawn(move || ask(address, "GET /hold", "example.com", &[]).ok());
        a.next();
        instance.terminate();
        eventually("the draining", || ask(address, "GET /", "example.com", &[]).is_err().then_some(()));
        if hurry {
            instance.terminate();
            assert_eq!(instance.wait().code(), Some(0));
            drop(held);
        } else {
            drop(held);
            assert_eq!(instance.wait().code(), Some(0));
        }
        let answer = thread::spawn(move || request.join().ok().flatten());
        let status = if hurry { None } else { answer.join().unwrap().map(|a| a.status) };
        assert_eq!(status, expected);
    }
}

#[test]
fn a_proxy_that_dies_is_started_again() {
    let (instance, address, _a) = instance();
    let [pid] = instance.proxies()[..] else { panic!("one proxy") };
    signal("KILL", pid);
    eventually("another proxy", || {
        let now = instance.proxies();
        (!now.is_empty() && now != [pid]).then_some(())
    });
    eventually("its answers", || serves(address, "example.com"));
    instance.write("late.yaml", &route("late", "late.example", TO_A));
    eventually("edits", || serves(address, "late.example"));
}

#[test]
fn e2_proxies_serve_without_their_control_plane() {
    let (mut instance, address, _a) = instance();
    let proxies = instance.proxies();
    instance.crash();
    assert_eq!(serves(address, "example.com"), Some(()));
    instance.write("late.yaml", &route("late", "late.example", TO_A));
    instance.restart();
    assert_eq!(instance.proxies(), proxies, "a proxy that serves is taken over");
    eventually("edits", || serves(address, "late.example"));
}

#[test]
fn explain_says_what_the_proxy_does() {
    let rules = "
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
  - matches: [{path: {value: /bad}}]
    backendRefs: [{name: nowhere, port: 80}]
  - matches: [{path: {value: /limits}}]
    timeouts: {request: 3s}
    backendRefs: [{name: a, port: 8080}]
";
    let (instance, address, a) = instance();
    instance.write("more.yaml", &route("more", "more.example", rules));
    let ask = |path: &str| {
        instance
            .isthmus(&["explain", "GET", &format!("http://{address}{path}"), "-H", "Host: more.example"])
            .1
    };
    eventually("the route", || ask("/old").contains("HTTPRoute default/more").then_some(()));
    for (path, said) in [
        ("/old/x?y", "https://more.example/old/x?y"),
        ("/bad", "Service default/nowhere does not exist"),
        ("/limits", "request 3s"),
        ("/limits", &a.address.to_string()),
        ("/nothing", "404"),
    ] {
        let text = ask(path);
        assert!(text.contains(said), "{path}: {text}");
    }
    let (_, proxies) = instance.isthmus(&["get", "proxies", "-o", "json"]);
    let proxies: Value = serde_json::from_str(&proxies).unwrap();
    assert!(proxies["items"][0]["revision"].as_u64().unwrap() > 0);
}

#[test]
fn an_instance_that_runs_already_is_left_alone() {
    let (instance, address, _a) = instance();
    let (code, text) = instance.isthmus(&["run", "-f", "/dev/null"]);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("another instance"), "{text}");
    assert_eq!(serves(address, "example.com"), Some(()));
}
