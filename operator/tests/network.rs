//! Network policies, evaluated as Kubernetes does: who has to come in comes in, and nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod common;

use common::observed;
use isthmus_operator::{
    chart, object,
    plan::{Action, plan},
};
use serde_json::{Value, json};

/// A pod: its namespace, and its labels. A node is none.
type Pod = (String, Value);

/// The policies of a mesh with one Gateway, and the pods that each Deployment makes.
struct World {
    policies: Vec<Value>,
    control_plane: Pod,
    proxy: Pod,
    operator: Pod,
}

impl World {
    fn new() -> Self {
        let observed = observed(include_str!("../testdata/gateways/there.yaml"));
        let plan = plan(&observed.install().unwrap(), &observed);
        let of = |kind| {
            let made = plan.steps.iter().filter_map(move |step| match &step.action {
                Action::Create(manifest) if manifest.key.kind == kind => Some(manifest.value.clone()),
                _ => None,
            });
            made.collect::<Vec<_>>()
        };
        let pods: Vec<Pod> = of(object::DEPLOYMENT).iter().map(pod).collect();
        let [control_plane, proxy] = pods.try_into().unwrap();
        let own = serde_json::to_value(chart::network_policy()).unwrap();
        let operator = (
            own["metadata"]["namespace"].as_str().unwrap().to_owned(),
            own["metadata"]["labels"].clone(),
        );
        let policies = of(object::NETWORK_POLICY).into_iter().chain([own]).collect();
        Self { policies, control_plane, proxy, operator }
    }

    /// Whether `from`, or a node, may call `to` at this port.
    fn lets(&self, from: Option<&Pod>, to: &Pod, protocol: &str, port: u16) -> bool {
        let of = |policy: &&Value| {
            policy["metadata"]["namespace"] == to.0.as_str()
                && selects(&policy["spec"]["podSelector"], &to.1)
        };
        let mut policies = self.policies.iter().filter(of).peekable();
        assert!(policies.peek().is_some(), "a pod of ours without a policy");
        let mut rules = policies.flat_map(|policy| policy["spec"]["ingress"].as_array().unwrap());
        rules.any(|rule| {
            let ports = rule["ports"].as_array().unwrap();
            ports.iter().any(|one| one["port"] == port && one["protocol"] == protocol)
                && rule["from"].as_array().is_none_or(|all| all.iter().any(|peer| is(peer, from)))
        })
    }
}

fn pod(deployment: &Value) -> Pod {
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    (deployment["metadata"]["namespace"].as_str().unwrap().to_owned(), labels.clone())
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// Only pods of all namespaces are told apart here, by their labels.
fn is(peer: &Value, from: Option<&Pod>) -> bool {
    assert_eq!(peer["namespaceSelector"], json!({}));
    from.is_some_and(|(_, labels)| selects(&peer["podSelector"], labels))
}

#[test]
fn i6_who_has_to_come_in_comes_in_and_nobody_else() {
    let world = World::new();
    let World { control_plane, proxy, operator, .. } = &world;
    let client = ("shop".to_owned(), json!({ "app": "client" }));

    assert!(world.lets(Some(proxy), control_plane, "TCP", 15012), "proxies are configured");
    for other in [Some(&client), Some(operator), None] {
        assert!(!world.lets(other, control_plane, "TCP", 15012), "{other:?}");
    }
    for pod in [control_plane, proxy, operator] {
        assert!(world.lets(None, pod, "TCP", 15021), "the kubelet asks whether {pod:?} is ready");
        for port in [80, 8080, 15000, 15443] {
            let listens = pod == proxy && port == 80;
            for from in [Some(&client), None] {
                assert_eq!(world.lets(from, pod, "TCP", port), listens, "{from:?} at {pod:?}:{port}");
            }
        }
        assert!(!world.lets(Some(&client), pod, "UDP", 80));
    }
}
