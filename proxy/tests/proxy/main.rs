//! Real proxies on loopback: whatever can be seen from outside. A test that pins a case of the project's list
//! of failures carries the case's id in its name.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]
#![allow(missing_docs, unreachable_pub, reason = "this is no library")]

mod admin;
mod authority;
mod config;
mod failure;
mod http1;
mod http2;
mod limits;
mod mesh;
mod mirror;
mod program;
mod remote;
mod smuggling;
mod support;
mod tls;
mod tunnel;
