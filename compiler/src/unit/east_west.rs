//! Settings -> what the east-west gateway serves whatever is exported.

use std::sync::Arc;

use isthmus_east_west::{export::control_handle, listener::listeners};
use isthmus_ir::{Handle, Listener};
use isthmus_world::{World, engine::Unit, fact::MeshSettings};

/// One; none is derived when the cluster has no east-west gateway, neither for peers nor for names.
#[derive(Debug)]
pub(crate) struct EastWest;

/// Its listeners, and the way to the control plane.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EastWestOutput {
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) control: Option<Arc<Handle>>,
}

impl Unit for EastWest {
    type Key = ();
    type Inputs = Arc<MeshSettings>;
    type Output = EastWestOutput;
    type Context<'a> = &'a World;

    fn gather(world: &&World, (): &()) -> Option<Self::Inputs> {
        let settings = world.settings();
        (lets_peers_in(settings) || settings.names.is_some()).then(|| Arc::clone(settings))
    }

    fn translate((): &(), settings: &Self::Inputs) -> EastWestOutput {
        if !lets_peers_in(settings) {
            return EastWestOutput::default();
        }
        EastWestOutput {
            listeners: listeners(settings).into_iter().map(Arc::new).collect(),
            control: control_handle(settings).map(Arc::new),
        }
    }
}

fn lets_peers_in(settings: &MeshSettings) -> bool {
    !settings.east_west.is_empty() && settings.gateway_identity.is_some()
}
