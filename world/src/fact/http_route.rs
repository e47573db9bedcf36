//! Facts of HTTPRoute. Rule filters and backend filters are the same type here, as in the specification.

use std::time::Duration;

use super::{GroupKind, Meta};

/// An HTTPRoute.
#[derive(Clone, PartialEq, Debug)]
pub struct HttpRoute {
    /// Its object.
    pub meta: Meta,
    /// `spec.parentRefs`, with defaults filled in.
    pub parents: Vec<ParentRef>,
    /// `spec.hostnames`, as written.
    pub hostnames: Vec<String>,
    /// `spec.rules`; a route without rules has the default rule that matches everything.
    pub rules: Vec<HttpRule>,
}

/// One of `spec.parentRefs`. Shared by all kinds of routes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ParentRef {
    /// The default is Gateway of `gateway.networking.k8s.io`.
    pub kind: GroupKind,
    /// None when it was not written, which status must repeat; the route's own then.
    pub namespace: Option<String>,
    /// `name`.
    pub name: String,
    /// `sectionName`.
    pub section: Option<String>,
    /// `port`.
    pub port: Option<u16>,
}

/// One of `spec.rules`.
#[derive(Clone, PartialEq, Debug)]
pub struct HttpRule {
    /// `name`.
    pub name: Option<String>,
    /// `matches` as the IR has them; never empty: the default is the prefix `/`. Regular expressions are
    /// not compiled yet, header names are lower case.
    pub matches: Vec<isthmus_ir::RouteMatch>,
    /// `filters`.
    pub filters: Vec<HttpFilter>,
    /// `backendRefs`.
    pub backends: Vec<BackendRef>,
    /// `timeouts`.
    pub timeouts: RuleTimeouts,
    /// `retry`.
    pub retry: Option<RuleRetry>,
    /// Fields that are set and that Isthmus does not implement: the route is not accepted with them.
    pub unsupported: Vec<String>,
}

/// `timeouts` of a rule; zero means no limit and is kept as none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RuleTimeouts {
    /// `request`.
    pub request: Option<Duration>,
    /// `backendRequest`.
    pub backend_request: Option<Duration>,
}

/// `retry` of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleRetry {
    /// `codes`.
    pub codes: Vec<u16>,
    /// `attempts`; the default is 1.
    pub attempts: u8,
    /// `backoff`; zero is kept as none.
    pub backoff: Option<Duration>,
}

/// A reference to an object, with defaults filled in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ObjectReference {
    /// Group and kind.
    pub kind: GroupKind,
    /// None when it was not written: the referring object's own.
    pub namespace: Option<String>,
    /// `name`.
    pub name: String,
}

/// One of `backendRefs`, or the target of a mirror.
#[derive(Clone, PartialEq, Debug)]
pub struct BackendRef {
    /// The object; the default kind is Service of the core group.
    pub object: ObjectReference,
    /// `port`.
    pub port: Option<u16>,
    /// `weight`; the default is 1.
    pub weight: u32,
    /// `filters` of this backend.
    pub filters: Vec<HttpFilter>,
}

/// A filter as declared: what refers to nothing is the IR's already.
#[derive(Clone, PartialEq, Debug)]
pub enum HttpFilter {
    /// Header modifiers, redirect, rewrite.
    Plain(isthmus_ir::Filter),
    /// `RequestMirror`.
    Mirror {
        /// Where the copy goes; its filters and weight mean nothing.
        backend: BackendRef,
        /// Which share is copied.
        fraction: isthmus_ir::Fraction,
    },
    /// `ExtensionRef`.
    Extension(ObjectReference),
    /// A filter that the specification knows and Isthmus does not implement: its type.
    Unsupported(String),
}
