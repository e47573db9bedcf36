//! Status of each GatewayClass. Where there is no better place, it is also where one reads what the control
//! plane as a whole lacks.

use std::sync::Arc;

use isthmus_gateway::{Condition, class::ClassOutput, status::gateway_class};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    Kind, KindState, ObjectKey, World,
    engine::{Plain, Stage, Unit},
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
    frozen: Plain<Vec<Kind>>,
}

same_fields!(ClassStatusInputs { class, output, problem, frozen });

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
        let frozen = |kind: &Kind| context.world.kind_state(*kind) == KindState::Frozen;
        let frozen = Plain(Kind::ALL.into_iter().filter(frozen).collect());
        Some(ClassStatusInputs { class: Arc::clone(class), output: Arc::clone(output), problem, frozen })
    }

    fn translate(_: &ObjectRef, inputs: &ClassStatusInputs) -> Option<Value> {
        let mut output = inputs.output.as_ref().clone()?;
        output.conditions.extend(degraded(&inputs.frozen.0));
        Some(gateway_class(&inputs.class, &output, inputs.problem.as_deref()))
    }
}

/// Says which kinds may not be read (case F18); none when all may.
fn degraded(frozen: &[Kind]) -> Option<Condition> {
    let kinds: Vec<_> = frozen.iter().map(|kind| kind.as_str()).collect();
    let message = format!(
        "the control plane may not read {}: what it knew of these before stands, until its ClusterRole lets \
         it get, list and watch them",
        kinds.join(", ")
    );
    (!kinds.is_empty()).then(|| Condition::is("isthmus.dev/Degraded", "KindsNotReadable", message))
}
