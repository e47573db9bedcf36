//! Checks of single resources, and what single resources become.

use std::sync::Arc;

use isthmus_identity::Anchors;
use isthmus_ir::{Change, Handle, HandleTarget, Reach, Resource};

use crate::{
    metrics::Metrics,
    plan::Plan,
    tls::{HandleState, certified_key},
};

/// Whether a change can be carried out, as far as it can be told from the resource alone.
///
/// # Errors
/// Why not, for the resource's author.
pub(super) fn check(change: &Change) -> Result<(), String> {
    let Change::Upsert(resource) = change else { return Ok(()) };
    match resource {
        Resource::Certificate(certificate) => {
            certified_key(certificate).map(drop).map_err(|error| error.to_string())
        }
        Resource::TrustBundle(bundle) if bundle.roots.is_empty() => Err("there are no roots".to_owned()),
        Resource::TrustBundle(bundle) => {
            let anchors = Anchors::new(&bundle.trust_domain, &bundle.roots);
            anchors.map(drop).map_err(|error| format!("{error}: {}", error.source))
        }
        Resource::Endpoints(endpoints) => {
            for endpoint in &endpoints.endpoints {
                let complete = match &endpoint.reach {
                    Reach::Direct { addresses } => !addresses.is_empty(),
                    Reach::Peer { identities, .. } => !identities.is_empty(),
                };
                if !complete {
                    return Err(format!("endpoint {} cannot be reached", endpoint.id));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What a handle leads to.
pub(super) fn handle(handle: &Arc<Handle>, metrics: &Metrics) -> HandleState {
    let plan = match &handle.target {
        HandleTarget::Endpoint { service, endpoint } => {
            Some(Plan::of_handle(service, Some(Arc::clone(endpoint)), metrics))
        }
        HandleTarget::Service { service } => Some(Plan::of_handle(service, None, metrics)),
        HandleTarget::Passthrough { .. } => None,
    };
    HandleState { spec: Arc::clone(handle), plan }
}
