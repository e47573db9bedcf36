//! Clusters made by kind, where a container engine answers: the workflow that many users have.
//!
//! `kind` is asked for a cluster with a configuration of ours, or with that of `ISTHMUS_KIND_CONFIG`, whose
//! nodes then count. It has no load balancer, so ours runs on this machine beside each cluster, which takes
//! root. All of it goes with its value.

use std::{
    fmt::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{
    addresses::{Block, ClusterAddresses, SETS, SetAddresses},
    command::{output, words},
};

/// How long the nodes may take.
const UP: &str = "--wait=180s";

/// A cluster of kind.
#[derive(Debug)]
pub(super) struct Kind {
    name: String,
    directory: TempDir,
    balanced: Block,
    balancer: Option<Child>,
}

impl Kind {
    /// Makes the cluster with this number, counted from 0.
    pub(super) fn create(index: u8, nodes: u8, programs: &Path) -> Result<Self> {
        // The last set of addresses is used by no cluster of the local provider that tests bring up first.
        let addresses = SetAddresses(SETS - 1).cluster(index);
        let mut cluster = Self {
            name: format!("isthmus-{}", index + 1),
            directory: tempfile::tempdir()?,
            balanced: addresses.balanced(),
            balancer: None,
        };
        let given = std::env::var_os("ISTHMUS_KIND_CONFIG").map(PathBuf::from);
        let configuration = cluster.directory.path().join("kind.yaml");
        std::fs::write(&configuration, configured(addresses, nodes))?;
        let configuration = given.unwrap_or(configuration);
        let mut kind = Command::new("kind");
        kind.args(["create", "cluster", UP, "--name", &cluster.name, "--config"]).arg(configuration);
        output(kind.arg("--kubeconfig").arg(cluster.kubeconfig()))
            .context("kind and a container engine are needed")?;
        cluster.balance(programs)?;
        Ok(cluster)
    }

    /// A kubeconfig with this cluster alone.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Its context there.
    pub(super) fn context(&self) -> String {
        format!("kind-{}", self.name)
    }

    /// An address that a LoadBalancer service may ask for.
    pub(super) fn spare_address(&self) -> Ipv4Addr {
        self.balanced.at(4000)
    }

    /// Makes the images of an archive known to every node of the cluster `name`.
    pub(super) fn load(name: &str, archive: &Path) -> Result<()> {
        let mut kind = Command::new("kind");
        output(kind.args(["load", "image-archive", "--name", name]).arg(archive)).map(drop)
    }

    /// What kind calls it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a range of addresses to the first node, and gives them to Services.
    fn balance(&mut self, programs: &Path) -> Result<()> {
        let node = format!("{}-control-plane", self.name);
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let node = output(Command::new("docker").args(["inspect", "-f", address, &node]))?;
        words(&format!("ip route replace {} via {}", self.balanced, node.trim()))?;
        let mut balancer = Command::new(programs.join("load-balancer"));
        balancer.arg(format!("--kubeconfig={}", self.kubeconfig().display()));
        balancer.arg(format!("--range={}", self.balanced)).stdin(Stdio::null()).stderr(Stdio::null());
        self.balancer = Some(balancer.spawn().context("starting the load balancer")?);
        Ok(())
    }
}

impl Drop for Kind {
    #[allow(clippy::print_stderr, reason = "there is nobody to return an error to")]
    fn drop(&mut self) {
        if let Some(balancer) = &mut self.balancer {
            let _ = balancer.kill();
            let _ = balancer.wait();
        }
        // There is none when the cluster did not come up.
        let _ = words(&format!("ip route del {}", self.balanced));
        if let Err(error) = words(&format!("kind delete cluster --name {}", self.name)) {
            eprintln!("test clusters: {error:#}");
        }
    }
}

fn configured(addresses: ClusterAddresses, nodes: u8) -> String {
    let mut text = format!(
        "kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking:
  podSubnet: {}
  serviceSubnet: {}
nodes:
- role: control-plane
",
        addresses.pods(),
        addresses.services(),
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
        let text = configured(SetAddresses(SETS - 1).cluster(0), 3);
        assert_eq!(text.matches("role: worker").count(), 2, "{text}");
        assert!(text.contains("podSubnet: 10.184.0.0/17"), "{text}");
    }
}
