//! From an object as it is written to the [`Change`] that it means.
//!
//! Each object is decoded alone, through the typed bindings of its kind: one that they cannot read, or
//! whose values are out of the specification's ranges, becomes a [`Change::Problem`] of that object and
//! touches no other (case F1). Defaults of the specifications are filled in here, so that an object from
//! a file and one from an API server give the same fact. Nothing is looked up elsewhere.

mod backend_tls_policy;
mod core;
mod decode;
mod filter;
mod gateway;
mod http_route;
mod meta;

pub use kube::core::DynamicObject;

use isthmus_crds::names::GATEWAY_LABEL;
use serde_json::Value;

use crate::{
    change::Change,
    fact::{Fact, Meta, Problem},
    kind::{Kind, ObjectKey},
};
use decode::Fault;

/// Why an object means nothing to Isthmus.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unread {
    /// Nothing is wrong with it.
    #[error("{kind} of {api_version} is not read by Isthmus")]
    UnknownKind {
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
    },
    /// Without this field nobody can say which object it is.
    #[error("{0} is missing")]
    Unnamed(&'static str),
}

/// What identifies `object`.
///
/// # Errors
/// When it is not for Isthmus at all.
pub fn key(object: &DynamicObject) -> Result<ObjectKey, Unread> {
    let types = object.types.as_ref().ok_or(Unread::Unnamed("kind"))?;
    let name = object.metadata.name.as_ref().ok_or(Unread::Unnamed("metadata.name"))?;
    let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
    let kind = Kind::of(group, &types.kind).filter(|kind| kind.versions().contains(&version));
    let kind = kind.ok_or_else(|| Unread::UnknownKind {
        api_version: types.api_version.clone(),
        kind: types.kind.clone(),
    })?;
    Ok(ObjectKey::new(kind, meta::namespace(object), name))
}

/// What an object means: an upsert of its fact; a problem of the object; or, when it is of a sort that is
/// not kept (a Secret that is no certificate, an EndpointSlice of no Service), a delete.
///
/// # Errors
/// When it is not for Isthmus at all.
pub fn ingest(mut object: DynamicObject) -> Result<Change, Unread> {
    let key = key(&object)?;
    let meta = meta::meta(&object, &key);
    let parents = http_route::readable_parents(key.kind, &object.data);
    let class = gateway::readable_class(key.kind, &object.data);
    let targets = backend_tls_policy::readable_targets(key.kind, &object.data);
    let generation = meta.generation;
    let labels = object.metadata.labels.take().unwrap_or_default();
    Ok(match fact(key.kind, meta, &labels, object.data) {
        Ok(Some(fact)) => Change::Upsert(fact),
        Ok(None) => Change::Delete(key),
        Err(Fault { field, message }) => {
            let problem = Problem { field, message, generation, parents, class, targets };
            Change::Problem { key, problem }
        }
    })
}

/// Says of `object` that it must not be used: what a source does with one that its rules refuse.
///
/// # Errors
/// When it is not for Isthmus at all.
pub fn refuse(object: &DynamicObject, field: Option<String>, message: String) -> Result<Change, Unread> {
    let key = key(object)?;
    let problem = Problem {
        field,
        message,
        generation: object.metadata.generation.unwrap_or_default(),
        parents: http_route::readable_parents(key.kind, &object.data),
        class: gateway::readable_class(key.kind, &object.data),
        targets: backend_tls_policy::readable_targets(key.kind, &object.data),
    };
    Ok(Change::Problem { key, problem })
}

type Labels = std::collections::BTreeMap<String, String>;

fn fact(kind: Kind, meta: Meta, labels: &Labels, data: Value) -> Result<Option<Fact>, Fault> {
    Ok(Some(match kind {
        Kind::GatewayClass => Fact::GatewayClass(gateway::class(meta, data)?),
        Kind::Gateway => Fact::Gateway(gateway::gateway(meta, data)?),
        Kind::HttpRoute => Fact::HttpRoute(http_route::http_route(meta, data)?),
        Kind::ReferenceGrant => Fact::ReferenceGrant(gateway::grant(meta, data)?),
        Kind::BackendTlsPolicy => {
            Fact::BackendTlsPolicy(backend_tls_policy::backend_tls_policy(meta, data)?)
        }
        Kind::Namespace => Fact::Namespace(crate::fact::Namespace { meta }),
        Kind::Service => Fact::Service(core::service(meta, labels.contains_key(GATEWAY_LABEL), data)?),
        Kind::EndpointSlice => match labels.get("kubernetes.io/service-name") {
            Some(service) => Fact::EndpointSlice(core::endpoint_slice(meta, service, data)?),
            None => return Ok(None),
        },
        Kind::Secret => return Ok(core::secret(meta, data)?.map(Fact::Secret)),
        Kind::ServiceExport => Fact::ServiceExport(crate::fact::ServiceExport { meta }),
        Kind::GatewayParameters => Fact::GatewayParameters(gateway::parameters(meta, data)?),
    }))
}
