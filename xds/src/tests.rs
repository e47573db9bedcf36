//! Tests that need more than one module.

mod accept;
mod delta;
mod federation;
mod harness;
mod streams;
mod tls;
mod wire;
