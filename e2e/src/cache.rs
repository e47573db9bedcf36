//! What is built once and kept outside of the checkout: programs of Go modules that pin everything by
//! go.sum, found again by a hash of those modules.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::{cluster::command::output, image::hex};

/// Where built programs and the state of running clusters are kept.
///
/// # Errors
/// When there is neither `XDG_CACHE_HOME` nor `HOME`.
pub fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("isthmus"))
}

/// A directory with what `build` makes of `sources`; it is called when nobody has built that yet, with an
/// empty directory to fill.
///
/// # Errors
/// When a build fails, for instance because there is no Go.
pub fn built(kind: &str, sources: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let directory = cache()?.join(kind).join(hash(sources)?);
    if directory.is_dir() {
        return Ok(directory);
    }
    std::fs::create_dir_all(cache()?.join(kind))?;
    // Who comes second waits for the first and finds its work.
    let lock = File::create(directory.with_extension("lock"))?;
    lock.lock()?;
    if !directory.is_dir() {
        let unfinished = directory.with_extension("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)?;
        }
        std::fs::create_dir_all(&unfinished)?;
        build(&unfinished)?;
        std::fs::rename(unfinished, &directory)?;
    }
    Ok(directory)
}

/// One build with Go.
#[derive(Debug, Clone, Copy)]
pub struct GoBuild<'a> {
    /// The directory of the module.
    pub module: &'a Path,
    /// The oldest Go that can build it.
    pub version: &'a str,
    /// `build`, or `test -c`, with flags.
    pub arguments: &'a [&'a str],
    /// What to build: a package, or `tool` for the tools of the module.
    pub package: &'a str,
    /// Whether C is linked.
    pub cgo: bool,
}

impl GoBuild<'_> {
    /// Builds into a file, or into a directory that is there.
    ///
    /// # Errors
    /// When Go is not there or fails.
    #[allow(
        clippy::print_stderr,
        reason = "a cold build takes minutes, and who waits wants to know why"
    )]
    pub fn run(&self, to: &Path) -> Result<()> {
        let name = self.module.file_name().unwrap_or_default().to_string_lossy();
        eprintln!("building {name} (once; minutes when nothing is cached)");
        let mut command = Command::new("nice");
        command.args(["-n", "5"]).arg(go(self.version)?).args(self.arguments);
        command.arg("-o").arg(to).arg(self.package).current_dir(self.module);
        command.env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false").env("GOTOOLCHAIN", "local");
        command.env("CGO_ENABLED", if self.cgo { "1" } else { "0" });
        output(&mut command).map(drop)
    }
}

/// A Go command of at least this version.
fn go(version: &str) -> Result<PathBuf> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/go");
    Ok(PathBuf::from(output(Command::new(tool).arg(version))?.trim()))
}

/// Where the files of a dependency of `module` are.
///
/// # Errors
/// When it is none.
pub fn dependency(module: &Path, version: &str, name: &str) -> Result<PathBuf> {
    let mut command = Command::new(go(version)?);
    command.args(["mod", "download", "-json"]).arg(format!("{name}@{}", required(module, name)?));
    command.current_dir(module).env("GOTOOLCHAIN", "local");
    let downloaded: serde_json::Value = serde_json::from_str(&output(&mut command)?)?;
    let directory = downloaded.get("Dir").and_then(serde_json::Value::as_str);
    Ok(PathBuf::from(directory.context("the Go module cache has no such directory")?))
}

/// The version at which `module` requires `dependency`.
///
/// # Errors
/// When it does not.
pub fn required(module: &Path, dependency: &str) -> Result<String> {
    let text = std::fs::read_to_string(module.join("go.mod"))?;
    let mut lines = text.lines().map(|line| line.trim().trim_start_matches("require "));
    let version = lines.find_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == dependency).and(words.next())
    });
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
            let list = if entry.file_type()?.is_dir() { &mut pending } else { &mut files };
            list.push(entry.path());
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("nothing to build in {}", directory.display());
    }
    for file in files {
        let bytes = std::fs::read(&file)?;
        hash.update(file.strip_prefix(directory)?.as_os_str().as_encoded_bytes());
        hash.update(u64::try_from(bytes.len())?.to_be_bytes());
        hash.update(bytes);
    }
    let mut digest = hex(&hash.finalize());
    digest.truncate(16);
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_required_version_is_that_of_this_very_module() {
        let module = tempfile::tempdir().unwrap();
        let text =
            "module m\n\nrequire (\n\ta.b/c/e v2.0.0\n\ta.b/c v1.2.3\n\ta.b/d v0.1.0 // indirect\n)\n";
        std::fs::write(module.path().join("go.mod"), text).unwrap();
        assert_eq!(required(module.path(), "a.b/c").unwrap(), "v1.2.3");
        assert_eq!(required(module.path(), "a.b/d").unwrap(), "v0.1.0");
        assert!(required(module.path(), "a.b/e").is_err());
    }

    #[test]
    fn what_is_built_is_built_once_for_equal_sources() {
        let sources = tempfile::tempdir().unwrap();
        std::fs::write(sources.path().join("file"), "one").unwrap();
        let first = hash(sources.path()).unwrap();
        assert_eq!(first, hash(sources.path()).unwrap());
        std::fs::write(sources.path().join("file"), "two").unwrap();
        assert_ne!(first, hash(sources.path()).unwrap());
    }
}
