//! ServiceExport -> what peers are told of the service, the handles that let them in, and the export's
//! own conditions (MCS v1beta1; KEP-1645, "Exporting Services").
//!
//! Decided from the export, its Service and the Service's endpoints; no address leaves the cluster. The
//! condition `Conflict` is not decided here but by [`import`](crate::import), which sees all clusters.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_ir::{
    Endpoint, EndpointState, Endpoints, Handle, HandleTarget, ObjectRef, Service, TrustDomain,
};
use isthmus_world::fact::{
    self, ExportedEndpoint, ExportedPort, ExportedService, ImportType, MeshSettings, ServiceExport,
    ServiceType, SessionAffinity,
};

use crate::{
    condition::Condition,
    handle::{CONTROL, HandleKey},
    subset::{SUBSET, subset},
};

/// How many endpoints of one port are exported; more are behind the fallback handle only.
pub const MAX_ENDPOINTS: usize = 1000;

/// What [`export`] decides from.
#[derive(Clone, Copy, Debug)]
pub struct ExportInput<'a> {
    /// This cluster.
    pub settings: &'a MeshSettings,
    /// What handles are derived from.
    pub key: &'a HandleKey,
    /// Trust domains of the peers that have joined, whatever their leases say, in order
    /// ([`Trust::callers`](crate::trust::Trust)).
    pub callers: &'a [TrustDomain],
    /// The export.
    pub export: &'a ServiceExport,
    /// The Service of its namespace and name.
    pub service: Option<&'a fact::Service>,
    /// The Service's endpoints by service port.
    pub endpoints: &'a BTreeMap<u16, Arc<Endpoints>>,
}

/// What follows from one ServiceExport.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Export {
    /// What peers are told; none when there is nothing to export.
    pub exported: Option<Arc<ExportedService>>,
    /// For the east-west gateway: the handles that peers may use.
    pub handles: Vec<Arc<Handle>>,
    /// `Valid` and `Ready`.
    pub conditions: Vec<Condition>,
}

/// Exports a service.
pub fn export(input: &ExportInput<'_>) -> Export {
    let generation = input.export.meta.generation;
    match exportable(input) {
        Ok(service) => {
            let exported = exported_service(input, service);
            let left_out = service.ports.len() - exported.ports.len();
            let conditions = if reachable(input.settings) {
                ready_conditions(generation, left_out)
            } else {
                vec![valid(generation), failed(generation, NO_GATEWAY)]
            };
            Export { handles: handles(input, service), exported: Some(Arc::new(exported)), conditions }
        }
        Err(conditions) => Export { conditions, ..Export::default() },
    }
}

/// The handle by which control planes of peers reach this one's federation port, also those that are yet
/// to join: the port itself tells members, invited ones and strangers apart.
pub fn control_handle(settings: &MeshSettings) -> Option<Handle> {
    let address = settings.federation?;
    let target = HandleTarget::Passthrough { address };
    Some(Handle { name: CONTROL.into(), callers: Vec::new(), target })
}

/// What `caller` is told of an export: of large services a subset of its own.
pub fn view(exported: &Arc<ExportedService>, caller: &str) -> Arc<ExportedService> {
    if exported.ports.iter().all(|port| port.endpoints.len() <= SUBSET) {
        return Arc::clone(exported);
    }
    let mut narrowed = ExportedService::clone(exported);
    for port in &mut narrowed.ports {
        port.endpoints =
            subset(caller, &port.endpoints, |e| &e.handle, SUBSET).into_iter().cloned().collect();
    }
    Arc::new(narrowed)
}

const NO_GATEWAY: &str = "this cluster has no east-west gateway for peers to come in by";

/// Whether peers can come in. If not, this cluster takes part in what it exports all the same, and peers
/// are told of no endpoint.
fn reachable(settings: &MeshSettings) -> bool {
    settings.gateway_identity.is_some() && !settings.east_west.is_empty()
}

fn exportable<'a>(input: &ExportInput<'a>) -> Result<&'a fact::Service, Vec<Condition>> {
    let object = input.export.meta.object();
    let fail = |reason: &str, message: &str| {
        let generation = input.export.meta.generation;
        let valid = condition("Valid", false, reason, message, generation);
        vec![valid, failed(generation, message)]
    };
    let Some(service) = input.service else {
        return Err(fail("NoService", &format!("there is no Service {object} to export")));
    };
    if service.kind == ServiceType::ExternalName {
        let message = format!("Service {object} is of type ExternalName, which has nothing to export");
        return Err(fail("InvalidServiceType", &message));
    }
    Ok(service)
}

fn ready_conditions(generation: i64, left_out: usize) -> Vec<Condition> {
    let message = match left_out {
        0 => "peers can import the service".to_owned(),
        n => {
            format!("peers can import the service, but for {n} of its ports: TCP only is carried so far")
        }
    };
    vec![valid(generation), condition("Ready", true, "Ready", &message, generation)]
}

fn valid(generation: i64) -> Condition {
    condition("Valid", true, "Valid", "the Service can be exported", generation)
}

fn failed(generation: i64, message: &str) -> Condition {
    condition("Ready", false, "Failed", message, generation)
}

fn condition(
    kind: &'static str,
    status: bool,
    reason: &str,
    message: &str,
    generation: i64,
) -> Condition {
    Condition { kind, status, reason: reason.to_owned(), message: message.to_owned(), generation }
}

fn exported_service(input: &ExportInput<'_>, service: &fact::Service) -> ExportedService {
    let object = input.export.meta.object();
    let ports = carried(service).map(|port| exported_port(input, &object, port)).collect();
    ExportedService {
        cluster: Arc::clone(&input.settings.cluster),
        created: input.export.meta.created.max(0),
        kind: if service.headless { ImportType::Headless } else { ImportType::ClusterSetIp },
        affinity: if service.client_ip_affinity {
            SessionAffinity::ClientIp
        } else {
            SessionAffinity::None
        },
        ports,
        namespace: object.namespace,
        name: object.name,
    }
}

fn carried(service: &fact::Service) -> impl Iterator<Item = &fact::ServicePort> {
    service.ports.iter().filter(|port| port.protocol == "TCP")
}

fn exported_port(input: &ExportInput<'_>, object: &ObjectRef, port: &fact::ServicePort) -> ExportedPort {
    let mut shown = exposed(input, port.port);
    shown.retain(|e| e.state == EndpointState::Ready);
    let identities: Vec<_> = input.settings.gateway_identity.iter().cloned().collect();
    let as_exported = |handle: isthmus_ir::Name, zone, weight| ExportedEndpoint {
        handle: handle.as_str().into(),
        zone,
        weight,
        identities: identities.clone(),
    };
    let mut endpoints: Vec<_> = shown
        .iter()
        .map(|e| as_exported(input.key.endpoint(object, port.port, &e.id), e.zone.clone(), e.weight))
        .collect();
    endpoints.sort_by(|a, b| a.handle.cmp(&b.handle));
    let weight = shown.iter().fold(0_u32, |sum, e| sum.saturating_add(e.weight));
    let fallback = (!shown.is_empty())
        .then(|| as_exported(input.key.service(object, port.port), input.settings.zone.clone(), weight));
    ExportedPort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
        endpoints,
        fallback,
    }
}

/// Endpoints that have a handle: draining ones too, since callers learn of it later than the gateway.
fn exposed<'a>(input: &ExportInput<'a>, port: u16) -> Vec<&'a Endpoint> {
    if !reachable(input.settings) {
        return Vec::new();
    }
    let all = input.endpoints.get(&port).map_or(&[][..], |set| &set.endpoints);
    subset("", all, |e| &e.id, MAX_ENDPOINTS)
}

fn handles(input: &ExportInput<'_>, service: &fact::Service) -> Vec<Arc<Handle>> {
    if !reachable(input.settings) {
        return Vec::new();
    }
    let object = input.export.meta.object();
    let mut all = Vec::new();
    for port in carried(service) {
        let name = Service::name(&object, port.port);
        let mut add = |handle, target| {
            all.push(Arc::new(Handle { name: handle, callers: input.callers.to_vec(), target }));
        };
        add(input.key.service(&object, port.port), HandleTarget::Service { service: name.clone() });
        for endpoint in exposed(input, port.port) {
            let target =
                HandleTarget::Endpoint { service: name.clone(), endpoint: Arc::clone(&endpoint.id) };
            add(input.key.endpoint(&object, port.port, &endpoint.id), target);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}
