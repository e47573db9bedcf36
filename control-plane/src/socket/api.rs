//! What a running instance answers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Invited, Joined, ObjectQuery, PeerInfo, ProxyInfo, Question, proxies};

/// A running instance, as the commands see it.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Objects with their status that `query` selects, in order of namespace and name, as Kubernetes
    /// writes them. A Secret's values are hidden by the server; whoever implements this need not.
    async fn objects(&self, query: &ObjectQuery) -> Result<Vec<Value>, ApiError>;

    /// The proxies of this instance, whether or not they run right now, in order of name.
    async fn proxies(&self) -> Result<Vec<ProxyInfo>, ApiError>;

    /// How a request is decided: an array of [`ProxyAnswer`]s, one for each proxy that has a listener
    /// where the request would come in.
    async fn explain(&self, question: &Question) -> Result<Value, ApiError> {
        let answers = proxies::explain(&self.proxies().await?, question).await?;
        serde_json::to_value(answers).map_err(|error| ApiError::Internal(error.to_string()))
    }

    /// The peers, in order of name.
    async fn peers(&self) -> Result<Vec<PeerInfo>, ApiError>;

    /// Makes an invitation.
    async fn invite(&self) -> Result<Invited, ApiError>;

    /// Joins the cluster that made `token`; done when both sides know each other.
    async fn join(&self, token: &str) -> Result<Joined, ApiError>;

    /// Parts from the peer `name`. Unless `force`, it is told, and it is an error when it cannot be.
    async fn leave(&self, name: &str, force: bool) -> Result<(), ApiError>;
}

/// Why an operation was not done: one line, which says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "is", content = "message", rename_all = "camelCase")]
pub enum ApiError {
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// A peer says no, or the token is used, expired or forged.
    #[error("{0}")]
    Refused(String),
    /// Isthmus or the machine failed.
    #[error("{0}")]
    Internal(String),
}
