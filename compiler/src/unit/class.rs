//! GatewayClass -> whether its Gateways are served.

use std::sync::Arc;

use isthmus_gateway::class::{ClassOutput, Definitions, translate};
use isthmus_world::{
    World,
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
    definitions: Plain<Definitions>,
}

same_fields!(ClassInputs { class, definitions });

impl Unit for Classes {
    type Key = String;
    type Inputs = ClassInputs;
    type Output = Option<ClassOutput>;
    type Context<'a> = &'a World;

    fn gather(world: &&World, name: &String) -> Option<ClassInputs> {
        let class = Arc::clone(world.gateway_class(name)?);
        let definitions = match world.definitions() {
            Some(installed) => Definitions::Installed(installed.values().cloned().collect()),
            None => Definitions::BuiltIn,
        };
        Some(ClassInputs { class, definitions: Plain(definitions) })
    }

    fn translate(_: &String, inputs: &ClassInputs) -> Self::Output {
        translate(&inputs.class, &inputs.definitions.0)
    }
}
