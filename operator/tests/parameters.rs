//! What Gateways ask for of how they are run: what is made of it, and what stays when it cannot be used.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod common;
#[path = "common/mesh.rs"]
mod mesh;

use common::put;
use isthmus_operator::{
    object::{self, ObjectKey},
    observed::Observed,
};
use mesh::{change, condition, edit, healthy, pods, run, running, settle};
use serde_json::{Value, json};

fn gateway() -> ObjectKey {
    ObjectKey::new(object::GATEWAY, "shop", "web")
}

fn parameters(spec: &Value) -> Value {
    json!({
        "apiVersion": "isthmus.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": {"name": "fast", "namespace": "shop"},
        "spec": spec,
    })
}

fn refers_to(kind: &str) -> Value {
    json!({"group": "isthmus.dev", "kind": kind, "name": "fast"})
}

/// A mesh whose Gateway has these parameters.
fn running_with(spec: &Value) -> Observed {
    let mut observed = running();
    put(&mut observed, parameters(spec));
    change(&mut observed, &gateway(), |gateway| {
        gateway["spec"]["infrastructure"]["parametersRef"] = refers_to("GatewayParameters");
    });
    run(&mut observed);
    observed
}

/// What was made for the Gateway.
fn made(observed: &Observed) -> Vec<Value> {
    let of_gateway = observed.ours().filter(|(key, _)| key.namespace == "shop");
    of_gateway.map(|(_, object)| serde_json::to_value(object).unwrap()).collect()
}

fn service(observed: &Observed) -> Value {
    let key = ObjectKey::new(object::SERVICE, "shop", "web-isthmus");
    observed.object(&key).unwrap().data["spec"].clone()
}

fn pod(observed: &Observed) -> Value {
    let key = ObjectKey::new(object::DEPLOYMENT, "shop", "web-isthmus");
    observed.object(&key).unwrap().data["spec"]["template"]["spec"].clone()
}

#[test]
fn what_runs_stays_when_its_parameters_cannot_be_used() {
    let spec = json!({"proxy": {"image": "own"}, "service": {"type": "NodePort"}});
    let key = ObjectKey::new(object::GATEWAY_PARAMETERS, "shop", "fast");
    let class = ObjectKey::new(object::GATEWAY_CLASS, "", "isthmus");
    let breaks: [&dyn Fn(&mut Observed); 4] = [
        &|observed| drop(observed.objects.remove(&key)),
        &|observed| put(observed, parameters(&json!({"proxy": {"later": true}}))),
        &|observed| {
            change(observed, &gateway(), |gateway| {
                gateway["spec"]["infrastructure"]["parametersRef"] = refers_to("Settings");
            });
        },
        &|observed| {
            change(observed, &class, |class| {
                class["spec"]["parametersRef"] = refers_to("GatewayParameters");
            });
        },
    ];
    for (case, break_it) in breaks.iter().enumerate() {
        let mut observed = running_with(&spec);
        let before = made(&observed);
        assert_eq!(
            (&service(&observed)["type"], &pod(&observed)["containers"][0]["image"]),
            (&json!("NodePort"), &json!("own"))
        );
        break_it(&mut observed);
        // A change that would reach it otherwise.
        edit(&mut observed, |install| install["spec"]["proxy"] = json!({"threads": 7}));
        run(&mut observed);
        assert_eq!(made(&observed), before, "case {case}");
        let told = condition(&observed, "ProxiesReady");
        assert!(told.contains("Gateway shop/web has parameters that cannot be used"), "{told}");
        // Putting it right restores all.
        put(&mut observed, parameters(&spec));
        change(&mut observed, &gateway(), |gateway| {
            gateway["spec"]["infrastructure"]["parametersRef"] = refers_to("GatewayParameters");
        });
        change(&mut observed, &class, |class| class["spec"]["parametersRef"] = Value::Null);
        run(&mut observed);
        assert!(pod(&observed)["containers"][0]["args"].as_array().unwrap().contains(&json!("7")));
        assert!(condition(&observed, "ProxiesReady").starts_with("True"));
    }
}

#[test]
fn a_gateway_whose_parameters_never_could_be_used_gets_nothing() {
    let mut observed = running();
    put(
        &mut observed,
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "new", "namespace": "other"},
            "spec": {
                "gatewayClassName": "isthmus",
                "infrastructure": {"parametersRef": refers_to("GatewayParameters")},
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            },
        }),
    );
    settle(&mut observed);
    assert_eq!(observed.ours().filter(|(key, _)| key.namespace == "other").count(), 0);
}

#[test]
fn gep_5093_what_is_to_be_reached_within_the_cluster_has_no_load_balancer() {
    let ask = |observed: &mut Observed, addresses: Value| {
        change(observed, &gateway(), |gateway| gateway["spec"]["addresses"] = addresses);
        run(observed);
        let service = service(observed);
        [&service["type"], &service["clusterIP"], &service["loadBalancerIP"]].map(ToString::to_string)
    };
    let mut observed = running_with(&json!({"service": {"type": "LoadBalancer"}}));
    let cluster = json!([{"routability": "Cluster"}]);
    assert_eq!(ask(&mut observed, cluster.clone())[0], r#""ClusterIP""#);
    // What is not supported is not public either.
    assert_eq!(ask(&mut observed, json!([{"routability": "example.com/site"}]))[0], r#""ClusterIP""#);
    let both = json!([{"value": "192.0.2.7"}, {"routability": "Cluster"}]);
    let [kind, _, balanced] = ask(&mut observed, both);
    assert_eq!((kind.as_str(), balanced.as_str()), (r#""LoadBalancer""#, r#""192.0.2.7""#));
    // The IP of a Service that is there cannot be changed, and what else is asked for has to come into force.
    let key = ObjectKey::new(object::SERVICE, "shop", "web-isthmus");
    change(&mut observed, &key, |service| service["spec"]["clusterIP"] = "10.96.0.1".into());
    let other = json!([{"value": "10.96.0.2", "routability": "Cluster"}]);
    let [kind, ip, _] = ask(&mut observed, other);
    assert_eq!((kind.as_str(), ip.as_str()), (r#""ClusterIP""#, r#""10.96.0.1""#));
    observed.objects.remove(&key);
    run(&mut observed);
    assert_eq!(service(&observed)["clusterIP"], "10.96.0.2");
}

#[test]
fn an_address_of_a_service_without_a_load_balancer_is_its_own() {
    let mut observed =
        running_with(&json!({"service": {"type": "NodePort", "loadBalancerClass": null}}));
    let key = ObjectKey::new(object::SERVICE, "shop", "web-isthmus");
    observed.objects.remove(&key);
    change(&mut observed, &gateway(), |gateway| {
        gateway["spec"]["addresses"] = json!([{"value": "10.96.0.9"}]);
    });
    run(&mut observed);
    let service = service(&observed);
    assert_eq!((&service["type"], &service["clusterIP"]), (&json!("NodePort"), &json!("10.96.0.9")));
    assert_eq!(service["loadBalancerIP"], Value::Null);
}

#[test]
fn a_load_balancer_is_chosen_once() {
    let mut observed = running_with(&json!({}));
    let ask = |observed: &mut Observed, service: Value| {
        put(observed, parameters(&json!({ "service": service })));
        run(observed);
    };
    ask(&mut observed, json!({"loadBalancerClass": "example.com/a", "externalTrafficPolicy": "Local"}));
    // The rest comes into force.
    assert_eq!(service(&observed)["loadBalancerClass"], Value::Null);
    assert_eq!(service(&observed)["externalTrafficPolicy"], "Local");
    observed.objects.remove(&ObjectKey::new(object::SERVICE, "shop", "web-isthmus"));
    run(&mut observed);
    assert_eq!(service(&observed)["loadBalancerClass"], "example.com/a");
    ask(&mut observed, json!({"loadBalancerClass": "example.com/b"}));
    assert_eq!(service(&observed)["loadBalancerClass"], "example.com/a");
}

#[test]
fn a_pod_has_time_for_its_whole_drain() {
    let of = |drain: Value| {
        let pod = pod(&running_with(&json!({ "drain": drain })));
        let args = pod["containers"][0]["args"].as_array().unwrap().clone();
        let value = |name: &str| {
            let at = args.iter().position(|arg| arg == name).unwrap();
            args[at + 1].as_str().unwrap().parse::<i64>().unwrap()
        };
        let (wait, deadline) = (value("--drain-wait"), value("--drain-deadline"));
        (wait, deadline, pod["terminationGracePeriodSeconds"].as_i64().unwrap() - wait - deadline)
    };
    assert_eq!(of(json!({})), (5, 50, 5));
    assert_eq!(of(json!({"waitSeconds": 0, "deadlineSeconds": 600})), (0, 600, 5));
}

#[test]
fn f15_what_a_gateway_asks_for_itself_undoes_nothing_of_the_mesh() {
    let mesh = "isthmus.dev/proxy:0.2.0";
    for (proxy, image) in [
        (json!({"image": "bad"}), "bad"),
        (json!({"replicas": 1000}), mesh),
        (json!({"autoscale": {"maxReplicas": 1000}}), mesh),
        (json!({"threads": 1000}), mesh),
    ] {
        let mut observed = running_with(&json!({ "proxy": proxy }));
        pods(&mut observed, |runs| runs != image);
        edit(&mut observed, |install| install["spec"]["version"] = "0.2.0".into());
        for _ in 0..3 {
            settle(&mut observed);
            pods(&mut observed, |runs| runs != image);
        }
        settle(&mut observed);
        assert_eq!(healthy(&observed), "0.2.0", "{proxy}");
        assert!(condition(&observed, "Ready").starts_with("True"), "{proxy}");
        let told = condition(&observed, "ProxiesReady");
        assert!(told.contains(&format!("with image {image}")), "{proxy}: {told}");
    }
}

#[test]
fn f9_annotations_of_the_deployment_controller_are_its_own() {
    let mut observed = running();
    change(&mut observed, &gateway(), |gateway| {
        gateway["spec"]["infrastructure"]["annotations"] = json!({
            "deployment.kubernetes.io/revision": "999",
            "deprecated.deployment.rollback.to": "1",
            "example.com/pool": "own",
        });
    });
    run(&mut observed);
    let made = json!(made(&observed)).to_string();
    assert!(made.contains("example.com/pool"), "{made}");
    for its_own in ["deployment.kubernetes.io/revision", "deprecated.deployment.rollback.to"] {
        assert!(!made.contains(its_own), "{made}");
    }
}
