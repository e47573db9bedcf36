//! The Service in front of the proxies of a Gateway, which gives the Gateway its addresses.
//!
//! What asks for an address within the cluster only is never reached from elsewhere (GEP-5093).

use std::net::IpAddr;

use isthmus_crds::{ExternalTrafficPolicy, GatewayServiceType};
use isthmus_gateway::listener::{is_within_cluster, within_cluster};
use isthmus_world::fact::{Gateway, RequestedAddress};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::proxy::{Edge, ports};
use crate::object::{self, Manifest};

/// The Service of a Gateway, with a port for each port of its listeners.
pub(super) fn service(edge: Edge<'_>) -> Manifest {
    let asked = edge.parameters.service();
    let kind = match asked.type_ {
        _ if within_cluster(edge.gateway) => GatewayServiceType::ClusterIp,
        asked => asked.unwrap_or(GatewayServiceType::LoadBalancer),
    };
    let balanced = kind == GatewayServiceType::LoadBalancer;
    let own = requested(edge.gateway, |address| address.routability.is_empty());
    let within = requested(edge.gateway, is_within_cluster).or(own.filter(|_| !balanced));
    // What of a Service that is there cannot be changed stays, so that the rest comes into force.
    let found = |field: &str| edge.service?.data.pointer(&format!("/spec/{field}"))?.as_str();
    let port = |(port, protocol): (u16, &str)| ServicePort {
        name: Some(format!("{}-{port}", protocol.to_ascii_lowercase())),
        port: port.into(),
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(port.into())),
        ..ServicePort::default()
    };
    let spec = ServiceSpec {
        type_: Some(kind.as_str().to_owned()),
        selector: edge.pods().match_labels,
        ports: Some(ports(edge.gateway).into_iter().map(port).collect()),
        load_balancer_ip: own.filter(|_| balanced).map(str::to_owned),
        load_balancer_class: match found("type") {
            Some("LoadBalancer") => found("loadBalancerClass").map(str::to_owned),
            _ => asked.load_balancer_class,
        }
        .filter(|_| balanced),
        cluster_ip: within
            .filter(|ip| found("clusterIP").is_none_or(|has| has == *ip))
            .map(str::to_owned),
        external_traffic_policy: asked
            .external_traffic_policy
            .filter(|_| kind != GatewayServiceType::ClusterIp)
            .map(ExternalTrafficPolicy::as_str)
            .map(str::to_owned),
        ip_family_policy: Some("PreferDualStack".to_owned()),
        ..ServiceSpec::default()
    };
    let mut metadata = edge.meta();
    let mut annotations = asked.annotations;
    annotations.extend(metadata.annotations.take().unwrap_or_default());
    metadata.annotations = Some(annotations).filter(|all| !all.is_empty());
    Manifest::new(object::SERVICE, &Service { metadata, spec: Some(spec), status: None })
}

/// The first IP address that is asked for among the addresses of a sort: a Service can be asked for one.
fn requested(gateway: &Gateway, of_sort: fn(&RequestedAddress) -> bool) -> Option<&str> {
    let ip = |address: &&RequestedAddress| {
        address.kind == "IPAddress" && address.value.parse::<IpAddr>().is_ok() && of_sort(address)
    };
    gateway.addresses.iter().find(ip).map(|address| address.value.as_str())
}
