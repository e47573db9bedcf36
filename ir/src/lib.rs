//! The narrow waist of Isthmus: what a proxy must do, as plain data, and the matcher that decides by it.
//!
//! Control planes derive [`Resource`]s from Gateway API and Multi-Cluster Services objects; proxies
//! compile them into tables and serve by those. Nothing here knows of Kubernetes, of a wire format, of
//! time or of I/O. Routing, authorization and `explain` all go through this crate, so that they cannot
//! see two different requests.

mod certificate;
pub mod cors;
mod endpoints;
mod handle;
mod host;
mod identity;
mod listener;
pub mod matcher;
mod name;
pub mod normalize;
mod peer;
mod resource;
mod route;
mod service;
mod trust;

pub use certificate::{Certificate, KeyFormat, PrivateKey, Redacted};
pub use endpoints::{Endpoint, EndpointState, Endpoints, Reach};
pub use handle::{Handle, HandleTarget};
pub use host::{HostPattern, InvalidHost};
pub use identity::{InvalidIdentity, SpiffeId, TrustDomain};
pub use listener::{Listener, Protocol};
pub use name::{Name, ObjectRef};
pub use peer::Peer;
pub use resource::{Change, Key, Kind, Resource};
pub use route::{
    Attachment, Backend, BackendTarget, Cors, Filter, Fraction, HeaderEdits, HeaderMatch, PathMatch,
    PathRewrite, QueryMatch, Redirect, RetryPolicy, Rewrite, Route, RouteId, RouteKind, RouteMatch,
    Timeouts, ValueMatch,
};
pub use service::{BackendProtocol, Balancing, HealthPolicy, Service};
pub use trust::TrustBundle;
