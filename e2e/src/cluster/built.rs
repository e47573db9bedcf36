//! The programs that clusters are made of, built from the Go modules of `e2e/cluster`.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::command::output;
use crate::{
    cache::{self, GoBuild, Recipe},
    image::{self, Image},
};

/// The image that holds a pod's namespaces.
pub const PAUSE: &str = "isthmus.dev/pause:1";
/// The image of the cluster's name server.
pub const COREDNS: &str = "isthmus.dev/coredns:1";

/// The oldest Go that builds Kubernetes.
const GO: &str = "1.26";

/// The names that the Kubernetes program acts by.
const COMPONENTS: [&str; 8] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "load-balancer",
];

/// Where the built programs are: `bin/`, `cni/` and `images.tar`.
///
/// # Errors
/// When a build fails.
pub fn programs() -> Result<PathBuf> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
    let recipe = Recipe { kind: "clusters", sources: &modules, how: include_str!("built.rs"), go: GO };
    cache::built(&recipe, |directory| build(&modules, directory))
}

fn build(modules: &Path, directory: &Path) -> Result<()> {
    let (bin, cni) = (directory.join("bin"), directory.join("cni"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(&cni)?;
    kubernetes(&modules.join("kube"), &bin)?;
    tools(&modules.join("containerd"), &["-tags", "no_btrfs no_zfs no_devmapper"], &bin)?;
    tools(&modules.join("cni"), &[], &cni)?;
    tools(&modules.join("coredns"), &[], &bin)?;
    tools(&modules.join("helm"), &[], &bin)?;
    let mut cc = Command::new("cc");
    cc.args(["-static", "-Os", "-s", "-o"]).arg(bin.join("pause")).arg(modules.join("pause/pause.c"));
    output(&mut cc)?;
    let one = |name: &str, program: &str| Image {
        name: name.to_owned(),
        entrypoint: vec![format!("/{program}")],
        files: [(program.to_owned(), bin.join(program))].into(),
        ..Image::default()
    };
    image::write(&[one(PAUSE, "pause"), one(COREDNS, "coredns")], &directory.join("images.tar"))
}

fn kubernetes(module: &Path, bin: &Path) -> Result<()> {
    let flags = kubernetes_flags(&cache::required(module, "k8s.io/kubernetes")?);
    let arguments = ["build", "-ldflags", &flags];
    GoBuild { module, version: GO, arguments: &arguments, package: ".", cgo: true }
        .run(&bin.join("kube"))?;
    for component in COMPONENTS {
        symlink("kube", bin.join(component))?;
    }
    Ok(())
}

/// Builds all tools of a module.
fn tools(module: &Path, flags: &[&str], to: &Path) -> Result<()> {
    let arguments = [&["build", "-ldflags", "-s -w"], flags].concat();
    GoBuild { module, version: GO, arguments: &arguments, package: "tool", cgo: false }.run(to)
}

/// Makes Kubernetes tell its version as its own builds do.
fn kubernetes_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let base = "k8s.io/component-base/version";
    format!(
        "-s -w -X k8s.io/client-go/pkg/version.gitVersion={version} -X {base}.gitVersion={version} \
         -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
    )
}
