//! What a person finds on clusters of `make clusters`, and in the shell that is told of them: all that
//! docs/kubernetes.md takes for granted. The test of that page uses exactly this.

use std::{io::ErrorKind, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    cluster::{Cluster, built},
    conformance,
    product::{VERSION, write_images},
    programs,
};

/// The version that the page tries beside the mesh's own; both are what was built here.
const NEXT: &str = "0.2.0";

/// The programs that the page runs.
const PROGRAMS: [&str; 2] = ["kubectl", "helm"];

/// Puts images of what was built here, and the definitions of Gateway API, onto `clusters`.
///
/// # Errors
/// When something was not built, or a cluster does not take it.
pub fn furnish(clusters: &[Cluster]) -> Result<()> {
    for version in [VERSION, NEXT] {
        let directory = programs().join("../images").join(version);
        for archive in write_images(&programs(), &directory, version)? {
            clusters.iter().try_for_each(|cluster| cluster.load(&archive))?;
        }
    }
    clusters.iter().try_for_each(|cluster| conformance::define(cluster, "standard"))
}

/// The lines that tell a shell of clusters. Programs are linked into `directory`, and nothing else that could
/// hide a person's own.
///
/// # Errors
/// When something was not built.
pub fn exports(kubeconfig: &Path, directory: &Path) -> Result<String> {
    std::fs::create_dir_all(directory)?;
    let tools = built::programs()?.join("bin");
    for name in PROGRAMS {
        link(&tools.join(name), &directory.join(name))?;
    }
    link(&programs().canonicalize()?.join("isthmus"), &directory.join("isthmus"))?;
    Ok(format!("export KUBECONFIG={}\nexport PATH={}:$PATH\n", quoted(kubeconfig)?, quoted(directory)?))
}

fn link(program: &Path, at: &Path) -> Result<()> {
    match std::fs::remove_file(at) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(std::os::unix::fs::symlink(program, at)?),
    }
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().context("a path that is not text")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    Ok(if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_by_a_shell_as_it_is() {
        for path in ["/home/x_y/.cache-1", "/home/it's me/$HOME"] {
            let script = format!("printf %s {}", quoted(Path::new(path)).unwrap());
            let printed = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(printed.stdout, path.as_bytes());
        }
    }
}
