//! Service, EndpointSlice and Secret.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use isthmus_ir::Redacted;
use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{ServicePort as WrittenServicePort, ServiceSpec, ServiceStatus},
        discovery::v1::{Endpoint, EndpointPort},
    },
};
use serde_json::Value;

use super::decode::{Fault, Path, optional, port, required};
use crate::fact::{
    Address, AddressFamily, EndpointConditions, EndpointSlice, Meta, Secret, Service, ServicePort,
    ServiceType, SliceEndpoint, SlicePort,
};

pub(super) fn service(meta: Meta, of_gateway: bool, mut data: Value) -> Result<Service, Fault> {
    let spec: ServiceSpec = optional(&mut data, "spec")?.unwrap_or_default();
    let gateway_cluster_ips = if of_gateway { cluster_ips(&spec) } else { Vec::new() };
    let gateway_addresses =
        if of_gateway { reached_at(&spec, optional(&mut data, "status")?) } else { Vec::new() };
    let ports = spec.ports.unwrap_or_default();
    Ok(Service {
        meta,
        kind: match spec.type_.as_deref() {
            Some("ExternalName") => ServiceType::ExternalName,
            _ => ServiceType::ClusterIp,
        },
        headless: spec.cluster_ip.as_deref() == Some("None"),
        ports: ports.into_iter().enumerate().map(service_port).collect::<Result<_, _>>()?,
        client_ip_affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
        gateway_addresses,
        gateway_cluster_ips,
    })
}

fn cluster_ips(spec: &ServiceSpec) -> Vec<IpAddr> {
    spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()).collect()
}

/// What the load balancer of a Service says, or its own IPs when it asks for none.
fn reached_at(spec: &ServiceSpec, status: Option<ServiceStatus>) -> Vec<Address> {
    if spec.type_.as_deref() != Some("LoadBalancer") {
        return cluster_ips(spec).into_iter().map(Address::Ip).collect();
    }
    let balancer = status.and_then(|status| status.load_balancer).unwrap_or_default();
    let ingress = balancer.ingress.unwrap_or_default().into_iter();
    ingress
        .filter_map(|point| match (point.ip.and_then(|ip| ip.parse().ok()), point.hostname) {
            (Some(ip), _) => Some(Address::Ip(ip)),
            (None, Some(name)) => Some(Address::Hostname(name)),
            (None, None) => None,
        })
        .collect()
}

fn service_port((index, written): (usize, WrittenServicePort)) -> Result<ServicePort, Fault> {
    let path = Path::root("spec").item("ports", index);
    Ok(ServicePort {
        name: written.name.unwrap_or_default(),
        port: port(written.port, &path.field("port"))?,
        protocol: written.protocol.unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: written.app_protocol,
    })
}

pub(super) fn endpoint_slice(
    meta: Meta,
    service: &str,
    mut data: Value,
) -> Result<EndpointSlice, Fault> {
    let family: String = required(&mut data, "addressType")?;
    let family = match family.as_str() {
        "IPv4" => AddressFamily::V4,
        "IPv6" => AddressFamily::V6,
        "FQDN" => AddressFamily::Fqdn,
        other => {
            let message = format!("{other:?} is none of IPv4, IPv6 and FQDN");
            return Err(Path::root("addressType").fault(message));
        }
    };
    let ports: Vec<EndpointPort> = optional(&mut data, "ports")?.unwrap_or_default();
    let endpoints: Vec<Endpoint> = optional(&mut data, "endpoints")?.unwrap_or_default();
    let mut zones = Zones::default();
    Ok(EndpointSlice {
        meta,
        service: service.to_owned(),
        family,
        ports: slice_ports(ports)?,
        endpoints: endpoints
            .into_iter()
            .enumerate()
            .map(|(index, written)| endpoint(index, written, family, &mut zones))
            .collect::<Result<_, _>>()?,
    })
}

fn slice_ports(written: Vec<EndpointPort>) -> Result<Vec<SlicePort>, Fault> {
    let mut ports = Vec::with_capacity(written.len());
    for (index, entry) in written.into_iter().enumerate() {
        if let Some(number) = entry.port {
            let port = port(number, &Path::list("ports", index).field("port"))?;
            ports.push(SlicePort { name: entry.name.unwrap_or_default(), port });
        }
    }
    Ok(ports)
}

fn endpoint(
    index: usize,
    written: Endpoint,
    family: AddressFamily,
    zones: &mut Zones,
) -> Result<SliceEndpoint, Fault> {
    let conditions = written.conditions.unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    let pod = written.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
    Ok(SliceEndpoint {
        addresses: match family {
            AddressFamily::Fqdn => Vec::new(),
            _ => addresses(&written.addresses, &Path::list("endpoints", index), family)?,
        },
        conditions: EndpointConditions {
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
        },
        zone: written.zone.map(|zone| zones.shared(zone)),
        pod: pod.and_then(|target| target.name).map(Arc::from),
    })
}

fn addresses(written: &[String], path: &Path, family: AddressFamily) -> Result<Vec<IpAddr>, Fault> {
    let mut addresses = Vec::with_capacity(written.len());
    for (index, text) in written.iter().enumerate() {
        let address: Option<IpAddr> = text.parse().ok();
        let fits = |ip: &IpAddr| ip.is_ipv6() == (family == AddressFamily::V6);
        let address = address.filter(fits).ok_or_else(|| {
            path.item("addresses", index).fault(format!("{text:?} is not an address of addressType"))
        })?;
        addresses.push(address);
    }
    Ok(addresses)
}

/// Zones of one slice: few names for many endpoints, so each is kept once.
#[derive(Default)]
struct Zones(BTreeMap<String, Arc<str>>);

impl Zones {
    fn shared(&mut self, zone: String) -> Arc<str> {
        let name = Arc::from(zone.as_str());
        Arc::clone(self.0.entry(zone).or_insert(name))
    }
}

/// The type of Secrets that are kept.
const TLS: &str = "kubernetes.io/tls";

pub(super) fn secret(meta: Meta, mut data: Value) -> Result<Option<Secret>, Fault> {
    let kind: Option<String> = optional(&mut data, "type")?;
    let Some(kind) = kind.filter(|kind| kind == TLS) else { return Ok(None) };
    let bytes = optional(&mut data, "data").map_err(|fault| hushed(fault, "it is not base64"))?;
    let texts = optional(&mut data, "stringData").map_err(|fault| hushed(fault, "it is not text"))?;
    let mut bytes: BTreeMap<String, ByteString> = bytes.unwrap_or_default();
    let texts: BTreeMap<String, String> = texts.unwrap_or_default();
    bytes.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    let mut take = |key| bytes.remove(key).map(|value| value.0);
    let certificate = take("tls.crt");
    Ok(Some(Secret { meta, kind, certificate, key: take("tls.key").map(Redacted::new) }))
}

/// The fault without what the decoder says of it, which may quote the Secret (invariant 5).
fn hushed(fault: Fault, message: &str) -> Fault {
    Fault { message: message.to_owned(), ..fault }
}
