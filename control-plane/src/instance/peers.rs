//! Federation in a running instance: what the core learns of peers, and what peers learn of this cluster.

use std::{net::SocketAddr, sync::Arc};

use isthmus_east_west::lease::Timing;
use isthmus_world::Change;
use isthmus_xds::evidence::Observation;
use tokio::{net::TcpListener, sync::mpsc};

use super::{InstanceError, machine::News};
use crate::{
    ca::Authority,
    federation::{self, Federation, Setup, system_clock},
    settings::{LOOPBACK, Settings},
    state_dir::StateDir,
};

/// Batches of changes that may wait.
const QUEUE: usize = 64;

/// Federation, and the channels between it and the core.
pub(super) struct Peers {
    pub(super) federation: Federation,
    /// Where the east-west gateway finds this control plane.
    pub(super) address: SocketAddr,
    /// What is in force of peers from before the start.
    pub(super) known: Vec<Change>,
    /// What becomes different of them.
    pub(super) changes: mpsc::Receiver<Vec<Change>>,
    /// What they are to be told.
    pub(super) news: mpsc::UnboundedReceiver<News>,
}

impl Peers {
    pub(super) async fn start(
        state: &Arc<StateDir>,
        authority: &Arc<Authority>,
        settings: &Settings,
        news: mpsc::UnboundedReceiver<News>,
    ) -> Result<Self, InstanceError> {
        let fail = |error| InstanceError::Listen("a loopback port for peers".to_owned(), error);
        let listener = TcpListener::bind((LOOPBACK, 0)).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let (tell, changes) = mpsc::channel(QUEUE);
        let setup = Setup {
            state: Arc::clone(state),
            authority: Arc::clone(authority),
            settings: settings.mesh(Some(address)),
            advertise: settings.advertise.clone(),
            changes: tell,
            timing: Timing::default(),
            clock: system_clock(),
        };
        let (federation, known) = federation::start(setup, listener).await?;
        Ok(Self { federation, address, known, changes, news })
    }
}

/// Tells peers what the core says, for as long as there is a core.
pub(super) async fn tell(
    mut news: mpsc::UnboundedReceiver<News>,
    federation: Federation,
    address: SocketAddr,
) {
    while let Some(news) = news.recv().await {
        match news {
            News::Exports(exports) => federation.publish(exports),
            News::Settings(settings) => {
                federation.configure(settings.mesh(Some(address)), settings.advertise.clone());
            }
        }
    }
}

/// Hands on what this cluster's proxies see of peers.
pub(super) async fn observe(mut observations: mpsc::Receiver<Vec<Observation>>, federation: Federation) {
    while let Some(seen) = observations.recv().await {
        for Observation { peer, reached } in seen {
            federation.observed(peer.as_str(), reached);
        }
    }
}
