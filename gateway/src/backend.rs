//! Service, EndpointSlices and imported endpoints -> something to balance over.
//!
//! A Service is never followed by name: ExternalName is refused, and so are addresses that lead back
//! into the machine or to a metadata service (case G11).

mod endpoints;
mod protocol;

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::{
    BackendProtocol, Balancing, Endpoint, Endpoints, HealthPolicy, Name, ObjectRef, Service as IrService,
};
use isthmus_world::fact::{
    EndpointSlice, MeshSettings, PolicyTarget, Service, ServicePort, ServiceType,
};

pub(crate) use protocol::protocol;

/// Healthy endpoints, in percent of 71 %, below which a priority spills over to the next.
const OVERPROVISION_PERCENT: u16 = 140;

/// A port that a route or a handle refers to: the key of this unit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BackendKey {
    /// A port of a Service of this cluster: [`cluster`].
    Cluster(ObjectRef, u16),
    /// A port of a ServiceImport: [`clusterset`].
    ClusterSet(ObjectRef, u16),
}

impl BackendKey {
    /// The name of the IR service.
    pub fn name(&self) -> Name {
        match self {
            Self::Cluster(object, port) => IrService::name(object, *port),
            Self::ClusterSet(object, port) => IrService::clusterset_name(object, *port),
        }
    }
}

/// A port as something to balance over, and its endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendOutput {
    /// How to talk to it.
    pub service: Arc<IrService>,
    /// Where it runs; may be empty.
    pub endpoints: Arc<Endpoints>,
    /// Addresses that were refused, with the reason, for warnings.
    pub refused: Vec<String>,
}

/// A Service of this cluster with its slices.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// The Service.
    pub service: &'a Service,
    /// All its EndpointSlices, in any order.
    pub slices: &'a [Arc<EndpointSlice>],
}

/// One of the targets of a BackendTLSPolicy, which are in the policy's namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsTarget {
    /// The policy.
    pub policy: ObjectRef,
    /// What it is about.
    pub target: PolicyTarget,
}

impl TlsTarget {
    /// Whether it is about `port` of the object of this name in its namespace, when that is of one of
    /// `kinds`, each a group and a kind.
    pub(crate) fn covers(&self, kinds: &[(&str, &str)], object: &ObjectRef, port: &ServicePort) -> bool {
        let Self { policy, target } = self;
        let kind = (target.kind.group.as_str(), target.kind.kind.as_str());
        policy.namespace == object.namespace
            && target.name == object.name
            && kinds.contains(&kind)
            && target.section.as_ref().is_none_or(|section| *section == port.name)
    }
}

/// Port `port` of a Service of this cluster; none when the Service has no such port, or cannot be
/// spoken to.
pub fn cluster(local: Local<'_>, port: u16, settings: &MeshSettings) -> Option<BackendOutput> {
    let declared = declared(local.service, port)?;
    let protocol = protocol(declared).ok()?;
    let key = BackendKey::Cluster(local.service.meta.object(), port);
    let found = endpoints::local(local, declared, settings);
    Some(output(&key, protocol, found.endpoints, found.refused))
}

/// Port `port` of the ServiceImport `object`; none when it cannot be spoken to.
///
/// `local` is the Service of the same name in this cluster, given when this cluster exports it, or when
/// a backendRef to a Service spans the ClusterSet; its endpoints have priority 0. `imported` are the
/// endpoints of peers for this port, with the priorities that they are to have.
pub fn clusterset(
    object: &ObjectRef,
    port: &ServicePort,
    local: Option<Local<'_>>,
    imported: &[Endpoint],
    settings: &MeshSettings,
) -> Option<BackendOutput> {
    let protocol = protocol(port).ok()?;
    let key = BackendKey::ClusterSet(object.clone(), port.port);
    let found = local
        .and_then(|l| Some(endpoints::local(l, declared(l.service, port.port)?, settings)))
        .unwrap_or_default();
    let all = found.endpoints.into_iter().chain(imported.iter().cloned()).collect();
    Some(output(&key, protocol, all, found.refused))
}

/// The port that a reference to `number` means, of a Service that may be followed at all.
pub(crate) fn declared(service: &Service, number: u16) -> Option<&ServicePort> {
    if service.kind == ServiceType::ExternalName {
        return None;
    }
    let mut ports = service.ports.iter().filter(|p| p.port == number);
    let first = ports.next()?;
    // One number may be declared for TCP and for UDP; a route means TCP.
    Some(ports.chain([first]).find(|p| p.protocol == "TCP").unwrap_or(first))
}

fn output(
    key: &BackendKey,
    protocol: BackendProtocol,
    endpoints: Vec<Endpoint>,
    refused: Vec<String>,
) -> BackendOutput {
    let (BackendKey::Cluster(object, port) | BackendKey::ClusterSet(object, port)) = key;
    let by_id: BTreeMap<_, _> = endpoints.into_iter().map(|e| (e.id.clone(), e)).collect();
    let service = IrService {
        name: key.name(),
        object: object.clone(),
        port: *port,
        protocol,
        balancing: Balancing::LeastRequest,
        health: HealthPolicy::default(),
        overprovision_percent: OVERPROVISION_PERCENT,
    };
    let endpoints = Endpoints { service: key.name(), endpoints: by_id.into_values().collect() };
    BackendOutput { service: Arc::new(service), endpoints: Arc::new(endpoints), refused }
}
