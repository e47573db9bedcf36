//! Port of a ServiceImport -> something to balance over, for ports that a route asks for.

use std::sync::Arc;

use isthmus_east_west::import::Import;
use isthmus_gateway::backend::{BackendKey, BackendOutput, Local, clusterset};
use isthmus_ir::{Endpoints, Service as IrService};
use isthmus_world::{
    World,
    engine::{Stage, Unit},
    fact::{EndpointSlice, MeshSettings, Service, ServicePort, ServiceScope},
    same_fields,
};

use super::{Imports, PortKey, backend::settled};
use crate::demand::Demand;

/// One for each port of an import that a route asks for.
#[derive(Debug)]
pub(crate) struct Spans;

/// What is read.
pub(crate) struct SpansContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) demand: &'a Demand,
    pub(crate) imports: &'a Stage<Imports>,
}

#[derive(Debug)]
pub(crate) struct SpanInputs {
    service: Arc<IrService>,
    endpoints: Arc<Endpoints>,
    ports: Arc<[ServicePort]>,
    local: Option<LocalInputs>,
}

/// The Service of this cluster, when it is to be used though it is not exported.
#[derive(Debug)]
struct LocalInputs {
    service: Arc<Service>,
    slices: Vec<Arc<EndpointSlice>>,
    settings: Arc<MeshSettings>,
}

same_fields!(SpanInputs { service, endpoints, ports, local });
same_fields!(LocalInputs { service, slices, settings });

impl Unit for Spans {
    type Key = PortKey;
    type Inputs = SpanInputs;
    type Output = Option<BackendOutput>;
    type Context<'a> = SpansContext<'a>;

    fn gather(context: &SpansContext<'_>, key: &PortKey) -> Option<SpanInputs> {
        let (object, port) = key;
        if !context.demand.has(&BackendKey::ClusterSet(object.clone(), *port)) {
            return None;
        }
        let output = context.imports.output(object)?;
        let (service, endpoints) = of_port(&output.import, *port)?;
        let local = local(context.world, &output.import, key);
        Some(SpanInputs { service, endpoints, ports: output.ports.clone()?, local })
    }

    fn translate((object, port): &PortKey, inputs: &SpanInputs) -> Self::Output {
        let Some(local) = &inputs.local else {
            let (service, endpoints) = (Arc::clone(&inputs.service), Arc::clone(&inputs.endpoints));
            return Some(BackendOutput { service, endpoints, refused: Vec::new() });
        };
        let port = inputs.ports.iter().find(|p| p.port == *port)?;
        let own = Local { service: &local.service, slices: &local.slices };
        clusterset(object, port, Some(own), &inputs.endpoints.endpoints, &local.settings)
    }

    fn settle(old: &Self::Output, new: Self::Output) -> Self::Output {
        settled(old.as_ref(), new)
    }
}

fn of_port(import: &Import, port: u16) -> Option<(Arc<IrService>, Arc<Endpoints>)> {
    let service = import.services.iter().find(|service| service.port == port)?;
    let endpoints = import.endpoints.iter().find(|endpoints| endpoints.service == service.name)?;
    Some((Arc::clone(service), Arc::clone(endpoints)))
}

/// With `serviceScope: ClusterSet` a reference to a Service spans the clusters without losing this one's
/// endpoints, exported or not; those of an export are in the import already.
fn local(world: &World, import: &Import, (object, port): &PortKey) -> Option<LocalInputs> {
    let settings = world.settings();
    if settings.service_scope != ServiceScope::ClusterSet || import.clusters.contains(&settings.cluster)
    {
        return None;
    }
    let service = world.service(object).filter(|s| s.ports.iter().any(|p| p.port == *port))?;
    Some(LocalInputs {
        service: Arc::clone(service),
        slices: world.slices_of(object).cloned().collect(),
        settings: Arc::clone(settings),
    })
}
