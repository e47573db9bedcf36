//! Tests that need more than one module.

mod harness;
mod streams;
