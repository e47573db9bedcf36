//! The state directory: what one instance keeps on disk, and that it is the only one there.
//!
//! The directory and what is in it are for their owner alone (0700, 0600): it holds the cluster's CA
//! key. Files are replaced as a whole by renaming, so that a crash leaves the old or the new one; a file
//! that cannot be understood is set aside under another name and never deleted. The CA alone is not made anew
//! in its place: its loss is an error that says what to do.
//!
//! | path | what |
//! |---|---|
//! | `lock` | held while an instance runs; its process id |
//! | `control.sock` | for `isthmus get`, `explain`, `peer` |
//! | `xds.sock` | for this instance's proxies |
//! | `cluster.json` | who this cluster is: its id and trust domain |
//! | `ca.json` | the CA's key and root |
//! | `objects.jsonl` | uid, generation, first-seen time and last good version of each object |
//! | `statuses.jsonl` | statuses, and when their conditions changed |
//! | `peers/<cluster>.json` | each peer with what it last exported |
//! | `invites.json` | invitations |
//! | `handles.json` | the key from which names are made by which peers know endpoints of this cluster |
//! | `p/<proxy>/` | what each proxy keeps, and its admin socket |

mod journal;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, de::DeserializeOwned};

pub use journal::Journal;

/// The longest path of a Unix socket, without its final zero.
const SOCKET_PATH: usize = 107;
/// Room for the longest socket name below the directory.
const SOCKET_ROOM: usize = 24;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another instance uses it.
    #[error(
        "another instance runs on the state directory {} (process {pid}); end it, or choose another with \
         --state-dir", path.display()
    )]
    Busy {
        /// The directory.
        path: PathBuf,
        /// The process id of the other one, as it wrote it down.
        pid: String,
    },
    /// Its path is too long for the sockets in it.
    #[error(
        "the path of the state directory {} is too long for sockets in it: at most {} bytes",
        path.display(), SOCKET_PATH - SOCKET_ROOM
    )]
    TooLong {
        /// The directory.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("cannot use the state directory {}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A state directory that this process holds.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Locked for as long as this lives.
    _lock: File,
}

impl StateDir {
    /// Takes the directory at `path`, which is made when it is not there.
    ///
    /// # Errors
    /// When another instance holds it, or it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |source| OpenError::Io { path: path.to_owned(), source };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(fail)?;
        let path = path.canonicalize().map_err(fail)?;
        if path.as_os_str().len() + SOCKET_ROOM > SOCKET_PATH {
            return Err(OpenError::TooLong { path });
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(fail)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The path of `name` in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory `name` in it, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(path)
    }

    /// The bytes of `name`; none when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What `name` holds; none when it is not there, or was not understood and is set aside.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let aside = self.set_aside(name)?;
                tracing::warn!(file = name, aside = %aside.display(), %error,
                    "state file was not understood and is set aside");
                Ok(None)
            }
        }
    }

    /// Replaces `name`.
    ///
    /// # Errors
    /// When it cannot be written; the old one stands then.
    pub fn store<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)?;
        bytes.push(b'\n');
        replace(&self.path(name), &bytes)
    }

    /// Moves `name` out of the way; where to.
    fn set_aside(&self, name: &str) -> io::Result<PathBuf> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let aside = self.path(&format!("{name}.corrupt-{time}"));
        fs::rename(self.path(name), &aside)?;
        Ok(aside)
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let name = path.join("lock");
    let fail = |source| OpenError::Io { path: name.clone(), source };
    let mut file = private().read(true).create(true).truncate(false).open(&name).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(OpenError::Busy { path: path.to_owned(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(fail(source)),
    }
    let note = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(fail)?;
    Ok(file)
}

/// For files that only their owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Replaces the file at `path` in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = private().create(true).truncate(true).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

    use super::{OpenError, StateDir};

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_second_instance_is_told_about_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = StateDir::open(&path).unwrap();
        let error = StateDir::open(&path).unwrap_err();
        let pid = std::process::id().to_string();
        assert!(matches!(&error, OpenError::Busy { pid: held, .. } if *held == pid), "{error}");
        drop(first);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(&parent.path().join("state")).unwrap();
        state.store("ca.json", &"key").unwrap();
        assert_eq!(mode(&state.path("")), 0o700);
        assert_eq!(mode(&state.path("ca.json")), 0o600);
        assert_eq!(mode(&state.path("lock")), 0o600);
        assert_eq!(mode(&state.directory("p/x").unwrap()), 0o700);
    }

    #[test]
    fn what_is_not_understood_is_set_aside() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path()).unwrap();
        assert_eq!(state.load::<u32>("n.json").unwrap(), None);
        state.store("n.json", &7).unwrap();
        assert_eq!(state.load::<u32>("n.json").unwrap(), Some(7));
        fs::write(state.path("n.json"), "{\"half").unwrap();
        assert_eq!(state.load::<u32>("n.json").unwrap(), None);
        let names = fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().file_name());
        let aside: Vec<_> =
            names.filter(|n| n.to_string_lossy().starts_with("n.json.corrupt-")).collect();
        assert_eq!(aside.len(), 1);
        state.store("n.json", &8).unwrap();
        assert_eq!(state.load::<u32>("n.json").unwrap(), Some(8));
    }

    #[test]
    fn a_path_too_long_for_sockets_is_refused_at_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("x".repeat(100));
        assert!(matches!(StateDir::open(&path).unwrap_err(), OpenError::TooLong { .. }));
    }
}
