//! Who may call in where, as network policies: one for each control plane, one for each Gateway's proxies,
//! and one for the operator, which is the chart's.
//!
//! They say nothing of what may be called from here: where a Gateway's backends are, and where the API
//! server is, is for whoever runs the cluster to know.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    READY_PORT, control_plane,
    proxy::{self, Edge},
    selector,
};
use crate::{
    mesh::Mesh,
    object::{self, Manifest},
};

/// Lets proxies of the mesh into its control plane, and who asks whether it is ready.
pub fn of_control_plane(mesh: &Mesh) -> Manifest {
    let proxies = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: Some(selector(&[object::OURS])),
        ..NetworkPolicyPeer::default()
    };
    let from_proxies = NetworkPolicyIngressRule {
        from: Some(vec![proxies]),
        ports: Some(vec![port(control_plane::PORT, "TCP")]),
    };
    let metadata = mesh.control_plane_meta(object::NETWORK_POLICY);
    let policy = policy(metadata, control_plane::pods(mesh), vec![from_proxies, probes()]);
    Manifest::new(object::NETWORK_POLICY, &policy)
}

/// Lets everybody reach a Gateway's listeners, and who asks whether a proxy is ready.
pub fn of_gateway(edge: Edge<'_>) -> Manifest {
    let ports = proxy::ports(edge.gateway).into_iter();
    let ports: Vec<_> = ports.map(|(number, protocol)| port(number.into(), protocol)).collect();
    let listeners = NetworkPolicyIngressRule { from: None, ports: Some(ports) };
    // A rule without ports would let in everything.
    let listeners =
        Some(listeners).filter(|rule| rule.ports.as_ref().is_some_and(|all| !all.is_empty()));
    let rules = listeners.into_iter().chain([probes()]).collect();
    Manifest::new(object::NETWORK_POLICY, &policy(edge.meta(), edge.pods(), rules))
}

/// Lets in who asks whether an operator is ready. `labels` are those of its pods.
pub fn of_operator(metadata: ObjectMeta, labels: BTreeMap<String, String>) -> NetworkPolicy {
    let pods = LabelSelector { match_labels: Some(labels), ..LabelSelector::default() };
    policy(metadata, pods, vec![probes()])
}

fn policy(
    metadata: ObjectMeta,
    pods: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(pods),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(ingress),
        ..NetworkPolicySpec::default()
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}

/// From everywhere, as a node is no pod.
fn probes() -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: None, ports: Some(vec![port(READY_PORT, "TCP")]) }
}

fn port(number: i32, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}
