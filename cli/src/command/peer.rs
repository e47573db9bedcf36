//! `isthmus peer`: joins clusters and parts them.

use std::io::{Read as _, Write as _, stdin, stdout};

use clap::{Args, Subcommand};
use isthmus_control_plane::socket::{Listed, PeerInfo};
use serde_json::json;

use super::Instance;
use crate::{
    failure::Failure,
    output::{JsonOnly, Table, print_json},
};

/// Join clusters, list peers, and part from them.
#[derive(Args)]
pub(crate) struct Peer {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a token that admits one cluster, once, within 15 minutes.
    Invite {
        #[command(flatten)]
        common: Common,
    },
    /// Join the cluster that made a token.
    Join {
        /// What `isthmus peer invite` printed on the other side; `-` reads it from standard input.
        token: String,
        #[command(flatten)]
        common: Common,
    },
    /// List the peers.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Part from a peer: drain, withdraw, and forget it.
    Leave {
        /// The peer's cluster id.
        name: String,
        /// Leave although the peer cannot be told.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Common {
    #[command(flatten)]
    instance: Instance,
    #[command(flatten)]
    output: JsonOnly,
}

impl Peer {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Invite { common } => invite(&common).await,
            Action::Join { token, common } => join(&token, &common).await,
            Action::List { common } => {
                let peers = common.instance.client().peers().await?;
                if common.output.is_json() {
                    return print_json(&Listed { items: peers });
                }
                table(&peers, true).print()
            }
            Action::Leave { name, force, common } => {
                common.instance.client().leave(&name, force).await?;
                common.say(&json!({"left": name}), &format!("left {name}"))
            }
        }
    }
}

impl Common {
    fn say(&self, json: &serde_json::Value, text: &str) -> Result<(), Failure> {
        if self.output.is_json() {
            return print_json(json);
        }
        Ok(writeln!(stdout(), "{text}")?)
    }
}

/// The token alone on standard output, so that it can be passed on by a pipe.
async fn invite(common: &Common) -> Result<(), Failure> {
    let invited = common.instance.client().invite().await?;
    common.say(&json!(invited), &invited.token)
}

async fn join(token: &str, common: &Common) -> Result<(), Failure> {
    let mut read = String::new();
    let token = match token {
        "-" => {
            stdin().lock().take(64 << 10).read_to_string(&mut read)?;
            read.trim()
        }
        token => token.trim(),
    };
    let joined = common.instance.client().join(token).await?;
    let text = format!("joined {} (trust domain {})", joined.peer, joined.trust_domain);
    common.say(&json!(joined), &text)
}

/// Peers, one a line.
pub(super) fn table(peers: &[PeerInfo], wide: bool) -> Table {
    let mut table = Table::new(&["NAME", "STATE", "TRUST-DOMAIN", "SERVICES", "STREAM", "GATEWAYS"]);
    if wide {
        table.column("MESSAGE");
    }
    for peer in peers {
        let gateways: Vec<String> = peer.gateways.iter().map(ToString::to_string).collect();
        let mut row = vec![
            peer.name.clone(),
            peer.state.clone(),
            peer.trust_domain.clone(),
            peer.services.map_or_else(|| "<none>".to_owned(), |count| count.to_string()),
            peer.stream.to_string(),
            gateways.join(","),
        ];
        if wide {
            row.push(peer.message.clone().unwrap_or_default());
        }
        table.row(row);
    }
    table
}
