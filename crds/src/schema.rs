//! The definitions of all kinds, in one list: what is installed, and what directories are checked by.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, core::ApiResource};
use serde_json::Value;

use crate::{MeshInstall, MeshPeer, ServiceExport, ServiceImport};

/// One kind: what it is called, and what its objects must look like.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The structural schema (`openAPIV3Schema`), with defaults and `x-kubernetes-validations`.
    pub schema: Value,
    /// The whole definition, as an API server takes it.
    pub crd: CustomResourceDefinition,
}

/// Every kind of this crate, in order of group and name.
pub fn definitions() -> Vec<Definition> {
    vec![
        definition::<MeshInstall>(),
        definition::<MeshPeer>(),
        definition::<ServiceExport>(),
        definition::<ServiceImport>(),
    ]
}

fn definition<K: CustomResourceExt>() -> Definition {
    let crd = K::crd();
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    let schema = schema.and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok());
    Definition {
        resource: K::api_resource(),
        namespaced: crd.spec.scope == "Namespaced",
        schema: schema.unwrap_or_default(),
        crd,
    }
}
