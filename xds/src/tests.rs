//! Tests that need more than one module.

mod delta;
mod federation;
mod harness;
mod streams;
mod wire;
