//! A port of a Service, or of a ServiceImport, as something to balance over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Name, ObjectRef};

/// How to talk to one port of a Service and how to choose among its [`Endpoints`](crate::Endpoints).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    /// See [`Service::name`].
    pub name: Name,
    /// The Service or ServiceImport.
    pub object: ObjectRef,
    /// The service port that was referred to.
    pub port: u16,
    /// What its endpoints speak.
    pub protocol: BackendProtocol,
    /// How an endpoint is chosen.
    pub balancing: Balancing,
    /// When an endpoint counts as unhealthy.
    pub health: HealthPolicy,
    /// Spill-over: a priority is left for the next one when its healthy share times this percentage
    /// is below 100. 140 means that traffic begins to spill when fewer than 71 % are healthy.
    pub overprovision_percent: u16,
}

impl Service {
    /// The resource name of a port of a Service of this cluster.
    pub fn name(object: &ObjectRef, port: u16) -> Name {
        format!("cluster/{object}/{port}").into()
    }

    /// The resource name of a port of a ServiceImport, which spans the ClusterSet.
    pub fn clusterset_name(object: &ObjectRef, port: u16) -> Name {
        format!("clusterset/{object}/{port}").into()
    }
}

/// What endpoints speak (`Service.spec.ports[].appProtocol`, GEP-1911).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BackendProtocol {
    /// HTTP/1.1, which carries WebSocket too.
    Http1,
    /// HTTP/2 in clear text with prior knowledge (`kubernetes.io/h2c`).
    H2c,
}

impl BackendProtocol {
    /// What a port with this `appProtocol` speaks, HTTP/1.1 when nothing is said; none when requests are
    /// not what it takes.
    pub fn of_app_protocol(app_protocol: Option<&str>) -> Option<Self> {
        match app_protocol {
            // WebSocket is HTTP/1.1 with an upgrade.
            None | Some("http" | "kubernetes.io/ws") => Some(Self::Http1),
            // The last two are no registered names, but they are common, and mean HTTP/2 in clear text.
            Some("kubernetes.io/h2c" | "http2" | "grpc") => Some(Self::H2c),
            Some(_) => None,
        }
    }
}

/// How an endpoint is chosen among the healthy ones of a priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Balancing {
    /// The one of two random choices with fewer requests in flight, weights considered.
    LeastRequest,
    /// In turn, weights considered.
    RoundRobin,
}

/// When an endpoint is taken out, and how it comes back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthPolicy {
    /// Failed requests in a row (no answer, or a gateway error) that take an endpoint out. A refused or
    /// reset connection counts as all of them.
    pub consecutive_failures: u16,
    /// The time out of balancing after the first ejection; it doubles with each that follows.
    pub base_ejection: Duration,
    /// The longest time out.
    pub max_ejection: Duration,
    /// How often an endpoint that is out is probed; one answered probe brings it back early.
    pub probe_interval: Duration,
    /// How long a probe may take.
    pub probe_timeout: Duration,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            base_ejection: Duration::from_secs(5),
            max_ejection: Duration::from_mins(1),
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(250),
        }
    }
}
