//! Real Kubernetes clusters for tests, and for people who want to try something. A test asks for clusters
//! and does not know which provider gave them; `ISTHMUS_CLUSTERS` says which one does:
//!
//! - `local` (default): clusters on this machine, made of Go modules and network namespaces, as root and
//!   without a container engine ([`supervisor`]);
//! - `kind`: clusters by kind, where a container engine answers ([`kind`]);
//! - `existing:CONTEXT,CONTEXT`: clusters that are there, by the contexts of the usual kubeconfig.

pub mod addresses;
pub mod built;
mod cgroup;
pub mod command;
mod kind;
pub mod pki;
pub mod sandbox;
pub mod settings;
pub mod supervisor;

use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail};

use self::{
    command::{fed, output},
    kind::Kind,
    supervisor::{Ready, ReadyCluster},
};

/// Some clusters. Those that were made for this value go down with it, or with its process.
#[derive(Debug)]
pub struct Clusters {
    all: Vec<Cluster>,
    supervisor: Option<Child>,
    /// Kept for what happens when they are dropped.
    _kind: Vec<Kind>,
}

/// One cluster.
#[derive(Debug)]
pub struct Cluster {
    context: String,
    kubeconfig: PathBuf,
    programs: PathBuf,
    images: Images,
    spare_address: Option<Ipv4Addr>,
}

/// How images come to the nodes of a cluster.
#[derive(Debug)]
enum Images {
    /// By the first process of each node.
    Imported(Vec<i32>),
    /// By kind, for the cluster that it calls so.
    Kind(String),
    /// They are pulled from where they were put.
    Pulled,
}

/// Two clusters with one node each that all tests of a process share. Tests keep to namespaces of their own.
///
/// # Panics
/// When they do not come up.
#[allow(clippy::panic, reason = "tests fail by panicking")]
pub fn shared() -> &'static [Cluster] {
    static SHARED: OnceLock<Clusters> = OnceLock::new();
    SHARED.get_or_init(|| up(2, 1).unwrap_or_else(|error| panic!("test clusters: {error:#}"))).all()
}

/// Brings up `clusters` clusters with `nodes` nodes each; existing ones are taken as they are.
///
/// # Errors
/// When the provider cannot give them.
pub fn up(clusters: u8, nodes: u8) -> Result<Clusters> {
    let provider = std::env::var("ISTHMUS_CLUSTERS").unwrap_or_else(|_| "local".to_owned());
    match provider.split_once(':') {
        None if provider == "local" => local(clusters, nodes),
        None if provider == "kind" => of_kind(clusters, nodes),
        Some(("existing", contexts)) => existing(clusters, contexts),
        _ => bail!("ISTHMUS_CLUSTERS={provider:?} is not `local`, `kind` or `existing:CONTEXT,...`"),
    }
}

fn local(count: u8, nodes: u8) -> Result<Clusters> {
    // Built here, so that who waits for minutes is told why.
    built::programs()?;
    let mut command = supervise(count, nodes);
    let mut supervisor = command.stdin(Stdio::piped()).spawn().context("starting the supervisor")?;
    let ready = announced(&mut supervisor)?;
    Ok(Clusters { all: clusters(&ready), supervisor: Some(supervisor), _kind: Vec::new() })
}

fn of_kind(count: u8, nodes: u8) -> Result<Clusters> {
    let programs = built::programs()?.join("bin");
    let kind: Vec<Kind> =
        (0..count).map(|index| Kind::create(index, nodes, &programs)).collect::<Result<_>>()?;
    let all = kind
        .iter()
        .map(|made| Cluster {
            context: made.context(),
            kubeconfig: made.kubeconfig(),
            programs: programs.clone(),
            images: Images::Kind(made.name().to_owned()),
            spare_address: Some(made.spare_address()),
        })
        .collect();
    Ok(Clusters { all, supervisor: None, _kind: kind })
}

/// The clusters of a set that is ready.
pub fn clusters(ready: &Ready) -> Vec<Cluster> {
    ready.clusters.iter().map(|cluster| Cluster::new(cluster.clone(), &ready.programs)).collect()
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

fn existing(clusters: u8, contexts: &str) -> Result<Clusters> {
    let programs = built::programs()?.join("bin");
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    let kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from).or(home);
    let kubeconfig = kubeconfig.context("neither KUBECONFIG nor HOME is set")?;
    let all: Vec<Cluster> = contexts
        .split(',')
        .map(|context| Cluster {
            context: context.to_owned(),
            kubeconfig: kubeconfig.clone(),
            programs: programs.clone(),
            images: Images::Pulled,
            spare_address: None,
        })
        .collect();
    if all.len() < usize::from(clusters) {
        bail!("{clusters} clusters are needed, {contexts:?} names {}", all.len());
    }
    Ok(Clusters { all, supervisor: None, _kind: Vec::new() })
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
        if let Some(supervisor) = &mut self.supervisor {
            drop(supervisor.stdin.take());
            // It says itself what went wrong.
            let _ = supervisor.wait();
        }
    }
}

impl Cluster {
    fn new(ready: ReadyCluster, programs: &Path) -> Self {
        let ReadyCluster { name, kubeconfig, nodes, spare_address } = ready;
        let spare_address = Some(spare_address);
        let images = Images::Imported(nodes);
        Self { context: name, kubeconfig, programs: programs.to_owned(), images, spare_address }
    }

    /// Its context in [`Self::kubeconfig`].
    pub fn context(&self) -> &str {
        &self.context
    }

    /// A kubeconfig that has this cluster, as an administrator.
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
                nodes.iter().try_for_each(|node| supervisor::import(*node, &bytes))
            }
            Images::Kind(name) => Kind::load(name, archive),
            Images::Pulled => Ok(()),
        }
    }
}
