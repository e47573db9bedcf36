//! Which set of clusters is whose. The link, the control groups, the addresses and the routes of a set are
//! named by its number and are the machine's, whoever's home a set's files are in. So a number is claimed by a
//! lock of the machine, and who gets it clears what the last owner may have left: nothing that another made.

use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, Write as _},
    ops::RangeInclusive,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    addresses::SetAddresses,
    cgroup,
    command::{eventually, words},
    kind,
};
use crate::cache::cache;

/// Where locks are: on the machine, and gone when it starts anew.
const LOCKS: &str = "/run/isthmus";

/// The routing protocol that marks routes of sets, so that no others are removed. The load balancer knows
/// it too.
pub const ROUTES: &str = "proto 177";

/// How long the kernel may take to forget what ended.
const FORGOTTEN: Duration = Duration::from_secs(20);

/// A number that is ours until this value is dropped or its process ends.
#[derive(Debug)]
pub struct Claim {
    number: u8,
    directory: PathBuf,
    _lock: File,
}

/// Whether somebody has this number.
///
/// # Errors
/// When its lock cannot be read.
pub fn taken(number: u8) -> Result<bool> {
    match File::open(lock(number)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        file => Ok(file?.try_lock_shared().is_err()),
    }
}

/// Where a lasting set is told to stop.
pub fn stop_socket(number: u8) -> PathBuf {
    lock(number).with_extension("stop")
}

fn lock(number: u8) -> PathBuf {
    Path::new(LOCKS).join(format!("{number}.lock"))
}

impl Claim {
    /// Claims the first of `numbers` that nobody has and that can be used.
    ///
    /// # Errors
    /// When there is none; the error says what is wrong with the last one that nobody has.
    pub fn one_of(numbers: RangeInclusive<u8>) -> Result<Self> {
        fs::create_dir_all(LOCKS).context(LOCKS)?;
        let mut last = anyhow!("the clusters {numbers:?} are up already");
        for number in numbers {
            let Some(lock) = locked(number)? else { continue };
            match Self::cleared(number, lock) {
                Ok(claim) => return Ok(claim),
                Err(error) => last = error.context(format!("the set of clusters {number}")),
            }
        }
        Err(last)
    }

    /// Its number.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Where its state is; there when it is used.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A socket by which it is told to stop.
    ///
    /// # Errors
    /// When there cannot be one.
    pub fn listen(&self) -> Result<UnixListener> {
        UnixListener::bind(stop_socket(self.number)).context("stop socket")
    }

    /// Removes what is left once all processes of the set have been told to end.
    ///
    /// # Errors
    /// When something stays.
    pub fn clear(&self) -> Result<()> {
        clear(self.number, &self.directory)
    }

    fn cleared(number: u8, mut lock: File) -> Result<Self> {
        let ours = Path::new("clusters/run").join(number.to_string());
        let directory = cache()?.join(&ours);
        // The last owner's state may be in another home.
        let mut last = String::new();
        lock.read_to_string(&mut last)?;
        let last = Path::new(&last);
        if last.ends_with(&ours) && last != directory {
            clear(number, last)?;
        }
        clear(number, &directory)?;
        let addresses = SetAddresses(number).all();
        let routes = words(&format!("ip -4 route show root {addresses}"))?;
        if !routes.trim().is_empty() {
            bail!("{addresses} are somebody else's addresses: {}", routes.trim());
        }
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(directory.as_os_str().as_encoded_bytes())?;
        Ok(Self { number, directory, _lock: lock })
    }
}

/// The lock of a number, or none when somebody has it.
fn locked(number: u8) -> Result<Option<File>> {
    let path = lock(number);
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Removes what a set leaves behind once its processes are gone. Those of a killed owner end with it, but
/// not before it.
fn clear(number: u8, directory: &Path) -> Result<()> {
    kind::delete(directory)?;
    cgroup::remove(&cgroup::name(number))?;
    eventually(FORGOTTEN, || remove_link(&cgroup::name(number)))?;
    words(&format!("ip -4 route flush root {} {ROUTES}", SetAddresses(number).all()))?;
    eventually(FORGOTTEN, || absent(fs::remove_dir_all(directory)))?;
    absent(fs::remove_file(stop_socket(number)))
}

/// The kernel removes a link when the network namespace of its other end goes, some time after the last
/// process of that.
fn remove_link(name: &str) -> Result<()> {
    let is_there = || words(&format!("ip link show dev {name}")).is_ok();
    if is_there() && words(&format!("ip link delete dev {name}")).is_err() && is_there() {
        bail!("link {name} stays");
    }
    Ok(())
}

fn absent(removed: std::io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
