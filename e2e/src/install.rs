//! Installs Isthmus on a cluster the way that a user does: both charts by Helm, then one `MeshInstall`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{
    cluster::Cluster,
    product::{VERSION, write_images},
    programs,
};

/// The namespace of the mesh.
pub const NAMESPACE: &str = "isthmus-system";
/// The class of the Gateways that Isthmus runs.
pub const CLASS: &str = "isthmus";

/// Puts the images of what was built here, tagged with `version`, onto `cluster`.
///
/// # Errors
/// When something was not built, or a node does not take it.
pub fn load_images(cluster: &Cluster, version: &str) -> Result<()> {
    let directory = programs().join("../images").join(version);
    write_images(&programs(), &directory, version)?.iter().try_for_each(|archive| cluster.load(archive))
}

/// Installs what was built here and waits until Gateways can be made. CRDs of Gateway API are the caller's.
///
/// # Errors
/// When a step fails, or when it is not ready in time.
pub fn install(cluster: &Cluster) -> Result<()> {
    load_images(cluster, VERSION)?;
    install_loaded(cluster)
}

/// As [`install`], of images that the nodes have.
///
/// # Errors
/// When a step fails, or when it is not ready in time.
pub fn install_loaded(cluster: &Cluster) -> Result<()> {
    let chart = |name: &str| charts().join(name).display().to_string();
    let namespace = ["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout=2m"];
    let tag = format!("image.tag={VERSION}");
    cluster.helm(
        &[&["upgrade", "--install", "isthmus-crds", &chart("isthmus-crds")], &namespace[..]].concat(),
    )?;
    cluster.helm(
        &[&["upgrade", "--install", "isthmus", &chart("isthmus"), "--set", &tag], &namespace[..]]
            .concat(),
    )?;
    cluster.apply(&mesh_install(cluster.context()))?;
    let class = format!("gatewayclass/{CLASS}");
    cluster.kubectl(&["wait", "--for=create", &class, "--timeout=120s"])?;
    cluster.kubectl(&["wait", "--for=condition=Accepted", &class, "--timeout=120s"])?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "meshinstall/isthmus", "--timeout=120s"])?;
    Ok(())
}

fn charts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts")
}

/// The least that a cluster has to be told: how it is called among others.
fn mesh_install(cluster: &str) -> String {
    format!(
        "apiVersion: isthmus.dev/v1alpha1
kind: MeshInstall
metadata:
  name: isthmus
spec:
  cluster:
    id: {cluster}
"
    )
}
