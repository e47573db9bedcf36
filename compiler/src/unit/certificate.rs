//! Secret -> certificate, for Secrets that a Gateway names.

use std::sync::Arc;

use isthmus_gateway::certificate::{CertificateOutput, translate};
use isthmus_ir::ObjectRef;
use isthmus_world::{Kind, Mention, World, engine::Unit, fact::Secret};

use super::keep::keep;

/// One for each Secret that some Gateway names.
#[derive(Debug)]
pub(crate) struct Certificates;

impl Unit for Certificates {
    type Key = ObjectRef;
    type Inputs = Arc<Secret>;
    type Output = CertificateOutput;
    type Context<'a> = &'a World;

    fn gather(world: &&World, key: &ObjectRef) -> Option<Self::Inputs> {
        world.mentioning(&Mention::Secret(key.clone()), Kind::Gateway).next()?;
        world.secret(key).cloned()
    }

    fn translate(_: &ObjectRef, secret: &Self::Inputs) -> Self::Output {
        translate(secret)
    }

    fn settle(old: &Self::Output, new: Self::Output) -> Self::Output {
        match (old, new) {
            (Ok(old), Ok(new)) => Ok(keep(old, new)),
            (_, new) => new,
        }
    }
}
