//! `isthmus uninstall`: ends the mesh of a cluster, in order.

use std::{collections::BTreeMap, fmt::Display, time::Duration};

use clap::Args;
use isthmus_api_server::Client;
use isthmus_operator::{
    apply::{apply, delete},
    object::{self, ObjectKey},
    plan::plan,
    uninstall,
};
use tokio::time::{Instant, sleep};

use super::{
    Cluster,
    install::{self, look, steps},
};
use crate::{failure::Failure, output::print};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// End the mesh of a Kubernetes cluster: proxies drain, then everything that Isthmus made goes.
///
/// Gateways, routes and definitions stay, as they are yours. Works where the operator is gone, too.
#[derive(Args)]
pub(crate) struct Uninstall {
    #[command(flatten)]
    cluster: Cluster,
    /// Print the first steps, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// For how many seconds to wait until all is gone.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u64,
}

impl Uninstall {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let observed = look(&client).await?;
        install::all_is_known(&observed)?;
        let Some(mesh) = observed.install() else { return print("there is no MeshInstall\n") };
        let name = mesh.metadata.name.clone().unwrap_or_default();
        if self.dry_run {
            return print(&steps(&uninstall::plan(&mesh, &observed)));
        }
        let key = ObjectKey::new(object::MESH_INSTALL, "", &name);
        delete(&client, &key).await.map_err(|error| Failure::internal(&error))?;
        self.wait(&client, &name).await
    }

    /// Waits until the MeshInstall of this name is gone.
    async fn wait(&self, client: &Client, name: &str) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(self.wait);
        let mut failures = BTreeMap::new();
        loop {
            let mut observed = look(client).await?;
            observed.failures.clone_from(&failures);
            let left =
                observed.installs().into_iter().find(|one| one.metadata.name.as_deref() == Some(name));
            let Some(mesh) = left else { return print("the mesh is gone\n") };
            if Instant::now() >= until {
                return Err(Failure::Unhealthy(format!("the mesh is not gone yet{}", told(&failures))));
            }
            // The operator does the same, where there is one: a step that was done already does nothing.
            let next = plan(&mesh, &observed);
            if mesh.metadata.deletion_timestamp.is_some() && !next.steps.is_empty() {
                print(&steps(&next))?;
                failures = apply(client, &next, &|| true).await.failures;
            }
            sleep(LOOK).await;
        }
    }
}

/// What could not be done when it was tried last.
fn told(failures: &BTreeMap<ObjectKey, impl Display>) -> String {
    let lines = failures.iter().map(|(key, error)| format!("\n{key}: {error}"));
    lines.collect()
}
