//! What travels over the control socket.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One operation. It has no `Debug`, since a token is a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Request {
    /// [`Api::objects`](super::Api::objects); answered with [`Listed`] objects.
    Objects {
        /// The kind as it was typed: kind, plural, singular or short name.
        kind: String,
        /// In this namespace only; none means in all.
        namespace: Option<String>,
        /// Of this name only.
        name: Option<String>,
    },
    /// [`Api::proxies`](super::Api::proxies); answered with [`Listed`] [`ProxyInfo`].
    Proxies,
    /// [`Api::explain`](super::Api::explain).
    Explain(Question),
    /// [`Api::peers`](super::Api::peers); answered with [`Listed`] [`PeerInfo`].
    Peers,
    /// [`Api::invite`](super::Api::invite); answered with [`Invited`].
    Invite,
    /// [`Api::join`](super::Api::join); answered with [`Joined`].
    Join {
        /// The token's text.
        token: String,
    },
    /// [`Api::leave`](super::Api::leave).
    Leave {
        /// The peer's cluster id.
        name: String,
        /// Whether to leave though it cannot be told.
        force: bool,
    },
}

/// Several answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed<T> {
    /// In order.
    pub items: Vec<T>,
}

/// Which objects are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectQuery {
    /// The group; empty for the core group.
    pub group: String,
    /// The kind as Kubernetes writes it.
    pub kind: String,
    /// In this namespace only; none means in all. Always none for kinds without namespaces.
    pub namespace: Option<String>,
    /// Of this name only.
    pub name: Option<String>,
}

impl ObjectQuery {
    /// Whether an object of the kind is asked for.
    pub fn selects(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }
}

/// A proxy of the instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyInfo {
    /// Its id.
    pub name: String,
    /// `ingress` or `east-west`.
    pub role: String,
    /// Whose resources it is told: `gateway/<namespace>/<name>` or `east-west`.
    pub scope: String,
    /// Its process id; none while it is not running.
    pub pid: Option<u32>,
    /// The Unix socket of its admin interface.
    pub admin: PathBuf,
    /// Whether it runs and has acked a snapshot.
    pub ready: bool,
    /// The newest revision that it acked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// How often it was started again after it died.
    #[serde(default)]
    pub restarts: u32,
}

/// A question to `explain`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The method.
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// Header fields, in order.
    pub headers: Vec<(String, String)>,
}

/// What one proxy says about a question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProxyAnswer {
    /// The proxy's name.
    pub proxy: String,
    /// What becomes of the request at each of its sockets that the URL could mean; never empty.
    pub answers: Vec<Value>,
}

/// A peer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// Its cluster id.
    pub name: String,
    /// `Connected`, `ControlLost`, `DataLost` or `Lost`, or `Leaving`.
    pub state: String,
    /// Its trust domain.
    pub trust_domain: String,
    /// Its east-west gateways.
    pub gateways: Vec<SocketAddr>,
    /// How many services it exports to this cluster; none before its first snapshot.
    pub services: Option<usize>,
    /// Whether a stream to its control plane is open.
    pub stream: bool,
    /// What is wrong, when something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// An invitation that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invited {
    /// For `isthmus peer join` on the other side. It is a secret for as long as it lives.
    pub token: String,
    /// How many seconds it lives.
    pub seconds: u64,
}

/// A peer that was joined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// The peer's cluster id.
    pub peer: String,
    /// Its trust domain.
    pub trust_domain: String,
}
