//! What a running instance answers on its control socket.
//!
//! Reading takes a look at what the core last wrote down; nothing here waits for the core.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::future::join_all;
use isthmus_east_west::invite::LIFE;
use serde_json::Value;
use tokio::sync::watch;

use super::InstanceError;
use crate::{
    causes::with_causes,
    federation::{Federation, FederationError, PeerStatus},
    socket::{self, Api, ApiError, Invited, Joined, ObjectQuery, PeerInfo, ProxyInfo},
    store::{Selection, Store},
    supervisor::{Process, Processes},
};

/// What is asked about.
#[derive(Clone)]
pub(super) struct Door {
    /// Objects with their status.
    pub(super) store: Arc<RwLock<Store>>,
    /// Proxies.
    pub(super) processes: Processes,
    /// Peers.
    pub(super) federation: Federation,
    /// Why the east-west gateway cannot listen, while it cannot.
    pub(super) closed: watch::Receiver<Option<String>>,
}

#[async_trait]
impl Api for Door {
    async fn objects(&self, query: &ObjectQuery) -> Result<Vec<Value>, ApiError> {
        let selection = Selection {
            group: query.group.clone(),
            kind: query.kind.clone(),
            namespace: query.namespace.clone(),
            name: query.name.clone(),
        };
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let mut objects = store.select(&selection);
        if selection.group == isthmus_gateway::GROUP {
            for object in &mut objects {
                unclaimed(&selection.kind, object);
            }
        }
        Ok(objects)
    }

    async fn proxies(&self) -> Result<Vec<ProxyInfo>, ApiError> {
        let mut proxies = join_all(self.processes.list().into_iter().map(proxy)).await;
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        for proxy in &mut proxies {
            proxy.revision = store.acked(&proxy.name);
        }
        Ok(proxies)
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>, ApiError> {
        let peers = self.federation.list().await.map_err(|error| refusal(&error))?;
        Ok(peers.into_iter().map(peer).collect())
    }

    async fn invite(&self) -> Result<Invited, ApiError> {
        if let Some(why) = &*self.closed.borrow() {
            return Err(ApiError::Invalid(InstanceError::EastWest(why.clone()).to_string()));
        }
        let token = self.federation.invite().await.map_err(|error| refusal(&error))?;
        Ok(Invited { token: token.expose().clone(), seconds: LIFE })
    }

    async fn join(&self, token: &str) -> Result<Joined, ApiError> {
        let joined = self.federation.join(token).await.map_err(|error| refusal(&error))?;
        Ok(Joined { peer: joined.cluster, trust_domain: joined.trust_domain })
    }

    async fn leave(&self, name: &str, force: bool) -> Result<(), ApiError> {
        self.federation.leave(name, force).await.map_err(|error| refusal(&error))
    }
}

/// Adds the status that an object has before any controller looked at it.
fn unclaimed(kind: &str, object: &mut Value) {
    if let (Some(fields), Some(status)) =
        (object.as_object_mut(), isthmus_gateway::status::unclaimed(kind))
    {
        fields.entry("status").or_insert(status);
    }
}

fn peer(peer: PeerStatus) -> PeerInfo {
    PeerInfo {
        name: peer.cluster,
        state: peer.state,
        trust_domain: peer.trust_domain,
        gateways: peer.gateways,
        services: peer.services,
        stream: peer.stream,
        message: peer.trouble,
    }
}

fn refusal(error: &FederationError) -> ApiError {
    let text = with_causes(error);
    match (error, error.exit_code()) {
        (FederationError::UnknownPeer(_), _) => ApiError::NotFound(text),
        (_, 1) => ApiError::Invalid(text),
        (_, 4) => ApiError::Refused(text),
        _ => ApiError::Internal(text),
    }
}

async fn proxy(process: Process) -> ProxyInfo {
    let ready = process.pid.is_some() && socket::is_ready(&process.admin).await;
    ProxyInfo {
        name: process.name.to_string(),
        role: process.role.to_owned(),
        scope: process.scope.to_string(),
        pid: process.pid,
        admin: process.admin,
        ready,
        revision: None,
        restarts: process.restarts,
    }
}
