//! ServiceExport -> what peers are told, and the handles that let them in.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::{
    export::{Export, ExportInput, export},
    handle::HandleKey,
};
use isthmus_ir::{Endpoints, ObjectRef, TrustDomain};
use isthmus_world::{
    World,
    engine::{Stage, Unit},
    fact::{MeshSettings, Service, ServiceExport},
    same_fields,
};

use super::{
    Backends, Trusts,
    keep::{keep, keep_all},
    ports_of,
};

/// One for each ServiceExport.
#[derive(Debug)]
pub(crate) struct Exports;

/// What is read.
pub(crate) struct ExportsContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) handles: &'a Arc<HandleKey>,
    pub(crate) trust: &'a Stage<Trusts>,
    pub(crate) backends: &'a Stage<Backends>,
}

#[derive(Debug)]
pub(crate) struct ExportInputs {
    settings: Arc<MeshSettings>,
    handles: Arc<HandleKey>,
    callers: Option<Arc<Vec<TrustDomain>>>,
    export: Arc<ServiceExport>,
    service: Option<Arc<Service>>,
    endpoints: BTreeMap<u16, Arc<Endpoints>>,
}

same_fields!(ExportInputs { settings, handles, callers, export, service, endpoints });

impl Unit for Exports {
    type Key = ObjectRef;
    type Inputs = ExportInputs;
    type Output = Export;
    type Context<'a> = ExportsContext<'a>;

    fn gather(context: &ExportsContext<'_>, key: &ObjectRef) -> Option<ExportInputs> {
        Some(ExportInputs {
            export: Arc::clone(context.world.service_export(key)?),
            settings: Arc::clone(context.world.settings()),
            handles: Arc::clone(context.handles),
            callers: context.trust.output(&()).map(|trust| Arc::clone(&trust.callers)),
            service: context.world.service(key).cloned(),
            endpoints: endpoints(context.backends, key),
        })
    }

    fn translate(_: &ObjectRef, inputs: &ExportInputs) -> Export {
        export(&ExportInput {
            settings: &inputs.settings,
            key: &inputs.handles,
            callers: inputs.callers.as_ref().map_or(&[], |callers| callers.as_slice()),
            export: &inputs.export,
            service: inputs.service.as_deref(),
            endpoints: &inputs.endpoints,
        })
    }

    fn settle(old: &Export, new: Export) -> Export {
        Export {
            exported: match (&old.exported, new.exported) {
                (Some(old), Some(new)) => Some(keep(old, new)),
                (_, new) => new,
            },
            handles: keep_all(&old.handles, new.handles, |handle| &handle.name),
            conditions: new.conditions,
        }
    }
}

/// Endpoints of a Service of this cluster, by port.
pub(super) fn endpoints(
    backends: &Stage<Backends>,
    service: &ObjectRef,
) -> BTreeMap<u16, Arc<Endpoints>> {
    let ports = backends.range(ports_of(service));
    ports
        .filter_map(|((_, port), output)| {
            Some((*port, Arc::clone(&output.as_ref().as_ref()?.endpoints)))
        })
        .collect()
}
