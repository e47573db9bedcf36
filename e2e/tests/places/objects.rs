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
