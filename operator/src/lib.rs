//! The life of an install: from a `MeshInstall` and what is there to a [`plan`], and from a plan to an API
//! server.
//!
//! [`plan::plan`] decides everything and does nothing: it takes the objects that were seen, the time and
//! what failed before as values, and returns steps. [`apply`] takes the steps and decides nothing. So
//! what `--dry-run` prints is what would be done, and a test needs no API server.
//!
//! 1. [`revision`]: which images and settings pods run with, given what was healthy and what failed.
//! 2. [`component`]: the objects that are wanted, as typed literals, one file a component.
//! 3. `beside`: revisions side by side, each with Gateways of its own.
//! 4. [`difference`]: whether what is there says the same.
//! 5. [`plan`], [`uninstall`]: the steps. [`status`]: what people are told.
//!
//! Nothing here decides what a Gateway or a route means: that is `isthmus_gateway`'s, whose resolver of
//! references also says which Secrets a control plane may read.

#![cfg_attr(test, allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them so"))]

pub mod apply;
mod beside;
pub mod chart;
pub mod check;
pub mod component;
pub mod difference;
pub mod mesh;
pub mod object;
pub mod observe;
pub mod observed;
pub mod parameters;
pub mod place;
pub mod plan;
mod quantity;
pub mod revision;
pub mod rollout;
pub mod run;
pub mod status;
pub mod uninstall;

/// Who the API server notes as the author of what the operator writes.
pub const FIELD_MANAGER: &str = "isthmus-operator";
