//! The asking side of the control socket, for commands.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    ApiError, Invited, Joined, Listed, PeerInfo, ProxyAnswer, ProxyInfo, Question, Request, SOCKET,
    http::{ExchangeError, exchange},
    server::Failure,
};

/// How long to wait for an answer that needs no other cluster.
const LOCAL: Duration = Duration::from_secs(15);
/// How long to wait when a peer has a part in it.
const REMOTE: Duration = Duration::from_mins(1);

/// Why a call was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no instance.
    #[error(
        "no instance runs on the state directory {}: start one with `isthmus run`, or name its directory \
         with --state-dir or ISTHMUS_STATE_DIR", state_dir.display()
    )]
    NoInstance {
        /// The state directory.
        state_dir: PathBuf,
    },
    /// The socket is there, and this user may not use it.
    #[error("the instance on the state directory {} belongs to another user", state_dir.display())]
    NotAllowed {
        /// The state directory.
        state_dir: PathBuf,
    },
    /// The instance answers, and says no.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The instance does not answer as it should.
    #[error("the instance on the state directory {} does not answer: {reason}", state_dir.display())]
    Broken {
        /// The state directory.
        state_dir: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// A client of the instance on one state directory.
#[derive(Clone, Debug)]
pub struct Client {
    state_dir: PathBuf,
}

impl Client {
    /// A client of the instance on `state_dir`. Nothing is connected yet.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// Objects with their status; `kind` as it was typed.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn objects(
        &self,
        kind: &str,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Vec<Value>, CallError> {
        let request = Request::Objects {
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        };
        Ok(self.call::<Listed<Value>>(&request, LOCAL).await?.items)
    }

    /// The proxies.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn proxies(&self) -> Result<Vec<ProxyInfo>, CallError> {
        Ok(self.call::<Listed<ProxyInfo>>(&Request::Proxies, LOCAL).await?.items)
    }

    /// How the running proxies would decide.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn explain(&self, question: Question) -> Result<Vec<ProxyAnswer>, CallError> {
        self.call(&Request::Explain(question), LOCAL).await
    }

    /// The peers.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, CallError> {
        Ok(self.call::<Listed<PeerInfo>>(&Request::Peers, LOCAL).await?.items)
    }

    /// Makes an invitation.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn invite(&self) -> Result<Invited, CallError> {
        self.call(&Request::Invite, LOCAL).await
    }

    /// Joins the cluster that made `token`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn join(&self, token: &str) -> Result<Joined, CallError> {
        self.call(&Request::Join { token: token.to_owned() }, REMOTE).await
    }

    /// Parts from a peer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn leave(&self, name: &str, force: bool) -> Result<(), CallError> {
        let _: Value = self.call(&Request::Leave { name: name.to_owned(), force }, REMOTE).await?;
        Ok(())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: &Request,
        patience: Duration,
    ) -> Result<T, CallError> {
        let request = post(request).map_err(|reason| self.broken(&reason))?;
        let (status, body) = exchange(&self.state_dir.join(SOCKET), request, patience)
            .await
            .map_err(|error| self.unanswered(&error))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.broken(&error));
        }
        let failure: Failure = serde_json::from_slice(&body).map_err(|error| self.broken(&error))?;
        Err(failure.error.into())
    }

    fn unanswered(&self, error: &ExchangeError) -> CallError {
        let state_dir = self.state_dir.clone();
        match error {
            ExchangeError::Connect(cause) => match cause.kind() {
                io::ErrorKind::PermissionDenied => CallError::NotAllowed { state_dir },
                // Refused: the socket of an instance that crashed. Too long a path: none was ever made.
                io::ErrorKind::NotFound
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::InvalidInput => CallError::NoInstance { state_dir },
                _ => self.broken(cause),
            },
            ExchangeError::Broken(cause) => self.broken(cause),
            ExchangeError::Slow(_) => self.broken(error),
        }
    }

    fn broken(&self, reason: &dyn std::fmt::Display) -> CallError {
        CallError::Broken { state_dir: self.state_dir.clone(), reason: reason.to_string() }
    }
}

fn post(request: &impl Serialize) -> Result<hyper::Request<Full<Bytes>>, Box<dyn std::error::Error>> {
    let body = serde_json::to_vec(request)?;
    Ok(hyper::Request::post("/v1")
        .header(header::HOST, "isthmus")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))?)
}
