//! Which Secrets the control plane may read: those, by name, that Gateways of ours refer to, and that
//! they may refer to (case F23). One Role a namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use isthmus_gateway::{listener::granted_secrets, reference::Grants};
use isthmus_world::fact::ReferenceGrant;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use super::access::{control_plane, only, role, rule};
use crate::{
    mesh::Mesh,
    object::{self, Kind, Manifest},
    observed::SeenGateway,
};

/// What these Roles and their bindings are called.
pub const NAME: &str = "isthmus-gateways";

/// The names of the Secrets that may be read, by namespace.
pub type Readable = BTreeMap<String, BTreeSet<String>>;

/// What `gateways` let the control plane read, given `grants`.
pub fn readable<'a>(
    gateways: impl Iterator<Item = &'a SeenGateway<'a>>,
    grants: &[Arc<ReferenceGrant>],
) -> Readable {
    let mut all = Readable::new();
    let facts = gateways.filter_map(|seen| seen.fact.as_ref());
    for secret in facts.flat_map(|gateway| granted_secrets(gateway, Grants(grants))) {
        all.entry(secret.namespace.clone()).or_default().insert(secret.name.clone());
    }
    all
}

/// The Roles for what may be read, with their bindings.
pub fn roles(mesh: &Mesh, readable: &Readable) -> Vec<Manifest> {
    readable
        .iter()
        .flat_map(|(namespace, secrets)| {
            let meta = |kind: &Kind| {
                let mut meta = mesh.meta(kind, "control-plane", NAME);
                meta.namespace = Some(namespace.clone());
                meta
            };
            let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
            // Listing and watching are allowed of one name at a time, by a field selector.
            let rules = vec![only(&names, rule("", &["secrets"], &["get", "list", "watch"]))];
            let binding = RoleBinding {
                metadata: meta(object::ROLE_BINDING),
                role_ref: role("Role", NAME),
                subjects: Some(vec![control_plane(mesh)]),
            };
            [
                Manifest::new(object::ROLE, &Role { metadata: meta(object::ROLE), rules: Some(rules) }),
                Manifest::new(object::ROLE_BINDING, &binding),
            ]
        })
        .collect()
}
