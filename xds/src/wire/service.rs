//! [`Service`] on the wire.

use bytes::Bytes;
use isthmus_ir::{BackendProtocol, Balancing, HealthPolicy, Name, Service};

use super::{
    Refusal,
    read::{duration, features, message, number, object, set, write_duration, write_object},
};
use crate::proto::proxy;

pub(super) fn encode(service: &Service) -> proxy::Service {
    let Service { name: _, object, port, protocol, balancing, health, overprovision_percent } = service;
    let protocol = match protocol {
        BackendProtocol::Http1 => proxy::BackendProtocol::Http1,
        BackendProtocol::H2c => proxy::BackendProtocol::H2c,
    };
    let balancing = match balancing {
        Balancing::LeastRequest => proxy::Balancing::LeastRequest,
        Balancing::RoundRobin => proxy::Balancing::RoundRobin,
    };
    proxy::Service {
        object: Some(write_object(object)),
        port: u32::from(*port),
        protocol: protocol.into(),
        balancing: balancing.into(),
        health: Some(write_health(health)),
        overprovision_percent: u32::from(*overprovision_percent),
        requires: Vec::new(),
    }
}

fn write_health(health: &HealthPolicy) -> proxy::HealthPolicy {
    let HealthPolicy {
        consecutive_failures,
        base_ejection,
        max_ejection,
        probe_interval,
        probe_timeout,
    } = health;
    proxy::HealthPolicy {
        consecutive_failures: u32::from(*consecutive_failures),
        base_ejection: Some(write_duration(*base_ejection)),
        max_ejection: Some(write_duration(*max_ejection)),
        probe_interval: Some(write_duration(*probe_interval)),
        probe_timeout: Some(write_duration(*probe_timeout)),
    }
}

pub(super) fn decode(name: Name, value: &Bytes) -> Result<Service, Refusal> {
    let service: proxy::Service = message(value)?;
    features(&service.requires)?;
    Ok(Service {
        name,
        object: object(service.object)?,
        port: number("port", service.port)?,
        protocol: protocol(service.protocol)?,
        balancing: balancing(service.balancing)?,
        health: health(set("health", service.health)?)?,
        overprovision_percent: number("overprovision_percent", service.overprovision_percent)?,
    })
}

fn protocol(protocol: i32) -> Result<BackendProtocol, Refusal> {
    match proxy::BackendProtocol::try_from(protocol) {
        Ok(proxy::BackendProtocol::Http1) => Ok(BackendProtocol::Http1),
        Ok(proxy::BackendProtocol::H2c) => Ok(BackendProtocol::H2c),
        Ok(proxy::BackendProtocol::Unspecified) | Err(_) => Err(Refusal::Unset("protocol")),
    }
}

fn balancing(balancing: i32) -> Result<Balancing, Refusal> {
    match proxy::Balancing::try_from(balancing) {
        Ok(proxy::Balancing::LeastRequest) => Ok(Balancing::LeastRequest),
        Ok(proxy::Balancing::RoundRobin) => Ok(Balancing::RoundRobin),
        Ok(proxy::Balancing::Unspecified) | Err(_) => Err(Refusal::Unset("balancing")),
    }
}

fn health(health: proxy::HealthPolicy) -> Result<HealthPolicy, Refusal> {
    let span = |field, span| duration(field, set(field, span)?);
    Ok(HealthPolicy {
        consecutive_failures: number("consecutive_failures", health.consecutive_failures)?,
        base_ejection: span("base_ejection", health.base_ejection)?,
        max_ejection: span("max_ejection", health.max_ejection)?,
        probe_interval: span("probe_interval", health.probe_interval)?,
        probe_timeout: span("probe_timeout", health.probe_timeout)?,
    })
}
