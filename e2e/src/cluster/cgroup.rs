//! The control groups of a set of clusters: one below the root for all of it, made before kubelets need it
//! and removed after all processes are gone. Both versions of control groups are known.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::command::eventually;

const ROOT: &str = "/sys/fs/cgroup";

/// The name of a set's group, and of its link on the machine.
pub fn name(set: u8) -> String {
    format!("isthmus{set}")
}

/// The directories below which groups are: one, or one for each controller in version 1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return Ok(vec![PathBuf::from(ROOT)]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(ROOT).context("control groups")? {
        let path = entry?.path();
        if path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Makes a group, given by its path from the root, and those above it.
///
/// # Errors
/// When control groups are not writable.
pub fn create(group: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut path = hierarchy.clone();
        for part in group.split('/').filter(|part| !part.is_empty()) {
            let parent = path.clone();
            path.push(part);
            match std::fs::create_dir(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).context(path.display().to_string());
                }
                _ => inherit(&parent, &path)?,
            }
        }
    }
    Ok(())
}

/// A new group of the cpuset controller has nothing to run on until it is told; in version 2 a group has the
/// controllers that its parent passes on.
fn inherit(parent: &Path, group: &Path) -> Result<()> {
    for setting in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(setting), group.join(setting));
        if from.exists() && to.exists() && std::fs::read_to_string(&to)?.trim().is_empty() {
            std::fs::write(to, std::fs::read(from)?)?;
        }
    }
    let controllers = parent.join("cgroup.controllers");
    if controllers.exists() {
        let all = std::fs::read_to_string(controllers)?;
        let enable: Vec<_> = all.split_whitespace().map(|name| format!("+{name}")).collect();
        std::fs::write(parent.join("cgroup.subtree_control"), enable.join(" "))?;
    }
    Ok(())
}

/// Removes a group with all below it, once its processes have ended.
///
/// # Errors
/// When some process does not end.
pub fn remove(group: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        eventually(Duration::from_secs(20), || remove_tree(&hierarchy.join(group)))?;
    }
    Ok(())
}

fn remove_tree(group: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group).with_context(|| group.display().to_string())
}
