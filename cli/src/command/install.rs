//! `isthmus install`: tells the operator what the mesh is, and waits until it is so.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use isthmus_api_server::Client;
use isthmus_crds::{MeshInstall, MeshInstallSpec};
use isthmus_operator::{
    apply::{apply, write},
    check,
    object::{self, Manifest},
    observe::observe,
    observed::{Observed, Place},
    plan::{Plan, plan, without_install},
};
use tokio::time::{Instant, sleep};

use super::Cluster;
use crate::{failure::Failure, output::print};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Install or change the mesh of a Kubernetes cluster, where the operator runs.
///
/// Prints the plan, which is the operator's own; writes the MeshInstall; and waits until it is in force.
/// Run it again with another file, or another --version, to upgrade.
#[derive(Args)]
#[command(visible_alias = "upgrade")]
pub(crate) struct Install {
    #[command(flatten)]
    cluster: Cluster,
    /// A manifest with a MeshInstall. The default is the one that is there, or an empty one.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The version to run, instead of the manifest's.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Print the plan, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// For how many seconds to wait until it is in force.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u64,
}

impl Install {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let observed = look(&client).await?;
        let (install, manifest) = self.wanted(&observed)?;
        print(&steps(&plan(&install, &observed)))?;
        if self.dry_run {
            return Ok(());
        }
        definitions(&client, &observed).await?;
        let written = write(&client, &manifest).await.map_err(|error| Failure::invalid(&error))?;
        self.wait(&client, written.metadata.generation).await
    }

    /// The MeshInstall as it will be, and what is written for that.
    fn wanted(&self, observed: &Observed) -> Result<(MeshInstall, Manifest), Failure> {
        let there = observed.install();
        let mut install = match (&self.file, &there) {
            (Some(file), _) => read(file)?,
            (None, Some(there)) => there.clone(),
            (None, None) => MeshInstall::new("mesh", MeshInstallSpec::default()),
        };
        if let Some(version) = &self.version {
            install.spec.version = Some(version.clone());
        }
        let name = install.metadata.name.clone().unwrap_or_default();
        let spec = serde_json::json!({ "metadata": { "name": name }, "spec": install.spec });
        let manifest = Manifest::bare(object::MESH_INSTALL, &spec);
        if let Some(there) = there.filter(|there| there.metadata.name.as_deref() == Some(&name)) {
            install.metadata = there.metadata;
            install.status = there.status;
        }
        Ok((install, manifest))
    }

    async fn wait(&self, client: &Client, generation: Option<i64>) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let observed = look(client).await?;
            let found = check::after(&observed);
            let seen =
                observed.install().is_some_and(|install| install.metadata.generation >= generation);
            if found.is_empty() && seen {
                return print("the mesh is as it should be\n");
            }
            if Instant::now() >= until {
                let lines: Vec<String> =
                    found.iter().map(|one| format!("{}: {}", one.code, one.message)).collect();
                return Err(Failure::Unhealthy(lines.join("\n")));
            }
            sleep(LOOK).await;
        }
    }
}

pub(super) async fn look(client: &Client) -> Result<Observed, Failure> {
    observe(client, Place::default()).await.map_err(|error| Failure::internal(&error))
}

fn read(file: &PathBuf) -> Result<MeshInstall, Failure> {
    let text = std::fs::read_to_string(file)?;
    serde_saphyr::from_str(&text)
        .map_err(|error| Failure::Invalid(format!("{}: {error}", file.display())))
}

/// Makes sure that a MeshInstall can be written.
async fn definitions(client: &Client, observed: &Observed) -> Result<(), Failure> {
    let applied = apply(client, &without_install(observed), &|| true).await;
    match applied.failures.into_iter().next() {
        Some((key, error)) => Err(Failure::Internal(format!("{key} cannot be written: {error}"))),
        None => Ok(()),
    }
}

/// A plan as people read it.
pub(super) fn steps(plan: &Plan) -> String {
    let mut text = Vec::new();
    for step in &plan.steps {
        text.push(format!("{} {}\n", step.action.verb(), step.action.key()));
        let fields = step.action.why();
        text.extend(
            fields.split("; ").filter(|field| !field.is_empty()).map(|field| format!("  {field}\n")),
        );
    }
    if text.is_empty() { "nothing to do\n".to_owned() } else { text.concat() }
}
