//! What is built once and kept outside of the checkout: programs of Go modules that pin everything by
//! go.sum, found again by a hash of those modules and of how they are built.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
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

/// What is built, of what, and how. A change of anything here is another build.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// What results are called, as a directory of the cache.
    pub kind: &'a str,
    /// The directory of what is built.
    pub sources: &'a Path,
    /// The text of what builds it.
    pub how: &'a str,
    /// The oldest Go that can build it; it is built by the newest that is there.
    pub go: &'a str,
}

/// A directory with what `build` makes by `recipe`; it is called when nobody has built that yet, with an
/// empty directory to fill. What is used stays as long as this process; of what is not, the newest stays.
///
/// # Errors
/// When a build fails, for instance because there is no Go.
pub fn built(recipe: &Recipe, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let all = cache()?.join(recipe.kind);
    let directory = all.join(hash(recipe, &go_version(recipe.go)?)?);
    std::fs::create_dir_all(&all)?;
    let lock = File::create(directory.with_extension("lock"))?;
    lock.lock_shared()?;
    if !directory.is_dir() {
        // Who comes second waits for the first and finds its work.
        lock.unlock()?;
        lock.lock()?;
        if !directory.is_dir() {
            let unfinished = directory.with_extension("unfinished");
            if unfinished.exists() {
                std::fs::remove_dir_all(&unfinished)?;
            }
            std::fs::create_dir_all(&unfinished)?;
            build(&unfinished)?;
            std::fs::rename(unfinished, &directory)?;
            drop_old(&all)?;
        }
        lock.unlock()?;
        lock.lock_shared()?;
    }
    in_use(lock);
    Ok(directory)
}

/// Keeps a lock until this process ends.
fn in_use(lock: File) {
    static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());
    LOCKS.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
}

/// Removes what nobody uses, but for the one that was used last: a person may go back to it. Locks stay, so
/// that nobody holds one that others do not see.
fn drop_old(all: &Path) -> Result<()> {
    let mut unused = Vec::new();
    for entry in std::fs::read_dir(all)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        let lock = File::open(&path)?;
        let used = lock.metadata()?.modified()?;
        if lock.try_lock().is_err() {
            continue;
        }
        let unfinished = path.with_extension("unfinished");
        if unfinished.is_dir() {
            std::fs::remove_dir_all(unfinished)?;
        }
        let finished = path.with_extension("");
        if finished.is_dir() {
            unused.push((used, finished, lock));
        }
    }
    unused.sort_by_key(|(used, ..)| *used);
    unused.pop();
    unused.iter().try_for_each(|(_, directory, _)| {
        // What is half removed must not look finished.
        let going = directory.with_extension("unfinished");
        std::fs::rename(directory, &going)?;
        Ok(std::fs::remove_dir_all(going)?)
    })
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

/// The version and the platform of that command, as it says them.
fn go_version(version: &str) -> Result<String> {
    static KNOWN: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(said) = known.get(version) {
        return Ok(said.clone());
    }
    let said = output(Command::new(go(version)?).arg("version").env("GOTOOLCHAIN", "local"))?;
    known.insert(version.to_owned(), said.clone());
    Ok(said)
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

/// A hash of all that a result depends on; `go` is what Go says of itself.
fn hash(recipe: &Recipe, go: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for text in [recipe.how, go, std::env::consts::ARCH] {
        add(&mut hash, text.as_bytes())?;
    }
    add_files(&mut hash, recipe.sources)?;
    let mut digest = hex(&hash.finalize());
    digest.truncate(16);
    Ok(digest)
}

fn add(hash: &mut Sha256, bytes: &[u8]) -> Result<()> {
    hash.update(u64::try_from(bytes.len())?.to_be_bytes());
    hash.update(bytes);
    Ok(())
}

/// Adds all files below `directory`, names included.
fn add_files(hash: &mut Sha256, directory: &Path) -> Result<()> {
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
        add(hash, file.strip_prefix(directory)?.as_os_str().as_encoded_bytes())?;
        add(hash, &std::fs::read(&file)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

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
    fn a_change_of_sources_or_of_how_they_are_built_is_another_build() {
        let sources = tempfile::tempdir().unwrap();
        std::fs::write(sources.path().join("file"), "one").unwrap();
        let recipe = Recipe { kind: "test", sources: sources.path(), how: "-s -w", go: "1.26" };
        let first = hash(&recipe, "1.26.1").unwrap();
        assert_eq!(first, hash(&recipe, "1.26.1").unwrap());
        assert_ne!(first, hash(&recipe, "1.26.2").unwrap());
        assert_ne!(first, hash(&Recipe { how: "-s", ..recipe }, "1.26.1").unwrap());
        std::fs::write(sources.path().join("file"), "two").unwrap();
        assert_ne!(first, hash(&recipe, "1.26.1").unwrap());
    }

    #[test]
    fn of_old_builds_the_newest_and_those_in_use_stay() {
        let all = tempfile::tempdir().unwrap();
        let build = |name: &str, second: u64| {
            std::fs::create_dir(all.path().join(name)).unwrap();
            let lock = File::create(all.path().join(name).with_extension("lock")).unwrap();
            lock.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
            lock
        };
        let used = build("used", 1);
        used.lock_shared().unwrap();
        drop(build("old", 2));
        drop(build("newest", 3));
        std::fs::create_dir(all.path().join("newest.unfinished")).unwrap();
        drop_old(all.path()).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(all.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["newest", "used"]);
    }
}
