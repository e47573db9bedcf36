//! Defaults and rules that an API server would apply to objects of Gateway API and of the core group.
//!
//! For objects from a directory (case I4: no false positives). Written from the specification and
//! compared, over a corpus, with API servers that have Gateway API v1.7; where the two channels differ,
//! what either allows is allowed. Like an API server, rules that look at several fields are asked only when
//! each field is well-formed. What an API server lets pass and a controller then refuses, is left to the
//! units; and so is what needs the object's earlier version. Loopback addresses in an `EndpointSlice` pass:
//! that is what a directory is for.

mod backend_tls_policy;
mod core;
#[cfg(test)]
mod coverage;
mod endpoint_slice;
mod filter;
mod gateway;
mod http_route;
mod metadata;
mod path;
mod reference;
mod shape;
mod text;

use std::fmt;

use serde_json::Value;

use shape::Object;

/// One thing that is wrong in an object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FieldError {
    /// The field, such as `spec.rules[0].matches[1].path.value`, keys of maps in brackets too; empty for
    /// the object itself. For a field that is missing, the field that should be there.
    pub path: String,
    /// What is wrong, as the rest of a sentence that begins with the path.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{} {}", self.path, self.message)
        }
    }
}

/// Kinds that have defaults and rules here.
pub const KINDS: &[&str] = &[
    "BackendTLSPolicy",
    "EndpointSlice",
    "Gateway",
    "GatewayClass",
    "HTTPRoute",
    "Namespace",
    "ReferenceGrant",
    "Secret",
    "Service",
];

/// Those of them that an API server was built with.
const NATIVE: &[&str] = &["EndpointSlice", "Namespace", "Secret", "Service"];

fn object(kind: &str) -> Option<&'static Object> {
    Some(match kind {
        "BackendTLSPolicy" => &backend_tls_policy::BACKEND_TLS_POLICY,
        "EndpointSlice" => &endpoint_slice::ENDPOINT_SLICE,
        "Gateway" => &gateway::GATEWAY,
        "GatewayClass" => &gateway::GATEWAY_CLASS,
        "HTTPRoute" => &http_route::HTTP_ROUTE,
        "Namespace" => &core::NAMESPACE,
        "ReferenceGrant" => &reference::REFERENCE_GRANT,
        "Secret" => &core::SECRET,
        "Service" => &core::SERVICE,
        _ => return None,
    })
}

/// Fills in what an API server would, in an object of `kind`, and takes out what it would: nulls, and a
/// status that its author wrote. Does nothing for other kinds than [`KINDS`].
pub fn default(kind: &str, manifest: &mut Value) {
    let Some(object) = object(kind) else { return };
    if let Some(fields) = manifest.as_object_mut() {
        fields.remove("status");
    }
    object.default(manifest, NATIVE.contains(&kind));
    match kind {
        "Secret" => core::fold_string_data(manifest),
        "Service" => core::default_service(manifest),
        _ => {}
    }
}

/// Fills in what an API server would in the `metadata` of an object of any kind.
pub fn default_metadata(manifest: &mut Value) {
    if let Some(metadata) = manifest.get_mut("metadata") {
        metadata::OBJECT_META.default(metadata, true);
    }
}

/// Everything that is wrong with the `metadata` of an object of any kind, after [`default_metadata`].
pub fn validate_metadata(manifest: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(metadata) = manifest.get("metadata") {
        metadata::OBJECT_META.validate(metadata, "metadata", &mut errors);
    }
    errors.sort();
    errors
}

/// Everything that is wrong with an object of `kind`, after [`default`], in order of path; nothing for
/// other kinds than [`KINDS`].
pub fn validate(kind: &str, manifest: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(object) = object(kind) {
        object.validate(manifest, "", &mut errors);
        if kind == "Namespace" || kind == "Service" {
            metadata::name_is_label(manifest, &mut errors);
        }
    }
    errors.sort();
    errors.dedup();
    errors
}
