//! The definitions of all kinds, in one list: what is installed, and what directories are checked by.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceValidation, JSON, ValidationRule,
};
use kube::{CustomResourceExt, core::ApiResource};
use serde_json::{Value, json};

use crate::{
    GROUP, GatewayParameters, MeshInstall, MeshPeer, MeshRevision, ServiceExport, ServiceImport,
};

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
        definition::<GatewayParameters>(),
        definition::<MeshInstall>(),
        definition::<MeshPeer>(),
        named_like_a_service(definition::<MeshRevision>()),
        definition::<ServiceExport>(),
        definition::<ServiceImport>(),
    ]
}

/// The name is a part of a Service's name and the value of a label.
fn named_like_a_service(mut definition: Definition) -> Definition {
    let rule = ValidationRule {
        rule: "size(self.metadata.name) <= 40 && !self.metadata.name.contains('.')".to_owned(),
        message: Some("must have a name without dots, of at most 40 characters".to_owned()),
        ..ValidationRule::default()
    };
    let versions = definition.crd.spec.versions.iter_mut();
    for schema in versions.filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut()) {
        schema.x_kubernetes_validations = Some(vec![rule.clone()]);
    }
    Definition { schema: schema_of(&definition.crd), ..definition }
}

fn schema_of(crd: &CustomResourceDefinition) -> Value {
    let schema = crd.spec.versions.first().and_then(|version| version.schema.as_ref());
    let schema = schema.and_then(|schema| serde_json::to_value(&schema.open_api_v3_schema).ok());
    schema.unwrap_or_default()
}

fn definition<K: CustomResourceExt>() -> Definition {
    let mut crd = K::crd();
    let ours = crd.spec.group == GROUP;
    let schemas = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    schemas.for_each(|schema| allow_no_spec(schema, ours));
    Definition {
        resource: K::api_resource(),
        namespaced: crd.spec.scope == "Namespaced",
        schema: schema_of(&crd),
        crd,
    }
}

/// A `spec` that needs no field need not be written: the Multi-Cluster Services API has it so, and people
/// leave it out. The derived schema asks for it always. Of our own kinds it then is an empty one with its
/// defaults, so that readers find it and rules that compare it with the one before see it.
fn allow_no_spec(validation: &mut CustomResourceValidation, ours: bool) {
    let Some(schema) = &mut validation.open_api_v3_schema else { return };
    let spec = schema.properties.as_mut().and_then(|fields| fields.get_mut("spec"));
    if let Some(spec) = spec.filter(|spec| spec.required.as_ref().is_none_or(Vec::is_empty)) {
        if ours {
            spec.default = Some(JSON(json!({})));
        }
        let required = schema.required.take().into_iter().flatten().filter(|field| field != "spec");
        schema.required = Some(required.collect()).filter(|required: &Vec<String>| !required.is_empty());
    }
}
