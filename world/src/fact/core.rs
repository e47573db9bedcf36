//! Facts of the core kinds: Namespace, Service, EndpointSlice, Secret.

use std::{net::IpAddr, sync::Arc};

use isthmus_ir::Redacted;

use super::Meta;

/// A Namespace: its labels, which selectors read. Implied when no manifest declares it, with
/// `kubernetes.io/metadata.name`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// Labels are kept.
    pub meta: Meta,
}

/// A Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// Labels are not kept.
    pub meta: Meta,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIP: None`.
    pub headless: bool,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.sessionAffinity: ClientIP`.
    pub client_ip_affinity: bool,
    /// Where clients reach it: what its load balancer says, or its own IPs when it has none. Kept for the
    /// Service of a Gateway only, which has the label `gateway.networking.k8s.io/gateway-name`.
    pub gateway_addresses: Vec<Address>,
    /// Its own IPs, by which it is reached from within the cluster; kept for the same Services.
    pub gateway_cluster_ips: Vec<IpAddr>,
}

/// Where something is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name.
    Hostname(String),
}

/// The type of a Service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceType {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    ClusterIp,
    /// `ExternalName`, which is never followed (case G11).
    ExternalName,
}

/// One of `spec.ports`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServicePort {
    /// Empty for a single unnamed port.
    pub name: String,
    /// `port`.
    pub port: u16,
    /// `protocol`: `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// An EndpointSlice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointSlice {
    /// Labels are not kept.
    pub meta: Meta,
    /// Label `kubernetes.io/service-name`, in the slice's own namespace.
    pub service: String,
    /// `addressType`.
    pub family: AddressFamily,
    /// `ports`; an entry without a number is left out.
    pub ports: Vec<SlicePort>,
    /// `endpoints`.
    pub endpoints: Vec<SliceEndpoint>,
}

/// `addressType` of an EndpointSlice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressFamily {
    /// `IPv4`.
    V4,
    /// `IPv6`.
    V6,
    /// `FQDN`: never followed.
    Fqdn,
}

/// A port of an EndpointSlice, which belongs to the service port of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlicePort {
    /// Empty for an unnamed port.
    pub name: String,
    /// Where endpoints listen.
    pub port: u16,
}

/// One of `endpoints`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SliceEndpoint {
    /// `addresses`; only the first counts for anything but identity.
    pub addresses: Vec<IpAddr>,
    /// `conditions`, with the specification's defaults filled in.
    pub conditions: EndpointConditions,
    /// `zone`.
    pub zone: Option<Arc<str>>,
    /// `targetRef` of kind Pod: its name, which joins the slices of both families.
    pub pod: Option<Arc<str>>,
}

/// `conditions` of an endpoint: unknown `ready` counts as true, unknown `serving` as `ready`, unknown
/// `terminating` as false.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndpointConditions {
    /// May take new requests.
    pub ready: bool,
    /// Answers, though it may be terminating.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
}

/// A Secret of type `kubernetes.io/tls`; others are not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    /// Labels are not kept.
    pub meta: Meta,
    /// `type`.
    pub kind: String,
    /// `data["tls.crt"]`, decoded from base64; none when absent.
    pub certificate: Option<Vec<u8>>,
    /// `data["tls.key"]`, decoded from base64; none when absent.
    pub key: Option<Redacted<Vec<u8>>>,
}
