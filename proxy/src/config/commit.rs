//! The last good resources, and the snapshot that is made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_identity::Bundles;
use isthmus_ir::{Certificate, Change, Key, Kind, Listener, Name, Protocol, Resource, TrustBundle};

use super::{build, services::Services};
use crate::{
    balance::Peer,
    metrics::Metrics,
    plan::Plan,
    snapshot::Snapshot,
    tls::{ListenerTls, MeshTls, Svid},
};

/// Builds one snapshot after the other.
#[derive(Default)]
pub(crate) struct Committer {
    resources: BTreeMap<Key, Resource>,
    services: Services,
    svid: Option<Svid>,
}

/// What a commit led to.
pub(crate) struct Committed {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Resources whose edits are not in force, with the reasons.
    pub(crate) refused: Vec<(Key, String)>,
}

impl Committer {
    /// The snapshot after `changes` on `current`.
    pub(crate) fn commit(
        &mut self,
        current: &Snapshot,
        mut changes: Vec<Change>,
        revision: u64,
        metrics: &Metrics,
    ) -> Committed {
        let mut refused = Vec::new();
        changes.retain(|change| match build::check(change) {
            Ok(()) => true,
            Err(why) => {
                refused.push((change.key(), why));
                false
            }
        });
        let updated = current.tables.update(&changes, |route| Plan::compile(route, metrics));
        for rule in updated.refused {
            let key = Key::new(Kind::Route, rule.name);
            changes.retain(|change| change.key() != key);
            refused.push((key, rule.reason.to_string()));
        }
        let touched = self.store(changes);
        let mut snapshot = Snapshot {
            revision,
            tables: updated.tables,
            services: self.services.update(&current.services, &self.resources, &touched, metrics),
            listeners: current.listeners.clone(),
            handles: current.handles.clone(),
            mesh: Arc::clone(&current.mesh),
        };
        self.update_listeners(&mut snapshot, &touched, &mut refused);
        self.update_handles(&mut snapshot, &touched, metrics);
        if touched.iter().any(|key| key.kind == Kind::TrustBundle) {
            self.renew_mesh(&mut snapshot);
        }
        Committed { snapshot: Arc::new(snapshot), refused }
    }

    /// The snapshot with another SVID.
    pub(crate) fn identify(&mut self, current: &Snapshot, svid: Svid) -> Arc<Snapshot> {
        self.svid = Some(svid);
        let mut snapshot = Snapshot {
            revision: current.revision,
            tables: current.tables.clone(),
            services: current.services.clone(),
            listeners: current.listeners.clone(),
            handles: current.handles.clone(),
            mesh: Arc::clone(&current.mesh),
        };
        self.renew_mesh(&mut snapshot);
        Arc::new(snapshot)
    }

    /// All resources that are in force.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.resources.values()
    }

    /// Every peer that is known.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Arc<Peer>> {
        self.services.peers()
    }

    /// Listeners of a socket, by name.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.resources.values().filter_map(|resource| match resource {
            Resource::Listener(listener) => Some(listener),
            _ => None,
        })
    }

    /// Whether a listener that ends TLS has no certificate to do it with.
    pub(crate) fn lacks_keys(&self) -> bool {
        self.listeners().any(|listener| match &listener.protocol {
            Protocol::Https { certificates } => {
                !certificates.is_empty()
                    && certificates.iter().all(|name| self.certificate(name).is_none())
            }
            _ => false,
        })
    }

    /// Takes the edits in; the keys that changed.
    fn store(&mut self, changes: Vec<Change>) -> BTreeSet<Key> {
        let mut touched = BTreeSet::new();
        for change in changes {
            let key = change.key();
            match change {
                Change::Upsert(resource) => {
                    if self.resources.get(&key).is_some_and(|old| old.same(&resource)) {
                        continue;
                    }
                    self.resources.insert(key.clone(), resource);
                }
                Change::Remove(_) => {
                    self.resources.remove(&key);
                }
            }
            touched.insert(key);
        }
        touched
    }

    fn certificate(&self, name: &Name) -> Option<Arc<Certificate>> {
        match self.resources.get(&Key::new(Kind::Certificate, name.clone())) {
            Some(Resource::Certificate(certificate)) => Some(Arc::clone(certificate)),
            _ => None,
        }
    }

    /// Makes the TLS of listeners anew that changed, or whose certificates did.
    fn update_listeners(
        &self,
        snapshot: &mut Snapshot,
        touched: &BTreeSet<Key>,
        refused: &mut Vec<(Key, String)>,
    ) {
        let is_touched = |kind, name: &Name| touched.contains(&Key::new(kind, name.clone()));
        if !touched.iter().any(|key| matches!(key.kind, Kind::Listener | Kind::Certificate)) {
            return;
        }
        let mut kept = BTreeSet::new();
        for listener in self.listeners() {
            let Protocol::Https { certificates } = &listener.protocol else { continue };
            kept.insert(listener.name.clone());
            let changed = is_touched(Kind::Listener, &listener.name)
                || certificates.iter().any(|name| is_touched(Kind::Certificate, name));
            if !changed && snapshot.listeners.contains_key(&listener.name) {
                continue;
            }
            let found: Vec<_> = certificates.iter().filter_map(|name| self.certificate(name)).collect();
            if found.is_empty() {
                // Without a certificate every handshake is refused; the control plane says why there is none.
                snapshot.listeners.remove(&listener.name);
                continue;
            }
            match ListenerTls::new(&found) {
                Ok(tls) => drop(snapshot.listeners.insert(listener.name.clone(), Arc::new(tls))),
                Err(error) => {
                    refused.push((Key::new(Kind::Listener, listener.name.clone()), error.to_string()));
                }
            }
        }
        snapshot.listeners.retain(|name, _| kept.contains(name));
    }

    fn update_handles(&self, snapshot: &mut Snapshot, touched: &BTreeSet<Key>, metrics: &Metrics) {
        for key in touched.iter().filter(|key| key.kind == Kind::Handle) {
            match self.resources.get(key) {
                Some(Resource::Handle(handle)) => {
                    let state = Arc::new(build::handle(handle, metrics));
                    snapshot.handles.insert(key.name.clone(), state);
                }
                _ => drop(snapshot.handles.remove(&key.name)),
            }
        }
    }

    /// Makes the mesh TLS anew. Without an SVID there is none.
    fn renew_mesh(&self, snapshot: &mut Snapshot) {
        let Some(svid) = &self.svid else { return };
        let bundles = self.resources.values().filter_map(|resource| match resource {
            Resource::TrustBundle(bundle) => Some(&**bundle),
            _ => None,
        });
        match mesh(svid, bundles) {
            Ok(mesh) => snapshot.mesh = Arc::new(mesh),
            Err(error) => tracing::error!(%error, "mesh TLS stays as it was"),
        }
    }
}

fn mesh<'b>(svid: &Svid, bundles: impl Iterator<Item = &'b TrustBundle>) -> Result<MeshTls, String> {
    let bundles = Bundles::new(bundles).map_err(|error| format!("{error}: {}", error.source))?;
    MeshTls::new(svid, &Arc::new(bundles)).map_err(|error| error.to_string())
}
