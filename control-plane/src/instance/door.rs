//! What a running instance answers on its control socket.
//!
//! Reading takes a look at what the core last wrote down; nothing here waits for the core.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::Value;

use crate::{
    socket::{self, Api, ApiError, Invited, Joined, ObjectQuery, PeerInfo, ProxyInfo},
    store::{Selection, Store},
    supervisor::{Process, Processes},
};

/// What is asked about.
#[derive(Clone, Debug)]
pub(super) struct Door {
    /// Objects with their status.
    pub(super) store: Arc<RwLock<Store>>,
    /// Proxies.
    pub(super) processes: Processes,
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
        Ok(store.select(&selection))
    }

    async fn proxies(&self) -> Result<Vec<ProxyInfo>, ApiError> {
        Ok(join_all(self.processes.list().into_iter().map(proxy)).await)
    }

    async fn peers(&self) -> Result<Vec<PeerInfo>, ApiError> {
        Err(no_federation())
    }

    async fn invite(&self) -> Result<Invited, ApiError> {
        Err(no_federation())
    }

    async fn join(&self, _token: &str) -> Result<Joined, ApiError> {
        Err(no_federation())
    }

    async fn leave(&self, _name: &str, _force: bool) -> Result<(), ApiError> {
        Err(no_federation())
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

fn no_federation() -> ApiError {
    ApiError::Internal("this version cannot join clusters yet".to_owned())
}
