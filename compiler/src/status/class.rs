//! Status of each GatewayClass.

use std::sync::Arc;

use isthmus_gateway::{class::ClassOutput, status::gateway_class};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    Kind, ObjectKey, World,
    engine::{Stage, Unit},
    fact::{GatewayClass, Problem},
    same_fields,
};
use serde_json::Value;

use crate::unit::Classes;

/// One for each GatewayClass of ours.
#[derive(Debug)]
pub(crate) struct ClassStatuses;

/// What is read.
pub(crate) struct ClassStatusesContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) classes: &'a Stage<Classes>,
}

#[derive(Debug)]
pub(crate) struct ClassStatusInputs {
    class: Arc<GatewayClass>,
    output: Arc<Option<ClassOutput>>,
    problem: Option<Arc<Problem>>,
}

same_fields!(ClassStatusInputs { class, output, problem });

impl Unit for ClassStatuses {
    type Key = ObjectRef;
    type Inputs = ClassStatusInputs;
    type Output = Option<Value>;
    type Context<'a> = ClassStatusesContext<'a>;

    fn gather(context: &ClassStatusesContext<'_>, key: &ObjectRef) -> Option<ClassStatusInputs> {
        let class = context.world.gateway_class(&key.name)?;
        let output = context.classes.output(&key.name).filter(|output| output.is_some())?;
        let at = ObjectKey { kind: Kind::GatewayClass, object: key.clone() };
        let known = context.world.problem(&at);
        let problem = super::problem(known, context.classes.fault(&key.name), class.meta.generation);
        Some(ClassStatusInputs { class: Arc::clone(class), output: Arc::clone(output), problem })
    }

    fn translate(_: &ObjectRef, inputs: &ClassStatusInputs) -> Option<Value> {
        let output = inputs.output.as_ref().as_ref()?;
        Some(gateway_class(&inputs.class, output, inputs.problem.as_deref()))
    }
}
