//! Facts that are no objects: what proxies report, and what is wrong with an object that could not be
//! decoded.

use std::collections::BTreeMap;

use isthmus_ir::{Key, Name};

use super::{ParentRef, PolicyTarget};

/// What one proxy has acked that is connected, or was until a moment ago.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProxyReport {
    /// The newest revision of its snapshot that is in force there; 0 before the first.
    pub revision: u64,
    /// Resources that it refused, with its reasons.
    pub refused: BTreeMap<Key, String>,
    /// Listeners that it could not bind, with the operating system's reasons.
    pub unbound: BTreeMap<Name, String>,
    /// Whether it is new, and not waited for yet while others have acked.
    pub joining: bool,
}

/// Why the newest version of an object is not in force; its last good version is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problem {
    /// The field, as a path, when one is to blame.
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// The generation of the refused version.
    pub generation: i64,
    /// `spec.parentRefs` of a route, as far as they could be read: its status has an entry for each.
    pub parents: Vec<ParentRef>,
    /// `spec.gatewayClassName` of a Gateway, when it could be read: says whose Gateway it is.
    pub class: Option<String>,
    /// `spec.targetRefs` of a policy, as far as they could be read: what it is about is protected by it,
    /// whatever else it says.
    pub targets: Vec<PolicyTarget>,
}
