//! The running control plane: sources of objects, the loop that owns the compiler, what proxies and
//! people are told, and the processes of one machine.

pub mod files;
