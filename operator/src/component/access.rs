//! What the control plane may do on the API server: read what configures the mesh, write statuses, and
//! have tokens reviewed. Secrets are not in it: see [`super::secrets`].

use isthmus_crds::{
    GROUP, MCS_GROUP,
    names::{AUTHORITY, CONTROL_PLANE, ROOT, control_plane as control_plane_of},
};
use isthmus_gateway::definitions;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};

use crate::{
    mesh::Mesh,
    object::{self, Manifest},
};

const READ: &[&str] = &["get", "list", "watch"];
/// Server-side apply of what may not be there yet. Unlike POST it is asked for by name.
const APPLY: &[&str] = &["create", "get", "patch"];
const WRITE_STATUS: &[&str] = &["patch"];

/// A rule: these verbs on these resources of one group.
pub(crate) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(all(resources)),
        verbs: all(verbs),
        ..PolicyRule::default()
    }
}

/// The same rule, for objects of these names only.
pub(crate) fn only(names: &[&str], rule: PolicyRule) -> PolicyRule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    PolicyRule { resource_names: Some(names), ..rule }
}

/// What the control plane may do in every namespace.
pub fn cluster_rules() -> Vec<PolicyRule> {
    let gateway_api = "gateway.networking.k8s.io";
    let kinds = ["backendtlspolicies", "gatewayclasses", "gateways", "httproutes", "referencegrants"];
    let statuses = ["gatewayclasses/status", "gateways/status", "httproutes/status"];
    let definitions: Vec<String> = definitions::names().collect();
    let definitions: Vec<&str> = definitions.iter().map(String::as_str).collect();
    vec![
        rule(gateway_api, &kinds, READ),
        rule(gateway_api, &statuses, WRITE_STATUS),
        rule("", &["namespaces", "services"], READ),
        rule("discovery.k8s.io", &["endpointslices"], READ),
        only(&definitions, rule("apiextensions.k8s.io", &["customresourcedefinitions"], READ)),
        rule(MCS_GROUP, &["serviceexports"], READ),
        rule(MCS_GROUP, &["serviceexports/status"], WRITE_STATUS),
        rule(GROUP, &["gatewayparameters", "meshinstalls", "meshrevisions"], READ),
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        only(&[ROOT], rule("", &["configmaps"], APPLY)),
    ]
}

/// What the control plane may do in its own namespace: keep its CA, agree on who leads, and say where that
/// one is.
///
/// `revisions` are the names of those beside the MeshInstall's own: each leads, and is found, for itself.
pub fn own_rules<'a>(revisions: impl Iterator<Item = &'a str>) -> Vec<PolicyRule> {
    let names = revisions.map(|name| control_plane_of(Some(name)));
    let names: Vec<String> = std::iter::once(control_plane_of(None)).chain(names).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    vec![
        only(&[AUTHORITY], rule("", &["secrets"], &["get"])),
        only(&names, rule("coordination.k8s.io", &["leases"], &["get", "update"])),
        only(&names, rule("discovery.k8s.io", &["endpointslices"], APPLY)),
        // The name of what is created by POST is not known when it is asked whether that is allowed.
        rule("", &["secrets"], &["create"]),
        rule("coordination.k8s.io", &["leases"], &["create"]),
    ]
}

/// The roles of the control plane, with their bindings.
pub fn roles<'a>(mesh: &Mesh, revisions: impl Iterator<Item = &'a str>) -> Vec<Manifest> {
    let meta = |kind| mesh.meta(kind, "control-plane", CONTROL_PLANE);
    let cluster_role = ClusterRole {
        metadata: meta(object::CLUSTER_ROLE),
        rules: Some(cluster_rules()),
        ..<_>::default()
    };
    let cluster_binding = ClusterRoleBinding {
        metadata: meta(object::CLUSTER_ROLE_BINDING),
        role_ref: role("ClusterRole", CONTROL_PLANE),
        subjects: Some(vec![control_plane(mesh)]),
    };
    let role_ = Role { metadata: meta(object::ROLE), rules: Some(own_rules(revisions)) };
    let binding = RoleBinding {
        metadata: meta(object::ROLE_BINDING),
        role_ref: role("Role", CONTROL_PLANE),
        subjects: Some(vec![control_plane(mesh)]),
    };
    vec![
        Manifest::new(object::CLUSTER_ROLE, &cluster_role),
        Manifest::new(object::CLUSTER_ROLE_BINDING, &cluster_binding),
        Manifest::new(object::ROLE, &role_),
        Manifest::new(object::ROLE_BINDING, &binding),
    ]
}

pub(crate) fn role(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: Some("rbac.authorization.k8s.io".to_owned()),
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

/// The control plane's service account.
pub(super) fn control_plane(mesh: &Mesh) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: CONTROL_PLANE.to_owned(),
        namespace: Some(mesh.namespace.clone()),
        ..Subject::default()
    }
}
