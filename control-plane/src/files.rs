//! A directory of manifests as a source of objects, in the place of an API server.
//!
//! `yaml` reads text the way kubectl does and remembers places; [`document`] tells which object a
//! document is; [`check`] applies defaults and rules; [`set`] decides, from what a scan of the
//! directories found, which objects there are. All of that is pure. Nothing here says what an object
//! means: that is for `world` and what builds on it.

pub mod check;
pub mod diagnostic;
pub mod document;
pub mod kinds;
pub mod node;
pub mod set;
pub mod source;
pub mod structural;
mod yaml;
