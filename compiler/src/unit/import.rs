//! Exports of all clusters of one service -> its ServiceImport.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_east_west::import::{Import, ImportInput, LocalExport, PeerExport, import};
use isthmus_ir::{Endpoints, ObjectRef};
use isthmus_world::{
    World,
    engine::{Stage, Unit},
    fact::{ExportedService, MeshSettings, PeerFact, ServicePort},
    same_fields,
};

use super::{
    Backends, Exports, Trusts,
    export::endpoints,
    keep::{keep, keep_all},
};

/// One for each service that some cluster exports.
#[derive(Debug)]
pub(crate) struct Imports;

/// What is read.
pub(crate) struct ImportsContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) trust: &'a Stage<Trusts>,
    pub(crate) exports: &'a Stage<Exports>,
    pub(crate) backends: &'a Stage<Backends>,
}

/// What this cluster exports, and the Service's endpoints by port.
type OwnExport = (Arc<ExportedService>, BTreeMap<u16, Arc<Endpoints>>);

#[derive(Debug)]
pub(crate) struct ImportInputs {
    settings: Arc<MeshSettings>,
    local: Option<OwnExport>,
    peers: Vec<(Arc<PeerFact>, Arc<ExportedService>)>,
}

same_fields!(ImportInputs { settings, local, peers });

/// An import, and what routes read of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ImportOutput {
    /// The import; it may not exist, when nothing that peers say of it is believed.
    pub(crate) import: Arc<Import>,
    /// Its ports, apart from its endpoints, which change often; none when it does not exist.
    pub(crate) ports: Option<Arc<[ServicePort]>>,
}

impl Unit for Imports {
    type Key = ObjectRef;
    type Inputs = ImportInputs;
    type Output = ImportOutput;
    type Context<'a> = ImportsContext<'a>;

    fn gather(context: &ImportsContext<'_>, key: &ObjectRef) -> Option<ImportInputs> {
        let exported = context.exports.output(key).and_then(|export| export.exported.clone());
        let local = exported.map(|exported| (exported, endpoints(context.backends, key)));
        let views = context.trust.output(&()).map(|trust| &trust.views);
        let peers: Vec<_> = context
            .world
            .peer_exports(key)
            .filter_map(|export| Some((views?.get(&export.peer.cluster)?.clone(), export.service)))
            .collect();
        let settings = Arc::clone(context.world.settings());
        (local.is_some() || !peers.is_empty()).then_some(ImportInputs { settings, local, peers })
    }

    fn translate(key: &ObjectRef, inputs: &ImportInputs) -> ImportOutput {
        let local = inputs.local.as_ref();
        let peers: Vec<_> =
            inputs.peers.iter().map(|(peer, exported)| PeerExport { peer, exported }).collect();
        let import = import(&ImportInput {
            settings: &inputs.settings,
            object: key,
            local: local.map(|(exported, endpoints)| LocalExport { exported, endpoints }),
            peers: &peers,
            prefer_zone: false,
        });
        let ports = import.exists().then(|| ports(&import));
        ImportOutput { import: Arc::new(import), ports }
    }

    fn settle(old: &ImportOutput, new: ImportOutput) -> ImportOutput {
        let mut import = Arc::unwrap_or_clone(new.import);
        import.services = keep_all(&old.import.services, import.services, |s| &s.name);
        import.endpoints = keep_all(&old.import.endpoints, import.endpoints, |e| &e.service);
        ImportOutput {
            import: keep(&old.import, Arc::new(import)),
            ports: match (&old.ports, new.ports) {
                (Some(old), Some(new)) => Some(keep(old, new)),
                (_, new) => new,
            },
        }
    }
}

fn ports(import: &Import) -> Arc<[ServicePort]> {
    let port = |port: &isthmus_east_west::import::ImportPort| ServicePort {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol.clone(),
        app_protocol: port.app_protocol.clone(),
    };
    import.ports.iter().map(port).collect()
}
