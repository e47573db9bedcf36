//! Facts of Gateway API's BackendTLSPolicy, as far as they matter while TLS to backends cannot be had.

use super::{GroupKind, Meta};

/// A BackendTLSPolicy: nothing is sent to its targets in the clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackendTlsPolicy {
    /// Its namespace is that of its targets.
    pub meta: Meta,
    /// `spec.targetRefs`.
    pub targets: Vec<PolicyTarget>,
}

/// One of `spec.targetRefs` of a policy (`LocalPolicyTargetReferenceWithSectionName`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PolicyTarget {
    /// Group and kind.
    pub kind: GroupKind,
    /// `name`.
    pub name: String,
    /// `sectionName`: of a Service, the name of a port; none means all of it.
    pub section: Option<String>,
}
