//! How Isthmus talks to a Kubernetes API server: a connection that notices when its other end is gone,
//! watches that survive what API servers do, a Lease that says who may write, and answers for the kubelet.
//!
//! Decides nothing about what the objects mean. Objects come as [`DynamicObject`]s and are decoded one by
//! one by whoever asked for them, so that one which cannot be read never stops a watch (case F1).

mod backoff;
mod connection;
#[cfg(test)]
mod fake;
mod lease;
mod probes;
mod resource;
mod retry;
mod watch;

pub use kube::{
    Client,
    core::{ApiResource, DynamicObject},
};

pub use self::{
    connection::{ConnectError, connect, connect_within},
    lease::{Elector, Leadership, Tenure},
    probes::answer_probes,
    resource::{Found, Resource, Trouble, find},
    watch::{Event, State, Watched, follow},
};
