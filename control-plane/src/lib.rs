//! The running control plane: sources of objects, the loop that owns the compiler, what proxies and
//! people are told, and the processes of one machine.

#![cfg_attr(test, allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them so"))]

pub mod ca;
pub mod causes;
pub mod core;
pub mod dns;
pub mod federation;
pub mod files;
pub mod instance;
pub mod kubernetes;
pub mod settings;
pub mod socket;
pub mod state_dir;
pub mod store;
pub mod supervisor;
pub mod tokens;
