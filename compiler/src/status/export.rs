//! Status of each ServiceExport.

use std::sync::Arc;

use isthmus_east_west::{condition::status, export::Export, import::conflict_condition};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Stage, Unit},
    fact::ServiceExport,
    same_fields,
};
use serde_json::Value;

use crate::unit::{Exports, ImportOutput, Imports};

/// One for each ServiceExport.
#[derive(Debug)]
pub(crate) struct ExportStatuses;

/// What is read.
pub(crate) struct ExportStatusesContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) exports: &'a Stage<Exports>,
    pub(crate) imports: &'a Stage<Imports>,
}

#[derive(Debug)]
pub(crate) struct ExportStatusInputs {
    fact: Arc<ServiceExport>,
    export: Arc<Export>,
    import: Option<Arc<ImportOutput>>,
}

same_fields!(ExportStatusInputs { fact, export, import });

impl Unit for ExportStatuses {
    type Key = ObjectRef;
    type Inputs = ExportStatusInputs;
    type Output = Option<Value>;
    type Context<'a> = ExportStatusesContext<'a>;

    fn gather(context: &ExportStatusesContext<'_>, key: &ObjectRef) -> Option<ExportStatusInputs> {
        Some(ExportStatusInputs {
            fact: Arc::clone(context.world.service_export(key)?),
            export: Arc::clone(context.exports.output(key)?),
            import: context.imports.output(key).cloned(),
        })
    }

    fn translate(_: &ObjectRef, inputs: &ExportStatusInputs) -> Option<Value> {
        let mut conditions = inputs.export.conditions.clone();
        // What is not exported is in nobody's way.
        if let (Some(import), Some(_)) = (&inputs.import, &inputs.export.exported) {
            let generation = inputs.fact.meta.generation;
            conditions.push(conflict_condition(generation, &import.import.conflicts));
        }
        Some(status(&conditions))
    }
}
