//! Peers and invitations in the state directory. One writing at a time, in the order in which it was asked
//! for, and never on a thread that serves.

use std::{fs, io, sync::Arc};

use isthmus_east_west::{
    invite::{Invitation, SavedInvitation},
    peer::Saved,
};
use tokio::task::JoinHandle;

use super::stored::StoredPeer;
use crate::state_dir::StateDir;

/// The directory of peers, one file each, so that one that cannot be understood costs no other.
const PEERS: &str = "peers";
const INVITATIONS: &str = "invites.json";

/// What is kept of federation.
pub(super) struct Store {
    state: Arc<StateDir>,
    writing: Option<JoinHandle<io::Result<()>>>,
}

/// One thing to write.
enum Write {
    Peer(Saved),
    NoPeer(Arc<str>),
    Invitations(Vec<SavedInvitation>),
}

impl Store {
    pub(super) fn new(state: Arc<StateDir>) -> Self {
        Self { state, writing: None }
    }

    /// What was kept. What cannot be understood is set aside, with a warning.
    pub(super) fn load(&self) -> io::Result<(Vec<Saved>, Vec<Invitation>)> {
        let directory = self.state.directory(PEERS)?;
        let mut peers = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let Some(cluster) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            let name = file(cluster);
            let stored: Option<StoredPeer> = self.state.load(&name)?;
            match stored.map(StoredPeer::restore) {
                Some(Some(saved)) if cluster == &*saved.fact.cluster => peers.push(saved),
                Some(_) => tracing::warn!(file = name, "state file makes no sense and is left out"),
                None => {}
            }
        }
        peers.sort_by(|a, b| a.fact.cluster.cmp(&b.fact.cluster));
        let invitations: Option<Vec<SavedInvitation>> = self.state.load(INVITATIONS)?;
        let invitations = invitations.unwrap_or_default();
        Ok((peers, invitations.into_iter().map(Invitation::restored).collect()))
    }

    /// Writes a peer in the background; false when another writing is under way, and it is to be tried
    /// again.
    pub(super) async fn try_peer(&mut self, peer: Saved) -> bool {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return false;
        }
        self.finish().await;
        self.begin(Write::Peer(peer));
        true
    }

    pub(super) async fn peer(&mut self, peer: Saved) -> io::Result<()> {
        self.now(Write::Peer(peer)).await
    }

    pub(super) async fn no_peer(&mut self, cluster: Arc<str>) -> io::Result<()> {
        self.now(Write::NoPeer(cluster)).await
    }

    pub(super) async fn invitations<'a>(
        &mut self,
        all: impl Iterator<Item = &'a Invitation>,
    ) -> io::Result<()> {
        self.now(Write::Invitations(all.map(Invitation::save).collect())).await
    }

    async fn now(&mut self, write: Write) -> io::Result<()> {
        self.finish().await;
        self.begin(write);
        match self.writing.take() {
            Some(writing) => writing.await?,
            None => Ok(()),
        }
    }

    /// Waits for what is being written.
    pub(super) async fn finish(&mut self) {
        if let Some(writing) = self.writing.take()
            && let Ok(Err(error)) = writing.await
        {
            tracing::warn!(%error, "cannot write a peer to the state directory");
        }
    }

    fn begin(&mut self, write: Write) {
        let state = Arc::clone(&self.state);
        self.writing = Some(tokio::task::spawn_blocking(move || write.carry_out(&state)));
    }
}

impl Write {
    fn carry_out(self, state: &StateDir) -> io::Result<()> {
        match self {
            Self::Peer(saved) => state.store(&file(&saved.fact.cluster), &StoredPeer::of(&saved)),
            Self::NoPeer(cluster) => match fs::remove_file(state.path(&file(&cluster))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Self::Invitations(all) => state.store(INVITATIONS, &all),
        }
    }
}

/// Cluster ids are DNS labels: whoever joins is checked.
fn file(cluster: &str) -> String {
    format!("{PEERS}/{cluster}.json")
}
