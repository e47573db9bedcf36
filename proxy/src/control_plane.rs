//! The proxy's ties to its control plane: the stream of resources, and the SVID.
//!
//! Losing either changes nothing that is in force. What was put in force is kept in the state directory,
//! certificates' keys of users excepted, so that the proxy serves at once when it starts alone.

mod evidence;
mod state;
mod svid;

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use isthmus_ir::{Change, Kind, Redacted};
use isthmus_xds::client::{Apply, Client, Link, Outcome, Settings, UnixSocket};

pub use state::{Kept, load};

use crate::Proxy;

/// How the control plane is reached.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The proof of who this proxy is.
    pub token: Redacted<String>,
}

/// Puts what comes in force.
struct Follower(Arc<Proxy>);

impl Apply for Follower {
    async fn apply(&mut self, staged: Vec<Change>, revision: u64) -> Outcome {
        let applied = self.0.apply(staged, revision);
        for (key, reason) in &applied.refused {
            tracing::warn!(kind = key.kind.as_str(), resource = %key.name, %reason, "resource refused");
        }
        Outcome { refused: applied.refused, unbound: applied.unbound }
    }

    fn link(&mut self, link: Link) {
        self.0.set_linked(link == Link::Up);
    }
}

/// Follows the control plane for ever. `kept` is what was loaded and is in force already.
pub async fn follow(proxy: Arc<Proxy>, control_plane: ControlPlane, kept: &Kept) -> Infallible {
    let connect = UnixSocket::new(&control_plane.socket);
    let settings = Settings {
        token: control_plane.token.clone(),
        user_agent: concat!("isthmus-proxy/", env!("CARGO_PKG_VERSION")).to_owned(),
        kinds: Kind::ALL.to_vec(),
    };
    let client = Client::new(connect.clone(), settings).holding(kept.versions.iter().cloned());
    proxy.report_to(client.reporter());
    let identity = svid::renew(&proxy, &connect, &control_plane.token);
    let evidence = evidence::tell(&proxy, &connect, &control_plane.token);
    let saving = state::save(&proxy);
    let mut follower = Follower(Arc::clone(&proxy));
    let (never, _, _, _) = tokio::join!(client.run(&mut follower), identity, evidence, saving);
    never
}
