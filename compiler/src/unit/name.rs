//! Ports of all imports -> how they are reached by name.

use std::sync::Arc;

use isthmus_east_west::{
    dns,
    names::{Named, Names, names},
};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Plain, Stage, Unit},
    fact::{MeshSettings, ServicePort},
    same_fields,
};

use super::{
    Imports,
    keep::{keep, keep_all},
};

/// One for all imports; none is derived when no names are answered.
#[derive(Debug)]
pub(crate) struct ImportNames;

#[derive(Debug)]
pub(crate) struct NameInputs {
    settings: Arc<MeshSettings>,
    imports: Vec<ImportPorts>,
}

/// What names follow from of one import, without its endpoints, which change often.
#[derive(Debug)]
struct ImportPorts {
    object: Plain<ObjectRef>,
    created: Plain<i64>,
    ports: Arc<[ServicePort]>,
}

same_fields!(NameInputs { settings, imports });
same_fields!(ImportPorts { object, created, ports });

impl Unit for ImportNames {
    type Key = ();
    type Inputs = NameInputs;
    type Output = Names;
    type Context<'a> = (&'a World, &'a Stage<Imports>);

    fn gather((world, imports): &Self::Context<'_>, (): &()) -> Option<NameInputs> {
        let settings = Arc::clone(world.settings());
        settings.names.as_ref()?;
        let ports = imports.outputs().filter_map(|(object, output)| {
            Some(ImportPorts {
                object: Plain(object.clone()),
                created: Plain(output.import.created),
                ports: output.ports.clone()?,
            })
        });
        Some(NameInputs { imports: ports.collect(), settings })
    }

    fn translate((): &(), inputs: &NameInputs) -> Names {
        let Some(settings) = &inputs.settings.names else { return Names::default() };
        let named = inputs.imports.iter().map(|import| Named {
            object: &import.object.0,
            created: import.created.0,
            ports: &import.ports,
        });
        names(settings, &inputs.settings.cluster, named)
    }

    fn settle(old: &Names, new: Names) -> Names {
        Names {
            table: keep(&old.table, new.table),
            listeners: keep_all(&old.listeners, new.listeners, |listener| &listener.name),
            routes: keep_all(&old.routes, new.routes, |route| &route.name),
            left_out: new.left_out,
        }
    }
}

/// The table of no names at all.
pub(crate) fn table(names: Option<&Arc<Names>>) -> Arc<dns::Table> {
    names.map(|names| Arc::clone(&names.table)).unwrap_or_default()
}
