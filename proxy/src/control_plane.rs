//! The proxy's ties to its control plane: the stream of resources, and the SVID.
//!
//! Losing either changes nothing that is in force. What was put in force is kept in the state directory,
//! certificates' keys of users excepted, so that the proxy serves at once when it starts alone.
//!
//! On this machine a token proves the proxy in every call. Over the network a token proves it only to get
//! an SVID, and the SVID proves it in whatever else it calls: so it comes back also while nobody can say
//! whose a token is.

mod evidence;
mod state;
mod svid;

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use isthmus_ir::{Change, Kind, Redacted, SpiffeId};
use isthmus_xds::{
    client::{Apply, Client, Connect, Link, Outcome, Proof, Settings, UnixSocket},
    tls::{Address, Credentials, Remote},
};

pub use state::{Kept, load, save};

use crate::Proxy;

/// How the control plane is reached.
#[derive(Clone, Debug)]
pub enum ControlPlane {
    /// On this machine.
    Local {
        /// Its Unix socket.
        socket: PathBuf,
        /// The proof of who this proxy is.
        token: Redacted<String>,
    },
    /// On the network, by TLS.
    Remote {
        /// Where it listens.
        address: Address,
        /// Who must answer there.
        id: SpiffeId,
        /// The roots that vouch for it, PEM; read anew for each connection.
        roots: PathBuf,
        /// The token by which an SVID is asked for; read anew each time.
        token_file: PathBuf,
    },
}

/// One way to call the control plane, with the proof that goes with it.
#[derive(Clone)]
struct Line<C> {
    connect: C,
    proof: Proof,
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
    match control_plane {
        ControlPlane::Local { socket, token } => {
            let line = Line { connect: UnixSocket::new(socket), proof: Proof::Token(token) };
            Box::pin(follow_on(proxy, line.clone(), line, None, kept)).await
        }
        ControlPlane::Remote { address, id, roots, token_file } => {
            let credentials = Credentials::default();
            let anonymous = Remote::new(address, id, roots);
            let known = anonymous.clone().showing(credentials.clone());
            let known = Line { connect: known, proof: Proof::Connection };
            let anonymous = Line { connect: anonymous, proof: Proof::TokenFile(token_file) };
            Box::pin(follow_on(proxy, known, anonymous, Some(credentials), kept)).await
        }
    }
}

/// Follows it by `stream`, and asks for SVIDs by `issue`. With `credentials` nothing is streamed before
/// there is an SVID to show.
async fn follow_on<C: Connect>(
    proxy: Arc<Proxy>,
    stream: Line<C>,
    issue: Line<C>,
    credentials: Option<Credentials>,
    kept: &Kept,
) -> Infallible {
    let settings = Settings {
        proof: stream.proof.clone(),
        user_agent: concat!("isthmus-proxy/", env!("CARGO_PKG_VERSION")).to_owned(),
        kinds: Kind::ALL.to_vec(),
    };
    let client = Client::new(stream.connect.clone(), settings);
    let client = client.holding(kept.versions.iter().cloned());
    proxy.report_to(client.reporter());
    let streaming = async {
        if let Some(credentials) = &credentials {
            credentials.present().await;
        }
        client.run(&mut Follower(Arc::clone(&proxy))).await
    };
    let identity = svid::renew(&proxy, &issue, credentials.as_ref());
    let evidence = evidence::tell(&proxy, &stream);
    let saving = state::save_changes(&proxy);
    let (never, _, _, _) = tokio::join!(streaming, identity, evidence, saving);
    never
}
