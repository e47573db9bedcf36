//! `isthmus install`: tells the operator what the mesh is, and waits until it is so.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use isthmus_api_server::Client;
use isthmus_crds::{MeshInstall, MeshInstallSpec};
use isthmus_operator::{
    apply::{apply, write_as},
    check::{self, Finding},
    difference::differences,
    object::{self, Manifest},
    observe::observe,
    observed::Observed,
    place::Place,
    plan::{Plan, plan, without_install},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Cluster;
use crate::{failure::Failure, output::print};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Install or change the mesh of a Kubernetes cluster, where the operator runs.
///
/// Prints the plan, which is the operator's own; writes the MeshInstall; and waits until it is in force.
/// Run it again with another file, or another --version, to upgrade. Where the operator is, and which images it
/// runs, is read from its Deployment.
#[derive(Args)]
#[command(visible_alias = "upgrade")]
pub(crate) struct Install {
    #[command(flatten)]
    cluster: Cluster,
    /// A manifest with a MeshInstall. The default is the one that is there, or an empty one.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The version to run, instead of the manifest's. Without a file it is all that is changed, and stays until
    /// a file is given.
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Print the plan, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// For how many seconds to wait until it is in force.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    wait: u64,
}

/// Who the API server notes as the author of a MeshInstall that was given as a whole.
const AUTHOR: &str = "isthmus";
/// The author of a version that was given without anything else: all other fields stay their authors'.
const AUTHOR_OF_VERSION: &str = "isthmus-version";

/// Findings that keep nothing of the MeshInstall from being in force: they are told, and not waited for.
const OF_OTHERS: &[&str] = &["proxies-not-ready", "revision-not-ready"];

/// What is to be written of a MeshInstall.
struct Change {
    /// The MeshInstall as it will be.
    install: MeshInstall,
    /// What is written for that, one after the other, each by whom.
    writes: Vec<(&'static str, Manifest)>,
}

impl Install {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let observed = look(&client).await?;
        all_is_known(&observed)?;
        let change = self.change(observed.install())?;
        print(&steps(&plan(&change.install, &observed)))?;
        if self.dry_run {
            return Ok(());
        }
        definitions(&client, &observed).await?;
        let mut generation = change.install.metadata.generation;
        let mut last = None;
        for (author, manifest) in &change.writes {
            let written = write_as(&client, author, manifest).await;
            let written = written.map_err(|error| Failure::invalid(&error))?;
            generation = written.metadata.generation;
            last = written.data.get("spec").cloned();
        }
        if let Some(spec) = last.filter(|_| self.file.is_some()) {
            is_as_wanted(&spec, &change.install)?;
        }
        self.wait(&client, generation).await
    }

    /// What is to be written of the MeshInstall, where `there` is the one in force.
    fn change(&self, there: Option<MeshInstall>) -> Result<Change, Failure> {
        match (&self.file, there) {
            (Some(file), there) => self.change_to(file, there),
            (None, Some(there)) => Ok(self.change_of(there)),
            (None, None) => {
                let spec = MeshInstallSpec { version: self.version.clone(), ..<_>::default() };
                let version =
                    self.version.iter().map(|version| ("version".to_owned(), version.clone().into()));
                let written = manifest("mesh", &Value::Object(version.collect()));
                Ok(Change { install: MeshInstall::new("mesh", spec), writes: vec![(AUTHOR, written)] })
            }
        }
    }

    /// The MeshInstall is to be as `file` says.
    fn change_to(&self, file: &Path, there: Option<MeshInstall>) -> Result<Change, Failure> {
        let (mut install, mut spec) = read(file)?;
        let name = install.metadata.name.clone().unwrap_or_default();
        if let Some(version) = &self.version {
            install.spec.version = Some(version.clone());
            if let Some(fields) = spec.as_object_mut() {
                fields.insert("version".to_owned(), version.clone().into());
            }
        }
        let mut writes = vec![(AUTHOR, manifest(&name, &spec))];
        if let Some(there) = there {
            let in_force = there.metadata.name.clone().unwrap_or_default();
            if in_force != name {
                return Err(Failure::Invalid(format!(
                    "{}: MeshInstall {in_force} is there, and a cluster has one mesh: call this one {in_force} \
                     to change it, or uninstall first",
                    file.display()
                )));
            }
            // A version that was given without a file does not outlive what the file says.
            let nothing = Manifest::bare(object::MESH_INSTALL, &json!({ "metadata": { "name": name } }));
            writes.push((AUTHOR_OF_VERSION, nothing));
            install.metadata = there.metadata;
            install.status = there.status;
            count(&mut install, &there.spec);
        }
        Ok(Change { install, writes })
    }

    /// The MeshInstall stays as it is, but for the version where one is given.
    fn change_of(&self, mut install: MeshInstall) -> Change {
        let Some(version) = &self.version else { return Change { install, writes: Vec::new() } };
        let before = install.spec.clone();
        install.spec.version = Some(version.clone());
        count(&mut install, &before);
        let name = install.metadata.name.clone().unwrap_or_default();
        let version = manifest(&name, &json!({ "version": version }));
        Change { install, writes: vec![(AUTHOR_OF_VERSION, version)] }
    }

    async fn wait(&self, client: &Client, generation: Option<i64>) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let observed = look(client).await?;
            let (others, found): (Vec<_>, Vec<_>) =
                check::after(&observed).into_iter().partition(|one| OF_OTHERS.contains(&one.code));
            let seen =
                observed.install().is_some_and(|install| install.metadata.generation >= generation);
            if found.is_empty() && seen {
                let told: String = others.iter().map(line).collect();
                return print(&format!("{told}the mesh is as it should be\n"));
            }
            if Instant::now() >= until {
                return Err(Failure::Unhealthy(lines(&found)));
            }
            sleep(LOOK).await;
        }
    }
}

/// What there is, as the cluster's operator sees it.
pub(super) async fn look(client: &Client) -> Result<Observed, Failure> {
    let place = Place::find(client).await.map_err(|error| Failure::internal(&error))?;
    observe(client, place).await.map_err(|error| Failure::internal(&error))
}

/// Nothing is planned for what cannot be seen as it is.
pub(super) fn all_is_known(observed: &Observed) -> Result<(), Failure> {
    let forbidden: Vec<Finding> = check::forbidden(observed).collect();
    if !forbidden.is_empty() {
        return Err(Failure::Internal(lines(&forbidden)));
    }
    let unreadable: Vec<Finding> = check::unreadable(observed).collect();
    if unreadable.is_empty() { Ok(()) } else { Err(Failure::Invalid(lines(&unreadable))) }
}

/// Findings as people read them, a line each.
pub(super) fn lines(found: &[Finding]) -> String {
    let lines: String = found.iter().map(line).collect();
    lines.trim_end().to_owned()
}

fn line(one: &Finding) -> String {
    format!("{}: {}\n", one.code, one.message)
}

/// What is changed is of another generation, with which the plan tries again what failed before.
fn count(install: &mut MeshInstall, before: &MeshInstallSpec) {
    if install.spec != *before {
        install.metadata.generation = install.metadata.generation.map(|generation| generation + 1);
    }
}

/// Whether what was written is all that there is: fields of other authors stay.
fn is_as_wanted(is: &Value, wanted: &MeshInstall) -> Result<(), Failure> {
    let kept = differences(is, &json!(wanted.spec));
    if kept.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = kept.into_iter().map(|one| format!("spec.{}", one.path)).collect();
    Err(Failure::Invalid(format!(
        "MeshInstall {}: {} stays as others wrote it: give it in the file, or remove it with `kubectl edit`",
        wanted.metadata.name.as_deref().unwrap_or_default(),
        fields.join(", ")
    )))
}

fn manifest(name: &str, spec: &Value) -> Manifest {
    Manifest::bare(object::MESH_INSTALL, &json!({ "metadata": { "name": name }, "spec": spec }))
}

/// The MeshInstall of a file, and its `spec` as it is written there.
fn read(file: &Path) -> Result<(MeshInstall, Value), Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Invalid(format!("{}: {error}", file.display())))?;
    let invalid =
        |error: &dyn std::error::Error| Failure::Invalid(format!("{}: {error}", file.display()));
    let mut written: Value = serde_saphyr::from_str(&text).map_err(|error| invalid(&error))?;
    if written.get("kind").and_then(Value::as_str) != Some(object::MESH_INSTALL.kind) {
        return Err(Failure::Invalid(format!("{}: its kind is not MeshInstall", file.display())));
    }
    if let Some(spec) = written.get("spec").filter(|spec| !spec.is_null()).cloned() {
        let install = serde_saphyr::from_str(&text).map_err(|error| invalid(&error))?;
        return Ok((install, spec));
    }
    if let Some(fields) = written.as_object_mut() {
        fields.insert("spec".to_owned(), json!({}));
    }
    let install = serde_json::from_value(written).map_err(|error| invalid(&error))?;
    Ok((install, json!({})))
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
