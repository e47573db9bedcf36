//! All Gateways of accepted classes -> which of them has an address and port, where they share a machine.

use std::{collections::BTreeMap, sync::Arc};

use isthmus_gateway::{
    listener::{Taken, port_conflicts},
    parameters::fault_of_gateway,
};
use isthmus_ir::ObjectRef;
use isthmus_world::{
    World,
    engine::{Stage, Unit},
    fact::{Gateway, Place},
};

use super::{Classes, class::known_parameters};

/// One for all.
#[derive(Debug)]
pub(crate) struct Ports;

impl Unit for Ports {
    type Key = ();
    type Inputs = Vec<Arc<Gateway>>;
    type Output = BTreeMap<ObjectRef, Vec<Taken>>;
    type Context<'a> = (&'a World, &'a Stage<Classes>);

    fn gather((world, classes): &Self::Context<'_>, (): &()) -> Option<Self::Inputs> {
        if world.settings().place == Place::Pods {
            return None;
        }
        let accepted = |gateway: &&Arc<Gateway>| {
            let class = classes.output(&gateway.class).and_then(|class| class.as_ref().as_ref());
            let known = known_parameters(world, gateway.named_parameters());
            class.is_some_and(|class| class.accepted) && fault_of_gateway(gateway, &known).is_none()
        };
        let gateways: Vec<_> = world.gateways().filter(accepted).cloned().collect();
        (!gateways.is_empty()).then_some(gateways)
    }

    fn translate((): &(), gateways: &Self::Inputs) -> Self::Output {
        port_conflicts(gateways.iter().map(AsRef::as_ref))
    }
}
