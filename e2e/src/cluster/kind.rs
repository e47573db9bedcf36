//! Clusters made by kind, where a container engine answers: the workflow that many users have.
//!
//! `kind` is asked for clusters with a configuration of ours, or with that of `ISTHMUS_KIND_CONFIG`, whose
//! nodes then count. It has no load balancer, so ours runs on this machine beside each cluster, which takes
//! root. The names of clusters that are made are kept beside the set's state, so that whoever claims its
//! number next deletes those of a killed owner, and no others.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    Cluster, Images,
    addresses::{ClusterAddresses, SetAddresses},
    cgroup,
    claim::{Claim, ROUTES},
    command::{output, words},
    supervisor::{Request, Set, copy_all},
};

/// How long the nodes may take.
const UP: &str = "--wait=180s";
/// Below a set's state: the names of its clusters, each before it is made.
const MADE: &str = "kind";
/// What stands for a cluster's pods and services in a configuration that is given.
const PLACES: [&str; 2] = ["POD_SUBNET", "SERVICE_SUBNET"];

/// A set of clusters of kind.
pub(super) struct OfKind {
    number: u8,
    directory: PathBuf,
    programs: PathBuf,
    balancers: Vec<Child>,
}

impl Set for OfKind {
    fn bring_up(&mut self, request: Request) -> Result<Vec<Cluster>> {
        (0..request.clusters).map(|index| self.create(index, request.nodes)).collect()
    }

    fn keep_logs(&self, to: &Path) -> Result<()> {
        copy_all(&self.directory.join("log"), to)?;
        for name in made(&self.directory)? {
            let mut kind = Command::new("kind");
            output(kind.args(["export", "logs", "--name", &name]).arg(to.join(&name)))?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        for mut balancer in self.balancers.drain(..) {
            // It takes its routes along. It may be gone already.
            if let Some(pid) = i32::try_from(balancer.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
            balancer.wait()?;
        }
        Ok(())
    }
}

impl OfKind {
    pub(super) fn new(claim: &Claim, programs: &Path) -> Self {
        Self {
            number: claim.number(),
            directory: claim.directory().to_owned(),
            programs: programs.join("bin"),
            balancers: Vec::new(),
        }
    }

    fn create(&mut self, index: u8, nodes: u8) -> Result<Cluster> {
        let name = format!("{}-{}", cgroup::name(self.number), index + 1);
        let addresses = SetAddresses(self.number).cluster(index);
        let there = words("kind get clusters").context("kind and a container engine are needed")?;
        if there.lines().any(|one| one == name) {
            bail!("a cluster of kind is called {name} and was not made here: delete it, or rename it");
        }
        let mut made = File::options().create(true).append(true).open(self.directory.join(MADE))?;
        writeln!(made, "{name}")?;
        let configuration = self.directory.join(format!("{name}.yaml"));
        fs::write(&configuration, configured(addresses, nodes)?)?;
        let kubeconfig = kubeconfig(&self.directory, &name);
        let mut kind = Command::new("kind");
        // What did not come up stays for its logs, until it is cleared.
        kind.args(["create", "cluster", UP, "--retain", "--name", &name]);
        output(kind.arg("--config").arg(configuration).arg("--kubeconfig").arg(&kubeconfig))?;
        self.balance(&name, addresses, &kubeconfig)?;
        Ok(Cluster {
            context: format!("kind-{name}"),
            kubeconfig,
            programs: self.programs.clone(),
            images: Images::Kind(name),
            spare_address: Some(addresses.spare()),
        })
    }

    /// Sends a range of addresses to the first node, and gives them to Services.
    fn balance(&mut self, name: &str, addresses: ClusterAddresses, kubeconfig: &Path) -> Result<()> {
        let node = format!("{name}-control-plane");
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let node = output(Command::new("docker").args(["inspect", "-f", address, &node]))?;
        words(&format!("ip route replace {} via {} {ROUTES}", addresses.balanced(), node.trim()))?;
        let logs = self.directory.join("log");
        fs::create_dir_all(&logs)?;
        let log = File::create(logs.join(format!("load-balancer-{name}.log")))?;
        let mut balancer = Command::new("setpriv");
        balancer.args(["--pdeathsig", "TERM"]).arg(self.programs.join("load-balancer"));
        balancer.arg(format!("--kubeconfig={}", kubeconfig.display()));
        balancer.arg(format!("--range={}", addresses.balanced()));
        balancer.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.balancers.push(balancer.spawn().context("starting the load balancer")?);
        Ok(())
    }
}

/// Where the kubeconfig of the cluster `name` is, which has that cluster alone.
fn kubeconfig(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.kubeconfig"))
}

/// The clusters of the set whose state is in `directory`.
fn made(directory: &Path) -> Result<Vec<String>> {
    let list = directory.join(MADE);
    if !list.exists() {
        return Ok(Vec::new());
    }
    Ok(fs::read_to_string(list)?.lines().map(str::to_owned).collect())
}

/// Deletes the clusters of the set whose state is in `directory`.
pub(super) fn delete(directory: &Path) -> Result<()> {
    for name in made(directory)? {
        let mut kind = Command::new("kind");
        kind.args(["delete", "cluster", "--name", &name, "--kubeconfig"]);
        output(kind.arg(kubeconfig(directory, &name)))?;
    }
    Ok(())
}

/// Makes the images of an archive known to every node of the cluster `name`.
pub(super) fn load(name: &str, archive: &Path) -> Result<()> {
    let mut kind = Command::new("kind");
    output(kind.args(["load", "image-archive", "--name", name]).arg(archive)).map(drop)
}

/// The configuration of a cluster: the one that is given, or ours.
fn configured(addresses: ClusterAddresses, nodes: u8) -> Result<String> {
    match std::env::var_os("ISTHMUS_KIND_CONFIG").map(PathBuf::from) {
        Some(given) => {
            let text = fs::read_to_string(&given).with_context(|| given.display().to_string())?;
            Ok(with_addresses(&text, addresses))
        }
        None => Ok(with_addresses(&ours(nodes), addresses)),
    }
}

fn with_addresses(text: &str, addresses: ClusterAddresses) -> String {
    let [pods, services] = PLACES;
    let text = text.replace(pods, &addresses.pods().to_string());
    text.replace(services, &addresses.services().to_string())
}

fn ours(nodes: u8) -> String {
    let [pods, services] = PLACES;
    let mut text = format!(
        "kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  podSubnet: {pods}
  serviceSubnet: {services}
nodes:
- role: control-plane
",
    );
    for _ in 1..nodes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- role: worker");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_the_nodes_that_are_asked_for() {
        let text = with_addresses(&ours(3), SetAddresses(15).cluster(0));
        assert_eq!(text.matches("role: worker").count(), 2, "{text}");
        assert!(text.contains("podSubnet: 10.184.0.0/17"), "{text}");
    }

    #[test]
    fn the_configuration_of_the_page_is_ours_and_more() {
        let page = include_str!("../../../docs/test-clusters.md");
        let block = page.split("```yaml kind.yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        let given = block.unwrap();
        for line in ours(2).lines() {
            assert!(given.lines().any(|one| one == line), "{line} is not in\n{given}");
        }
        let used = with_addresses(given, SetAddresses(15).cluster(1));
        assert!(used.contains("podSubnet: 10.185.0.0/17"), "{used}");
        assert!(!PLACES.iter().any(|place| used.contains(place)), "{used}");
    }
}
