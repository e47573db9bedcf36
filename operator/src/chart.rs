//! What the charts are generated from: the operator's own rights, and the values that `charts/isthmus`
//! takes.

use std::collections::BTreeMap;

use isthmus_crds::{GROUP, names};
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    component::{
        access::{self, cluster_rules, only, rule},
        definitions, secrets,
    },
    object::{self, Kind},
};

/// What the operator may do in every namespace.
///
/// It has each right that it gives to the control plane everywhere, as Kubernetes lets nobody give what he
/// has not. Rights on Secrets it gives without having them: `escalate` and `bind` are for the two Roles
/// that hold such rights. So the operator itself reads no Secret.
pub fn cluster_role_rules() -> Vec<PolicyRule> {
    let read = ["get", "list", "watch"];
    let write = ["create", "delete", "get", "list", "patch", "update", "watch"];
    let (gateway_api, definitions) = (object::GATEWAY.group, object::DEFINITION);
    let mut rules = vec![
        rule(GROUP, &["meshinstalls", "meshrevisions"], &["get", "list", "patch", "update", "watch"]),
        rule(
            GROUP,
            &[
                "meshinstalls/status",
                "meshinstalls/finalizers",
                "meshrevisions/status",
                "meshrevisions/finalizers",
            ],
            &["patch", "update"],
        ),
        rule(definitions.group, &[definitions.plural], &["create", "get", "list", "patch", "watch"]),
        rule(gateway_api, &["gateways", "referencegrants"], &read),
        rule("", &["namespaces"], &read),
        only(
            &[secrets::NAME, names::CONTROL_PLANE],
            rule(object::ROLE.group, &[object::ROLE.plural], &["bind", "escalate"]),
        ),
    ];
    rules.extend(object::OWNED.iter().map(|kind: &&Kind| rule(kind.group, &[kind.plural], &write)));
    rules.extend(cluster_rules());
    rules
}

/// What the operator may do in its own namespace: agree on who acts.
pub fn role_rules() -> Vec<PolicyRule> {
    let lease = |verbs: &[&str]| rule("coordination.k8s.io", &["leases"], verbs);
    // The name of what is created by POST is not known when it is asked whether that is allowed.
    vec![only(&["isthmus-operator"], lease(&["get", "patch", "update"])), lease(&["create"])]
}

/// The roles of the operator with their bindings, as a template of the chart.
pub fn roles() -> Vec<Value> {
    const NAMESPACE: &str = "{{ .Release.Namespace }}";
    let meta = |namespaced: bool| ObjectMeta {
        name: Some("isthmus-operator".to_owned()),
        namespace: namespaced.then(|| NAMESPACE.to_owned()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    };
    let subjects = || {
        Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: "isthmus-operator".to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            ..Subject::default()
        }])
    };
    let role_ref = |kind| access::role(kind, "isthmus-operator");
    let all = [
        serde_json::to_value(ClusterRole {
            metadata: meta(false),
            rules: Some(cluster_role_rules()),
            ..ClusterRole::default()
        }),
        serde_json::to_value(ClusterRoleBinding {
            metadata: meta(false),
            role_ref: role_ref("ClusterRole"),
            subjects: subjects(),
        }),
        serde_json::to_value(Role { metadata: meta(true), rules: Some(role_rules()) }),
        serde_json::to_value(RoleBinding {
            metadata: meta(true),
            role_ref: role_ref("Role"),
            subjects: subjects(),
        }),
    ];
    all.into_iter().flatten().collect()
}

fn labels() -> BTreeMap<String, String> {
    [("part-of", "isthmus"), ("component", "operator")]
        .map(|(key, value)| (format!("app.kubernetes.io/{key}"), value.to_owned()))
        .into()
}

/// The definitions of `charts/isthmus-crds`, by file name. Helm keeps them when the chart goes: with a
/// definition all its objects would go.
pub fn definitions() -> BTreeMap<String, Value> {
    let version = env!("CARGO_PKG_VERSION");
    let all = isthmus_crds::definitions().into_iter().map(|definition| {
        let name = format!("{}_{}.yaml", definition.resource.group, definition.resource.plural);
        let mut crd = definition.crd;
        let annotations = [(definitions::VERSION, version), ("helm.sh/resource-policy", "keep")];
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned()));
        crd.metadata.annotations.get_or_insert_default().extend(annotations);
        (name, serde_json::to_value(&crd).unwrap_or_default())
    });
    all.collect()
}

/// What `charts/isthmus` takes.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Values {
    /// How many operators run. One of them acts.
    #[schemars(range(min = 0, max = 10))]
    pub replicas: u16,
    /// The image with the `isthmus` program. The control plane runs from it too.
    pub image: Image,
    /// The image of the proxy.
    pub proxy_image: ProxyImage,
    /// Names of Secrets of this namespace with credentials of registries.
    pub image_pull_secrets: Vec<PullSecret>,
    /// What each operator is given, as in a container.
    pub resources: BTreeMap<String, Value>,
    /// What is logged, as in `ISTHMUS_LOG`.
    pub log: String,
    /// `nodeSelector` of the operator's pods.
    pub node_selector: BTreeMap<String, String>,
    /// `tolerations` of the operator's pods.
    pub tolerations: Vec<BTreeMap<String, Value>>,
    /// `affinity` of the operator's pods.
    pub affinity: BTreeMap<String, Value>,
    /// Labels that the operator's pods have besides their own.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations that the operator's pods have.
    pub pod_annotations: BTreeMap<String, String>,
    /// What charts that contain this one tell all of their parts.
    #[serde(default)]
    pub global: Option<Value>,
}

/// An image.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// The image without a tag.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// The tag. The chart's own version when it is empty.
    pub tag: String,
    /// When the image is fetched.
    pub pull_policy: PullPolicy,
}

/// The image of the proxy.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyImage {
    /// The image without a tag: the MeshInstall says which version runs.
    #[schemars(length(min = 1))]
    pub repository: String,
}

/// When an image is fetched.
#[derive(JsonSchema, Deserialize, Debug)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When the node has it not.
    IfNotPresent,
    /// Never.
    Never,
}

/// A Secret with credentials.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct PullSecret {
    /// Its name.
    pub name: String,
}

/// `values.schema.json` of `charts/isthmus`.
pub fn values_schema() -> Value {
    schemars::schema_for!(Values).to_value()
}
