//! The last good resources on disk.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use isthmus_ir::{Key, Resource};
use isthmus_xds::{delta::Version, wire::snapshot};

use crate::Proxy;

const FILE: &str = "resources";
/// At most so often the file is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was kept when the proxy ran last.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// To be put in force.
    pub resources: Vec<Resource>,
    /// Their versions, so that they are not sent again.
    pub versions: Vec<(Key, Version)>,
}

/// Loads what was kept in `directory`. A file that cannot be read is set aside, with a word.
pub fn load(directory: &Path) -> Kept {
    let path = directory.join(FILE);
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Kept::default(),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "kept resources cannot be read");
            return Kept::default();
        }
    };
    match snapshot::decode(&content) {
        Ok(kept) => {
            for (name, reason) in &kept.skipped {
                tracing::warn!(resource = name, reason, "kept resource is not understood");
            }
            Kept { resources: kept.resources, versions: kept.versions }
        }
        Err(error) => {
            let aside = directory.join(format!("{FILE}.corrupt"));
            let moved = fs::rename(&path, &aside).is_ok();
            tracing::warn!(%error, moved, path = %aside.display(), "kept resources were set aside");
            Kept::default()
        }
    }
}

/// Keeps what is in force, whenever it changed.
pub(super) async fn save_changes(proxy: &Proxy) -> Infallible {
    loop {
        tokio::time::sleep(INTERVAL).await;
        save(proxy).await;
    }
}

/// Keeps what is in force, if it has changed since it was kept last.
pub async fn save(proxy: &Proxy) {
    let Some(directory) = proxy.settings().state_dir.clone() else { return };
    let Some(content) = proxy.changed_resources() else { return };
    let written = tokio::task::spawn_blocking(move || write(&directory, FILE, &content)).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "resources cannot be kept");
    }
}

/// Replaces a file as a whole, readable by its owner only.
pub(super) fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};

    fs::create_dir_all(directory)?;
    let next: PathBuf = directory.join(format!("{name}.next"));
    let mut file =
        fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(next, directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::{FILE, load, write};

    #[test]
    fn a_corrupt_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), FILE, b"ISTHMUS-SNAPSHOT-1\nnothing of the kind").unwrap();
        assert!(load(directory.path()).resources.is_empty());
        assert!(directory.path().join("resources.corrupt").exists());
        assert!(!directory.path().join(FILE).exists());
    }
}
