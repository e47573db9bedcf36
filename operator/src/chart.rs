//! What the charts are generated from: the operator's own rights, and the values that `charts/isthmus`
//! takes.

use std::collections::BTreeMap;

use isthmus_crds::{GROUP, names};
use isthmus_gateway::CLASS;
use k8s_openapi::{
    api::{
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    component::{
        access::{self, cluster_rules, only, rule},
        definitions, network, secrets,
    },
    object::{self, Kind},
    place::OPERATOR,
};

/// What the operator may do in every namespace.
///
/// It has each right that it gives to the control plane everywhere, as Kubernetes lets nobody give what he
/// has not. Rights on Secrets it gives without having them: `escalate` and `bind` are for the two Roles
/// that hold such rights. So the operator itself reads no Secret.
pub fn cluster_role_rules() -> Vec<PolicyRule> {
    let read = ["get", "list", "watch"];
    let (gateway_api, definitions) = (object::GATEWAY.group, object::DEFINITION);
    let definition = |verbs: &[&str]| rule(definitions.group, &[definitions.plural], verbs);
    let own: Vec<String> = self::definitions().values().filter_map(name).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut rules = vec![
        rule(GROUP, &["meshinstalls", "meshrevisions"], &["get", "list", "patch", "watch"]),
        rule(GROUP, &["meshinstalls/status", "meshrevisions/status"], &["patch"]),
        definition(&read),
        only(&own, definition(&["create", "patch"])),
        rule(gateway_api, &["gateways", "referencegrants"], &read),
        rule("", &["namespaces"], &read),
        only(&ROLES, rule(object::ROLE.group, &[object::ROLE.plural], &["bind", "escalate"])),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ];
    rules.extend(object::OWNED.iter().flat_map(|kind| owned(kind)));
    rules.extend(cluster_rules());
    rules
}

/// The names of the Roles that the operator makes.
const ROLES: [&str; 2] = [secrets::NAME, names::CONTROL_PLANE];

/// What the operator may do with objects of a kind that it makes: read all of them, since those that are its
/// own are known by a label, and write those that it makes, by name where the names are known.
fn owned(kind: &Kind) -> [PolicyRule; 2] {
    let of = |verbs: &[&str]| rule(kind.group, &[kind.plural], verbs);
    let write = of(&["create", "delete", "patch"]);
    let write = match kind {
        object::CLUSTER_ROLE | object::CLUSTER_ROLE_BINDING => only(&[names::CONTROL_PLANE], write),
        object::ROLE | object::ROLE_BINDING => only(&ROLES, write),
        object::GATEWAY_CLASS => only(&[CLASS], write),
        _ => write,
    };
    [of(&["get", "list", "watch"]), write]
}

fn name(definition: &Value) -> Option<String> {
    definition.pointer("/metadata/name")?.as_str().map(str::to_owned)
}

/// What the operator may do in its own namespace: agree on who acts.
pub fn role_rules() -> Vec<PolicyRule> {
    let lease = |verbs: &[&str]| rule("coordination.k8s.io", &["leases"], verbs);
    // The name of what is created by POST is not known when it is asked whether that is allowed.
    vec![only(&[OPERATOR], lease(&["get", "update"])), lease(&["create"])]
}

const NAMESPACE: &str = "{{ .Release.Namespace }}";

fn meta(namespaced: bool) -> ObjectMeta {
    ObjectMeta {
        name: Some(OPERATOR.to_owned()),
        namespace: namespaced.then(|| NAMESPACE.to_owned()),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

/// The roles of the operator with their bindings, as a template of the chart.
pub fn roles() -> Vec<Value> {
    let subjects = || {
        Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: OPERATOR.to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            ..Subject::default()
        }])
    };
    let role_ref = |kind| access::role(kind, OPERATOR);
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

/// Who may call the operator, as a template of the chart.
pub fn network_policy() -> NetworkPolicy {
    network::of_operator(meta(true), labels())
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

/// `definition` as a template: it is installed where it is for the chart to install.
pub fn template_of_definition(name: &str, definition: &str) -> String {
    format!(
        "{{{{- if include \"isthmus-crds.installs\" (list . \"{name}\") }}}}\n{definition}{{{{- end }}}}\n"
    )
}

/// What `charts/isthmus-crds` takes.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DefinitionValues {
    /// The definitions of the Multi-Cluster Services API.
    pub mcs: Mcs,
    /// What charts that contain this one tell all of their parts.
    #[serde(default)]
    pub global: Option<Value>,
}

/// The definitions of the Multi-Cluster Services API.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mcs {
    /// Whether they are installed where there are none. Those of another product are never touched.
    pub install: bool,
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
    /// Secrets with credentials of registries. This namespace has them, and each namespace with a Gateway.
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
    /// The tag, of the proxy's image too. The chart's own version when it is empty.
    #[schemars(length(max = 128), regex(pattern = r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$"))]
    pub tag: String,
    /// When nodes fetch images, those of the control plane and of proxies too.
    pub pull_policy: PullPolicy,
}

/// The image of the proxy.
#[derive(JsonSchema, Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyImage {
    /// The image without a tag: it has that of the other, unless the MeshInstall says a version.
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

/// `values.schema.json` of `charts/isthmus-crds`.
pub fn definition_values_schema() -> Value {
    schemars::schema_for!(DefinitionValues).to_value()
}

/// `values.schema.json` of `charts/isthmus`.
pub fn values_schema() -> Value {
    schemars::schema_for!(Values).to_value()
}
