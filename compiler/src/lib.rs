//! The composition: from a [`World`] to what proxies are told, what peers are shown, and what users read
//! in the status of their objects.
//!
//! The control plane, `translate`, `explain`, `plan`, golden tests and simulation all go through
//! [`Compiler`]. It decides nothing itself: the units' translate functions are those of `gateway` and
//! `east-west`; here they are put in order, and kept up to date.

mod refresh;

pub use refresh::{ExportChange, ImportChange, Refresh, StatusChange};

use std::sync::Arc;

use isthmus_east_west::handle::HandleKey;
use isthmus_ir::{Name, Resource};
use isthmus_world::{Change, World, fact::MeshSettings};

/// Keeps what follows from a World up to date.
///
/// Nothing is published while a kind is pending: [`Compiler::refresh`] answers with nothing then, and with
/// everything once the last one is known.
#[derive(Debug)]
pub struct Compiler {
    world: World,
    #[expect(dead_code, reason = "exports are not composed yet")]
    handles: Arc<HandleKey>,
    revision: u64,
}

impl Compiler {
    /// A compiler that knows nothing but its cluster's settings, and what its handles are derived from.
    pub fn new(settings: MeshSettings, handles: HandleKey) -> Self {
        Self { world: World::new(settings), handles: Arc::new(handles), revision: 0 }
    }

    /// Takes a change in. Nothing follows from it before the next [`Compiler::refresh`].
    pub fn apply(&mut self, change: Change) {
        self.world.apply(change, &mut |_| ());
    }

    /// Brings everything up to date and answers with what became different.
    pub fn refresh(&mut self) -> Refresh {
        Refresh { revision: self.revision, ..Refresh::default() }
    }

    /// What is known.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The scopes that exist, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &Name> {
        std::iter::empty()
    }

    /// All that a scope is told now; none when there is no such scope.
    pub fn snapshot(&self, scope: &Name) -> Option<Vec<Resource>> {
        let _ = scope;
        None
    }
}
