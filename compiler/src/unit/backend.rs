//! Port of a Service -> something to balance over, for ports that a route or an export asks for.

use std::{ops::RangeInclusive, sync::Arc};

use isthmus_gateway::backend::{BackendKey, BackendOutput, Local, cluster};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::Unit,
    fact::{EndpointSlice, MeshSettings, Service},
    same_fields,
};

use super::keep::keep;
use crate::demand::Demand;

/// A Service or ServiceImport, and one of its ports.
pub(crate) type PortKey = (ObjectRef, u16);

/// All ports of `object`.
pub(crate) fn ports_of(object: &ObjectRef) -> RangeInclusive<PortKey> {
    (object.clone(), 0)..=(object.clone(), u16::MAX)
}

/// One for each port of a Service of this cluster that is asked for.
#[derive(Debug)]
pub(crate) struct Backends;

/// What is read.
pub(crate) struct BackendsContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) demand: &'a Demand,
}

#[derive(Debug)]
pub(crate) struct BackendInputs {
    service: Arc<Service>,
    slices: Vec<Arc<EndpointSlice>>,
    settings: Arc<MeshSettings>,
}

same_fields!(BackendInputs { service, slices, settings });

impl Unit for Backends {
    type Key = PortKey;
    type Inputs = BackendInputs;
    type Output = Option<BackendOutput>;
    type Context<'a> = BackendsContext<'a>;

    fn gather(context: &BackendsContext<'_>, (object, port): &PortKey) -> Option<BackendInputs> {
        let world = context.world;
        let exported = world.service_export(object).is_some();
        let asked = || context.demand.has(&BackendKey::Cluster(object.clone(), *port));
        if !exported && !asked() {
            return None;
        }
        let service = world.service(object).filter(|s| s.ports.iter().any(|p| p.port == *port))?;
        Some(BackendInputs {
            service: Arc::clone(service),
            slices: world.slices_of(object).cloned().collect(),
            settings: Arc::clone(world.settings()),
        })
    }

    fn translate((_, port): &PortKey, inputs: &BackendInputs) -> Self::Output {
        let local = Local { service: &inputs.service, slices: &inputs.slices };
        cluster(local, *port, &inputs.settings)
    }

    fn settle(old: &Self::Output, new: Self::Output) -> Self::Output {
        settled(old.as_ref(), new)
    }
}

pub(super) fn settled(old: Option<&BackendOutput>, new: Option<BackendOutput>) -> Option<BackendOutput> {
    match (old, new) {
        (Some(old), Some(new)) => Some(BackendOutput {
            service: keep(&old.service, new.service),
            endpoints: keep(&old.endpoints, new.endpoints),
            refused: new.refused,
        }),
        (_, new) => new,
    }
}
