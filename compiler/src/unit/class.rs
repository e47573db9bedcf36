//! GatewayClass -> whether its Gateways are served.

use std::sync::Arc;

use isthmus_gateway::class::{ClassOutput, Definitions, translate};
use isthmus_world::{World, engine::Unit, fact::GatewayClass};

/// One for each GatewayClass; none is derived from one of another controller.
#[derive(Debug)]
pub(crate) struct Classes;

impl Unit for Classes {
    type Key = String;
    type Inputs = Arc<GatewayClass>;
    type Output = Option<ClassOutput>;
    type Context<'a> = &'a World;

    fn gather(world: &&World, name: &String) -> Option<Self::Inputs> {
        world.gateway_class(name).cloned()
    }

    fn translate(_: &String, class: &Self::Inputs) -> Self::Output {
        translate(class, &Definitions::BuiltIn)
    }
}
