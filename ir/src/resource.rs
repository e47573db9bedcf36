//! Everything that a proxy is told, named and kept apart by kind.

use std::sync::Arc;

use crate::{
    BackendTarget, Certificate, Endpoints, Filter, Handle, HandleTarget, Listener, Name, Peer, Protocol,
    Reach, Route, Service, TrustBundle,
};

/// The kind of a resource. The order is the order of reference: a kind refers to later ones only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// [`Listener`].
    Listener,
    /// [`Route`].
    Route,
    /// [`Handle`].
    Handle,
    /// [`Certificate`].
    Certificate,
    /// [`Service`].
    Service,
    /// [`Endpoints`].
    Endpoints,
    /// [`Peer`].
    Peer,
    /// [`TrustBundle`].
    TrustBundle,
}

impl Kind {
    /// Every kind, in order.
    pub const ALL: [Self; 8] = [
        Self::Listener,
        Self::Route,
        Self::Handle,
        Self::Certificate,
        Self::Service,
        Self::Endpoints,
        Self::Peer,
        Self::TrustBundle,
    ];

    /// The kind's name, as dumps and logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "Listener",
            Self::Route => "Route",
            Self::Handle => "Handle",
            Self::Certificate => "Certificate",
            Self::Service => "Service",
            Self::Endpoints => "Endpoints",
            Self::Peer => "Peer",
            Self::TrustBundle => "TrustBundle",
        }
    }
}

/// What identifies a resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique in the kind.
    pub name: Name,
}

impl Key {
    /// The resource `name` of `kind`.
    pub fn new(kind: Kind, name: impl Into<Name>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// One named item of what a proxy is told. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Where to accept.
    Listener(Arc<Listener>),
    /// What to do with requests.
    Route(Arc<Route>),
    /// Whom to let in from peers.
    Handle(Arc<Handle>),
    /// What to show clients.
    Certificate(Arc<Certificate>),
    /// How to talk to a service.
    Service(Arc<Service>),
    /// Where a service runs.
    Endpoints(Arc<Endpoints>),
    /// The way to another cluster.
    Peer(Arc<Peer>),
    /// Whom to believe.
    TrustBundle(Arc<TrustBundle>),
}

/// One edit of a set of resources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new, or replaces the one of its key.
    Upsert(Resource),
    /// It is gone.
    Remove(Key),
}

impl Change {
    /// What is edited.
    pub fn key(&self) -> Key {
        match self {
            Self::Upsert(resource) => resource.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}

impl Resource {
    /// What identifies it.
    pub fn key(&self) -> Key {
        match self {
            Self::Listener(r) => Key::new(Kind::Listener, r.name.clone()),
            Self::Route(r) => Key::new(Kind::Route, r.name.clone()),
            Self::Handle(r) => Key::new(Kind::Handle, r.name.clone()),
            Self::Certificate(r) => Key::new(Kind::Certificate, r.name.clone()),
            Self::Service(r) => Key::new(Kind::Service, r.name.clone()),
            Self::Endpoints(r) => Key::new(Kind::Endpoints, r.service.clone()),
            Self::Peer(r) => Key::new(Kind::Peer, r.name.clone()),
            Self::TrustBundle(r) => Key::new(Kind::TrustBundle, r.trust_domain.as_str()),
        }
    }

    /// Whether both are the same allocation, or equal.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Listener(a), Self::Listener(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Route(a), Self::Route(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Handle(a), Self::Handle(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Certificate(a), Self::Certificate(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Service(a), Self::Service(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Endpoints(a), Self::Endpoints(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::Peer(a), Self::Peer(b)) => Arc::ptr_eq(a, b) || a == b,
            (Self::TrustBundle(a), Self::TrustBundle(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }

    /// Calls `visit` with each resource that this one cannot do without. A proxy that is sent a
    /// resource is sent these too. Routes point at listeners (`attachments`), not the reverse, and are
    /// not followed upwards.
    pub fn references(&self, mut visit: impl FnMut(Key)) {
        match self {
            Self::Listener(listener) => {
                if let Protocol::Https { certificates } = &listener.protocol {
                    for name in certificates {
                        visit(Key::new(Kind::Certificate, name.clone()));
                    }
                }
            }
            Self::Route(route) => {
                let mirrors = |filters: &[Filter], visit: &mut dyn FnMut(Key)| {
                    for filter in filters {
                        if let Filter::Mirror { target: BackendTarget::Service(name), .. } = filter {
                            visit(Key::new(Kind::Service, name.clone()));
                        }
                    }
                };
                mirrors(&route.filters, &mut visit);
                for backend in &route.backends {
                    if let BackendTarget::Service(name) = &backend.target {
                        visit(Key::new(Kind::Service, name.clone()));
                    }
                    mirrors(&backend.filters, &mut visit);
                }
            }
            Self::Handle(handle) => match &handle.target {
                HandleTarget::Endpoint { service, .. } | HandleTarget::Service { service } => {
                    visit(Key::new(Kind::Service, service.clone()));
                }
                HandleTarget::Passthrough { .. } => {}
            },
            Self::Service(service) => visit(Key::new(Kind::Endpoints, service.name.clone())),
            Self::Endpoints(endpoints) => {
                for endpoint in &endpoints.endpoints {
                    if let Reach::Peer { peer, .. } = &endpoint.reach {
                        visit(Key::new(Kind::Peer, peer.clone()));
                    }
                }
            }
            Self::Peer(peer) => visit(Key::new(Kind::TrustBundle, peer.trust_domain.as_str())),
            Self::Certificate(_) | Self::TrustBundle(_) => {}
        }
    }
}
