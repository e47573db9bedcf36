//! Service, EndpointSlices and imported endpoints -> something to balance over.
//!
//! A Service is never followed by name: ExternalName is refused, and so are addresses that lead back
//! into the machine or to a metadata service (case G11).

use std::sync::Arc;

use isthmus_ir::{Endpoint, Endpoints, ObjectRef};
use isthmus_world::fact::{EndpointSlice, MeshSettings, Service, ServicePort};

/// A port as something to balance over, and its endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendOutput {
    /// How to talk to it.
    pub service: Arc<isthmus_ir::Service>,
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

/// Port `port` of a Service of this cluster; none when the Service has no such port, or cannot be
/// spoken to.
pub fn cluster(local: Local<'_>, port: u16, settings: &MeshSettings) -> Option<BackendOutput> {
    let _ = (local, port, settings);
    None
}

/// Port `port` of the ServiceImport `object`.
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
    let _ = (object, port, local, imported, settings);
    None
}
