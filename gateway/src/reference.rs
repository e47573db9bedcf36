//! Whether one object may refer to another: the only place that knows of ReferenceGrant objects.
//!
//! Every reference of every kind goes through [`Grants::permit`] (cases G1 and G3): backends of any
//! route, mirrors, certificates. What is granted is decided by the namespace of the *target*; a grant
//! names the kind and namespace of the *source*.

use std::sync::Arc;

use isthmus_world::fact::{GroupKind, ObjectReference, ReferenceGrant};

use crate::GROUP;

/// The object that refers: what a ReferenceGrant has to name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source<'a> {
    /// Its group.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
}

/// The grants of every namespace that the references at hand point into; others do no harm.
#[derive(Clone, Copy, Debug)]
pub struct Grants<'a>(pub &'a [Arc<ReferenceGrant>]);

/// A reference across namespaces that no ReferenceGrant allows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{kind} {namespace}/{name} may not be referred to from namespace {from}: create a ReferenceGrant in \
     namespace {namespace}, from kind {source_kind} of namespace {from}, to kind {kind}"
)]
pub struct NotPermitted {
    kind: String,
    namespace: String,
    name: String,
    source_kind: String,
    from: String,
}

impl<'a> Source<'a> {
    /// An object of a kind of Gateway API.
    pub fn gateway_api(kind: &'a str, namespace: &'a str) -> Self {
        Self { group: GROUP, kind, namespace }
    }
}

/// The namespace that `target` is in, seen from `source`.
pub fn namespace<'a>(source: Source<'a>, target: &'a ObjectReference) -> &'a str {
    target.namespace.as_deref().unwrap_or(source.namespace)
}

impl Grants<'_> {
    /// Lets a reference pass that stays in its namespace, or that a grant in the target's namespace
    /// allows; and says nothing of whether the target exists.
    ///
    /// # Errors
    /// When no grant allows it; the error's text is fit for a condition.
    pub fn permit(self, source: Source<'_>, target: &ObjectReference) -> Result<(), NotPermitted> {
        let to = namespace(source, target);
        if to == source.namespace || self.0.iter().any(|grant| grants(grant, source, to, target)) {
            return Ok(());
        }
        Err(NotPermitted {
            kind: target.kind.kind.clone(),
            namespace: to.to_owned(),
            name: target.name.clone(),
            source_kind: source.kind.to_owned(),
            from: source.namespace.to_owned(),
        })
    }
}

fn grants(grant: &ReferenceGrant, source: Source<'_>, to: &str, target: &ObjectReference) -> bool {
    let is = |kind: &GroupKind, group: &str, name: &str| kind.group == group && kind.kind == name;
    grant.meta.namespace == to
        && grant
            .from
            .iter()
            .any(|f| is(&f.kind, source.group, source.kind) && f.namespace == source.namespace)
        && grant
            .to
            .iter()
            .any(|t| t.kind == target.kind && t.name.as_ref().is_none_or(|name| *name == target.name))
}
