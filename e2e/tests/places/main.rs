//! Two places, one meaning: the requests of `edge` again, word by word, with the manifests on a real API
//! server, under a control plane and with proxies that are known by their service accounts' tokens.
//!
//! There are no nodes: proxies are processes of this machine, whose tokens are bound to Pods that nothing
//! runs. An API server refuses loopback endpoints, so backends listen on another address of this machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]
#![allow(dead_code, unused_imports, reason = "what a directory needs besides is in the same files")]

#[path = "../edge/backend.rs"]
mod backend;
#[path = "../edge/client.rs"]
mod client;
#[path = "../edge/conditions.rs"]
mod conditions;
#[path = "../edge/instance.rs"]
mod directory;
#[path = "../edge/http2.rs"]
mod http2;
mod instance;
mod mesh;
mod objects;
#[path = "../edge/routing.rs"]
mod routing;
#[path = "../edge/tls.rs"]
mod tls;
