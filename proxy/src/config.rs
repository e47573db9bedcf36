//! From resources to what requests are served by.
//!
//! A commit is everything or nothing for those who look: the next snapshot is built beside the one in
//! force and swapped in at once. A resource that cannot be carried out is refused alone; its last good
//! version stays, and everything else goes on.

mod build;
mod commit;
mod services;

pub(crate) use commit::Committer;
