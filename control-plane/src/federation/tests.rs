//! Control planes that federate over connections in memory with real TLS, on a paused clock.

mod harness;
mod joining;
mod living;
