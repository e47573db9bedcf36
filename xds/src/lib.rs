//! Between control plane and proxies, and between control planes of clusters: IR <-> protobuf, the delta
//! protocol as sans-IO state machines, and thin tonic endpoints around them.
//!
//! [`wire`] turns resources into bytes and back, and refuses what it does not understand. [`delta`] decides
//! what is sent, staged, put in force and acked; it does no I/O and knows no schema. [`server`] and
//! [`client`] move its messages between a control plane and its proxies, [`federation`] between clusters,
//! [`ca`] brings proxies their certificates, and [`evidence`] their view of peers back. Where the network
//! is not this machine's own, [`tls`] is below all of these, and [`accept`] meets strangers. Nothing here knows of Kubernetes or of facts.

mod channel;
mod proof;
mod proto;

pub mod accept;
pub mod ca;
pub mod client;
pub mod delta;
pub mod evidence;
pub mod federation;
pub mod server;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod tests;
