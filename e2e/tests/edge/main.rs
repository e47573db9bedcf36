//! The edge as a stranger tries it: manifests in the words of the Gateway API guides, a real `isthmus run`
//! with its proxies, small backends on loopback, and real requests.
//!
//! Every test has instances, ports and a state directory of its own; they run beside each other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod backend;
mod client;
mod conditions;
mod http2;
mod instance;
mod lifecycle;
mod machine;
mod routing;
mod tls;
