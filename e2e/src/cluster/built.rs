//! The programs that clusters are made of: built from the Go modules of `e2e/cluster`, which pin everything
//! by go.sum, and kept outside of the checkout under a hash of those modules.

use std::{
    fs::File,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use super::command::{cache, output};
use crate::image::{self, Image};

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
/// When a build fails, for instance because there is no Go.
pub fn programs() -> Result<PathBuf> {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster");
    let directory = cache()?.join("clusters").join(hash(&modules)?);
    if directory.is_dir() {
        return Ok(directory);
    }
    std::fs::create_dir_all(cache()?.join("clusters"))?;
    // Who comes second waits for the first and finds its work.
    let lock = File::create(directory.with_extension("lock"))?;
    lock.lock()?;
    if !directory.is_dir() {
        build(&modules, &directory)?;
    }
    Ok(directory)
}

fn build(modules: &Path, directory: &Path) -> Result<()> {
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    let (bin, cni) = (unfinished.join("bin"), unfinished.join("cni"));
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(&cni)?;

    let kube = modules.join("kube");
    let version = version(&kube, "k8s.io/kubernetes")?;
    let flags = kubernetes_flags(&version);
    go(&kube, &["-ldflags", &flags, "-o"], &bin.join("kube"), ".", true)?;
    for component in COMPONENTS {
        symlink("kube", bin.join(component))?;
    }
    let small = ["-ldflags", "-s -w", "-o"];
    let containerd = ["-tags", "no_btrfs no_zfs no_devmapper", "-ldflags", "-s -w", "-o"];
    go(&modules.join("containerd"), &containerd, &bin, "tool", false)?;
    go(&modules.join("cni"), &small, &cni, "tool", false)?;
    go(&modules.join("coredns"), &small, &bin, "tool", false)?;
    go(&modules.join("helm"), &small, &bin, "tool", false)?;
    let pause = bin.join("pause");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-Os", "-s", "-o"]).arg(&pause).arg(modules.join("pause/pause.c"));
    output(&mut cc)?;

    let one = |name: &str, program: &str| Image {
        name: name.to_owned(),
        entrypoint: vec![format!("/{program}")],
        files: [(program.to_owned(), bin.join(program))].into(),
        ..Image::default()
    };
    image::write(&[one(PAUSE, "pause"), one(COREDNS, "coredns")], &unfinished.join("images.tar"))?;
    Ok(std::fs::rename(unfinished, directory)?)
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

#[allow(clippy::print_stderr, reason = "a cold build takes minutes, and who waits wants to know why")]
fn go(module: &Path, arguments: &[&str], to: &Path, package: &str, cgo: bool) -> Result<()> {
    let name = module.file_name().unwrap_or_default().to_string_lossy();
    eprintln!("test clusters: building {name} (once; minutes when nothing is cached)");
    let mut command = Command::new("nice");
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/go");
    let go = output(Command::new(tool).arg(GO))?;
    command
        .args(["-n", "5", go.trim(), "build"])
        .args(arguments)
        .arg(to)
        .arg(package)
        .current_dir(module);
    command.env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false");
    command.env("CGO_ENABLED", if cgo { "1" } else { "0" });
    output(&mut command).map(drop)
}

/// The version at which `module` requires `dependency`.
fn version(module: &Path, dependency: &str) -> Result<String> {
    let text = std::fs::read_to_string(module.join("go.mod"))?;
    let mut lines = text.lines().map(str::split_whitespace);
    let version = lines.find_map(|mut words| words.find(|word| *word == dependency).and(words.next()));
    version.map(str::to_owned).with_context(|| format!("{dependency} is not in {}", module.display()))
}

/// A hash of all files below `directory`, names included.
fn hash(directory: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut pending = vec![directory.to_owned()];
    let mut files = Vec::new();
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("no modules in {}", directory.display());
    }
    for file in files {
        let bytes = std::fs::read(&file)?;
        hash.update(file.strip_prefix(directory)?.as_os_str().as_encoded_bytes());
        hash.update(u64::try_from(bytes.len())?.to_be_bytes());
        hash.update(bytes);
    }
    let mut digest = image::hex(&hash.finalize());
    digest.truncate(16);
    Ok(digest)
}
