//! Real Kubernetes clusters for tests, and for people who want to try something. A test asks for clusters
//! and does not know which provider gave them; `ISTHMUS_CLUSTERS` says which one does:
//!
//! - `local` (default): clusters on this machine, made of Go modules and network namespaces, as root and
//!   without a container engine;
//! - `kind`: clusters by kind, where a container engine answers;
//! - `existing:CONTEXT,CONTEXT`: clusters that are there, by the contexts of the usual kubeconfig.
//!
//! What is made is kept by a process of its own ([`supervisor`]), which ends with its owner, however that ends.

pub mod addresses;
pub mod built;
mod cgroup;
pub mod claim;
pub mod command;
mod kind;
mod local;
pub mod pki;
pub mod sandbox;
pub mod settings;
pub mod supervisor;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use self::{
    command::{fed, output},
    supervisor::Ready,
};

/// Who gives clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Provider {
    /// They are made on this machine.
    Local,
    /// kind makes them.
    Kind,
    /// They are there, by these contexts.
    Existing(Vec<String>),
}

/// Some clusters. Those that were made for this value go down with it, or with its process.
#[derive(Debug)]
pub struct Clusters {
    all: Vec<Cluster>,
    supervisor: Option<Child>,
    /// Where the kubeconfigs of clusters are that were there.
    _kubeconfigs: Option<TempDir>,
}

/// One cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    context: String,
    kubeconfig: PathBuf,
    programs: PathBuf,
    images: Images,
    spare_address: Option<Ipv4Addr>,
}

/// How images come to the nodes of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Images {
    /// By the first process of each node.
    Imported(Vec<i32>),
    /// By kind, for the cluster that it calls so.
    Kind(String),
    /// They are pulled from where they were put.
    Pulled,
}

impl Provider {
    /// The one that `ISTHMUS_CLUSTERS` names.
    ///
    /// # Errors
    /// When it names none.
    pub fn wanted() -> Result<Self> {
        let named = std::env::var("ISTHMUS_CLUSTERS").unwrap_or_else(|_| "local".to_owned());
        match named.split_once(':') {
            None if named == "local" => Ok(Self::Local),
            None if named == "kind" => Ok(Self::Kind),
            Some(("existing", contexts)) => {
                Ok(Self::Existing(contexts.split(',').map(str::to_owned).collect()))
            }
            _ => bail!("ISTHMUS_CLUSTERS={named:?} is not `local`, `kind` or `existing:CONTEXT,...`"),
        }
    }
}

/// Brings up `clusters` clusters with `nodes` nodes each; existing ones are taken as they are.
///
/// # Errors
/// When the provider cannot give them.
pub fn up(clusters: u8, nodes: u8) -> Result<Clusters> {
    // Built here, so that who waits for minutes is told why.
    let programs = built::programs()?.join("bin");
    if let Provider::Existing(contexts) = Provider::wanted()? {
        return existing(clusters, &contexts, &programs);
    }
    let mut command = supervise(clusters, nodes);
    let mut supervisor = command.stdin(Stdio::piped()).spawn().context("starting the supervisor")?;
    let ready = announced(&mut supervisor)?;
    Ok(Clusters { all: ready.clusters, supervisor: Some(supervisor), _kubeconfigs: None })
}

/// The command that keeps a set of clusters. A session of its own keeps a terminal's interrupt from ending
/// it before it has cleaned up.
pub fn supervise(clusters: u8, nodes: u8) -> Command {
    let mut command = Command::new("setsid");
    command.arg(crate::programs().join("clusters")).arg("serve");
    command.args([format!("--clusters={clusters}"), format!("--nodes={nodes}")]).stdout(Stdio::piped());
    command
}

/// What a supervisor that was just started says when its clusters are ready.
///
/// # Errors
/// When it ended instead.
pub fn announced(supervisor: &mut Child) -> Result<Ready> {
    let said = supervisor.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(said).read_line(&mut line)?;
    if line.is_empty() {
        bail!("the clusters did not come up: {}", supervisor.wait()?);
    }
    Ok(serde_json::from_str(&line)?)
}

/// Clusters that are there. Each gets a kubeconfig with its context alone, so that no program acts on the
/// context that happens to be the current one.
fn existing(clusters: u8, contexts: &[String], programs: &Path) -> Result<Clusters> {
    if contexts.len() < usize::from(clusters) {
        bail!("{clusters} clusters are needed, ISTHMUS_CLUSTERS names {}", contexts.len());
    }
    let kubeconfigs = tempfile::tempdir()?;
    let mut all = Vec::new();
    for (number, context) in contexts.iter().enumerate() {
        let kubeconfig = kubeconfigs.path().join(format!("{number}.kubeconfig"));
        write_private(&kubeconfig, &only(context, Command::new(programs.join("kubectl")))?)?;
        all.push(Cluster {
            context: context.clone(),
            kubeconfig,
            programs: programs.to_owned(),
            images: Images::Pulled,
            spare_address: None,
        });
    }
    Ok(Clusters { all, supervisor: None, _kubeconfigs: Some(kubeconfigs) })
}

/// A kubeconfig with this context alone, out of all that kubectl reads.
fn only(context: &str, mut kubectl: Command) -> Result<String> {
    kubectl.args(["config", "view", "--minify", "--flatten", "--raw", "--context", context]);
    output(&mut kubectl)
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

impl Clusters {
    /// The process that keeps clusters which were made for this value.
    pub fn supervisor(&self) -> Option<u32> {
        self.supervisor.as_ref().map(Child::id)
    }

    /// The clusters, in order.
    pub fn all(&self) -> &[Cluster] {
        &self.all
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        let Some(supervisor) = &mut self.supervisor else { return };
        if let Some(mut stdin) = supervisor.stdin.take()
            && !std::thread::panicking()
        {
            // Without this word it keeps the logs.
            let _ = stdin.write_all(supervisor::DOWN.as_bytes());
        }
        // It says itself what went wrong.
        let _ = supervisor.wait();
    }
}

impl Cluster {
    /// Its context in [`Self::kubeconfig`].
    pub fn context(&self) -> &str {
        &self.context
    }

    /// A kubeconfig that has this cluster alone, as an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// An address that a LoadBalancer service of this cluster may ask for, where that is known.
    pub fn spare_address(&self) -> Option<Ipv4Addr> {
        self.spare_address
    }

    /// A command with this cluster's kubeconfig and context: `kubectl` or `helm`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env("KUBECONFIG", &self.kubeconfig);
        let flag = if program == "helm" { "--kube-context" } else { "--context" };
        command.args([flag, &self.context]);
        command
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.command("kubectl").args(arguments))
    }

    /// Applies manifests, by server-side apply.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        fed(self.command("kubectl").args(arguments), manifests.as_bytes()).map(drop)
    }

    /// Runs helm and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        output(self.command("helm").args(arguments))
    }

    /// Makes the images of an OCI archive known to every node. A cluster that we did not make pulls its
    /// images itself.
    ///
    /// # Errors
    /// When a node does not take them.
    pub fn load(&self, archive: &Path) -> Result<()> {
        match &self.images {
            Images::Imported(nodes) => {
                let bytes = std::fs::read(archive).with_context(|| archive.display().to_string())?;
                nodes.iter().try_for_each(|node| local::import(*node, &bytes))
            }
            Images::Kind(name) => kind::load(name, archive),
            Images::Pulled => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_cluster_is_reached_by_its_context_alone() {
        let directory = tempfile::tempdir().unwrap();
        let authority = pki::Authority::new().unwrap();
        let file = |context: &str, last: u8| {
            let client = authority.client("admin", None).unwrap();
            let kubeconfig = authority.kubeconfig(context, Ipv4Addr::new(192, 0, 2, last), &client);
            let path = directory.path().join(context);
            std::fs::write(&path, kubeconfig.to_string()).unwrap();
            path.display().to_string()
        };
        let mut kubectl = Command::new(built::programs().unwrap().join("bin/kubectl"));
        kubectl.env("KUBECONFIG", [file("current", 1), file("named", 2)].join(":"));
        let kubeconfig = only("named", kubectl).unwrap();
        assert!(kubeconfig.contains("current-context: named"), "{kubeconfig}");
        assert!(kubeconfig.contains("https://192.0.2.2:6443"), "{kubeconfig}");
        assert!(!kubeconfig.contains("192.0.2.1:"), "{kubeconfig}");
    }
}
