//! GatewayClass -> whether its Gateways are served.

use std::sync::Arc;

use isthmus_gateway::{
    class::{ClassOutput, Definitions, translate},
    definitions::Installed,
    parameters::Known,
};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    Kind, ObjectKey, World,
    engine::{Plain, Unit},
    fact::GatewayClass,
    same_fields,
};

/// One for each GatewayClass; none is derived from one of another controller.
#[derive(Debug)]
pub(crate) struct Classes;

#[derive(Debug)]
pub(crate) struct ClassInputs {
    class: Arc<GatewayClass>,
    parameters: Plain<Known>,
    definitions: Plain<Definitions>,
}

same_fields!(ClassInputs { class, parameters, definitions });

impl Unit for Classes {
    type Key = String;
    type Inputs = ClassInputs;
    type Output = Option<ClassOutput>;
    type Context<'a> = &'a World;

    fn gather(world: &&World, name: &String) -> Option<ClassInputs> {
        let class = Arc::clone(world.gateway_class(name)?);
        let definitions = match world.definitions() {
            Some(found) => Definitions::Installed(Installed::new(|name| found.get(name).cloned())),
            None => Definitions::BuiltIn,
        };
        let parameters = Plain(known_parameters(world, class.named_parameters()));
        Some(ClassInputs { class, parameters, definitions: Plain(definitions) })
    }

    fn translate(_: &String, inputs: &ClassInputs) -> Self::Output {
        translate(&inputs.class, &inputs.parameters.0, &inputs.definitions.0)
    }
}

/// What is known of the GatewayParameters that an object names, if it names any.
pub(super) fn known_parameters(world: &World, named: Option<ObjectRef>) -> Known {
    let Some(object) = named else { return Known::default() };
    if world.gateway_parameters(&object).is_some() {
        return Known::There;
    }
    let problem = world.problem(&ObjectKey { kind: Kind::GatewayParameters, object });
    problem.map_or(Known::Missing, |problem| Known::Unreadable(crate::status::said(problem)))
}
