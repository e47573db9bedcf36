//! Tests that need more than one module.

mod federation;
mod harness;
mod streams;
