//! The kinds that the operator reads and writes, names of objects, and objects as they are to be.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

pub use isthmus_crds::names::OURS;
use kube::core::{ApiResource, DynamicObject, TypeMeta};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A kind, and how its objects are addressed.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kind {
    /// The API group, empty for the core group.
    pub group: &'static str,
    /// The version that is written.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The name of the collection.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

macro_rules! kinds {
    ($($name:ident = $group:literal $version:literal $kind:literal $plural:literal $namespaced:literal),* $(,)?) => {
        $(
            #[doc = concat!("`", $kind, "` of `", $group, "/", $version, "`.")]
            pub const $name: &Kind = &Kind {
                group: $group,
                version: $version,
                kind: $kind,
                plural: $plural,
                namespaced: $namespaced,
            };
        )*
    };
}

kinds! {
    MESH_INSTALL = "isthmus.dev" "v1alpha1" "MeshInstall" "meshinstalls" false,
    MESH_REVISION = "isthmus.dev" "v1alpha1" "MeshRevision" "meshrevisions" false,
    GATEWAY_PARAMETERS = "isthmus.dev" "v1alpha1" "GatewayParameters" "gatewayparameters" true,
    DEFINITION = "apiextensions.k8s.io" "v1" "CustomResourceDefinition" "customresourcedefinitions" false,
    GATEWAY_CLASS = "gateway.networking.k8s.io" "v1" "GatewayClass" "gatewayclasses" false,
    GATEWAY = "gateway.networking.k8s.io" "v1" "Gateway" "gateways" true,
    REFERENCE_GRANT = "gateway.networking.k8s.io" "v1" "ReferenceGrant" "referencegrants" true,
    NAMESPACE = "" "v1" "Namespace" "namespaces" false,
    SERVICE_ACCOUNT = "" "v1" "ServiceAccount" "serviceaccounts" true,
    SERVICE = "" "v1" "Service" "services" true,
    DEPLOYMENT = "apps" "v1" "Deployment" "deployments" true,
    DISRUPTION_BUDGET = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" true,
    AUTOSCALER = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" true,
    NETWORK_POLICY = "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" true,
    CLUSTER_ROLE = "rbac.authorization.k8s.io" "v1" "ClusterRole" "clusterroles" false,
    CLUSTER_ROLE_BINDING = "rbac.authorization.k8s.io" "v1" "ClusterRoleBinding" "clusterrolebindings" false,
    ROLE = "rbac.authorization.k8s.io" "v1" "Role" "roles" true,
    ROLE_BINDING = "rbac.authorization.k8s.io" "v1" "RoleBinding" "rolebindings" true,
}

/// The kinds of which the operator makes objects that go with the MeshInstall or the Gateway that they
/// were made for. Objects of these that nothing asks for any longer are removed, in this order.
pub const OWNED: &[&Kind] = &[
    AUTOSCALER,
    DISRUPTION_BUDGET,
    SERVICE,
    DEPLOYMENT,
    NETWORK_POLICY,
    GATEWAY_CLASS,
    ROLE_BINDING,
    ROLE,
    CLUSTER_ROLE_BINDING,
    CLUSTER_ROLE,
    SERVICE_ACCOUNT,
];

impl Kind {
    /// The group and the version, as objects carry them.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The kind as a client takes it.
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version: self.api_version(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// Which object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: &'static Kind,
    /// Its namespace, empty for what is in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The object `name` of `kind`, in `namespace` unless the kind knows none.
    pub fn new(kind: &'static Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced { namespace } else { "" };
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object of `kind`.
    pub fn of(kind: &'static Kind, object: &DynamicObject) -> Self {
        let meta = &object.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        Self::new(kind, namespace, meta.name.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind.kind, self.name),
        }
    }
}

/// An object as it is to be: those fields that the operator decides, and no others.
#[derive(Clone, PartialEq, Debug)]
pub struct Manifest {
    /// Which object.
    pub key: ObjectKey,
    /// The whole of it, with `apiVersion` and `kind`.
    pub value: Value,
}

/// The annotation that holds a digest of the object as the operator wanted it. A field that is no longer
/// wanted shows up as another digest.
pub const DIGEST: &str = "isthmus.dev/digest";

impl Manifest {
    /// A typed object, with a digest of itself.
    pub fn new(kind: &'static Kind, object: &impl Serialize) -> Self {
        let mut manifest = Self::bare(kind, object);
        let digest = digest(&manifest.value);
        let annotations = manifest.value.get_mut("metadata").and_then(Value::as_object_mut);
        if let Some(meta) = annotations {
            let annotations = meta.entry("annotations").or_insert_with(|| Value::Object(<_>::default()));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(DIGEST.to_owned(), digest.into());
            }
        }
        manifest
    }

    /// With a field that somebody else decides, as it is: one that its owner leaves out is reset, and one
    /// that is written is not. It is no part of the digest.
    #[must_use]
    pub fn holding(mut self, parent: &str, field: &str, value: impl Into<Value>) -> Self {
        if let Some(fields) = self.value.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.insert(field.to_owned(), value.into());
        }
        self
    }

    /// Its digest, where it has one.
    pub fn digest(&self) -> Option<&str> {
        self.value.get("metadata")?.get("annotations")?.get(DIGEST)?.as_str()
    }

    /// An object of which the operator decides a part only.
    pub fn bare(kind: &'static Kind, object: &impl Serialize) -> Self {
        // Types of k8s-openapi and our own can always be written.
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("apiVersion".to_owned(), kind.api_version().into());
            fields.insert("kind".to_owned(), kind.kind.into());
        }
        let text = |path| value.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let key = ObjectKey::new(kind, text("/metadata/namespace"), text("/metadata/name"));
        Self { key, value }
    }
}

/// The digest of what `found` was last written as.
pub fn digest_of(found: &DynamicObject) -> Option<&str> {
    found.metadata.annotations.as_ref()?.get(DIGEST).map(String::as_str)
}

/// The first half of SHA-256, in hexadecimal: enough to see that something changed.
fn digest(value: &Value) -> String {
    let bytes = Sha256::digest(value.to_string());
    bytes.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Labels of everything that the operator makes.
pub fn labels(component: &str) -> BTreeMap<String, String> {
    [("managed-by", "isthmus"), ("part-of", "isthmus"), ("component", component)]
        .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
        .into()
}

/// `object` with the type that its kind has: lists leave it out.
pub fn typed(kind: &Kind, mut object: DynamicObject) -> DynamicObject {
    object.types = Some(TypeMeta { api_version: kind.api_version(), kind: kind.kind.to_owned() });
    object
}
