//! Manifests as objects.

use serde_json::Value;

/// One object.
pub struct Object(pub Value);

impl Object {
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap()
    }

    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    pub fn namespace(&self) -> &str {
        self.0["metadata"]["namespace"].as_str().unwrap_or("default")
    }

    pub fn identity(&self) -> (&str, &str, &str) {
        (self.kind(), self.namespace(), self.name())
    }

    /// Whether it is a Gateway that Isthmus runs.
    pub fn is_gateway(&self) -> bool {
        self.kind() == "Gateway" && self.0["spec"]["gatewayClassName"] == "isthmus"
    }

    /// Whether a route has one of these Gateways as a parent.
    pub fn has_parent(&self, gateways: &[&Object]) -> bool {
        let parents = self.0["spec"]["parentRefs"].as_array().into_iter().flatten();
        let namespace =
            |parent: &Value| parent["namespace"].as_str().unwrap_or(self.namespace()).to_owned();
        let is = |parent: &Value, gateway: &Object| {
            parent["name"] == gateway.name() && namespace(parent) == gateway.namespace()
        };
        parents.into_iter().any(|parent| gateways.iter().any(|gateway| is(parent, gateway)))
    }

    /// When it claims to have been made; young ones say nothing.
    pub fn age(&self) -> String {
        self.0["metadata"]["creationTimestamp"].as_str().unwrap_or("young").to_owned()
    }
}

/// The objects of a manifest file.
pub fn read(manifests: &str) -> Vec<Object> {
    let values: Vec<Value> = serde_saphyr::from_multiple(manifests).unwrap();
    values.into_iter().map(Object).collect()
}
