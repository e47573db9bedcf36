//! One look at directories, files and standard input: which manifests there are, and what they say.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::files::{
    document::{self, File},
    set::{Root, Scan},
};

/// How deep folders are looked into: symbolic links may lead in circles.
const DEPTH: usize = 32;
/// The largest file that is read.
const LARGEST: u64 = 64 << 20;
/// A file that was changed less than this long ago may change again with the same time of change.
const FRESH: Duration = Duration::from_secs(2);

/// What was given with `-f`.
#[derive(Clone, Debug)]
pub enum Given {
    /// A directory or a file.
    Path(PathBuf),
    /// What standard input said.
    Text(Arc<str>),
}

/// What was given with `-f` is not there.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be read: give -f a directory, a file, or - for standard input", path.display())]
pub struct MissingInput {
    /// What was given.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Given {
    /// What `-f TEXT` gives; `-` is standard input, which is read to its end.
    ///
    /// # Errors
    /// When there is nothing to read.
    pub fn open(text: &Path) -> Result<Self, MissingInput> {
        let fail = |source| MissingInput { path: text.to_owned(), source };
        if text == Path::new("-") {
            let mut read = String::new();
            io::Read::read_to_string(&mut io::stdin().lock(), &mut read).map_err(fail)?;
            return Ok(Self::Text(read.into()));
        }
        let directory = fs::metadata(text).map_err(fail)?.is_dir();
        let opened =
            if directory { fs::read_dir(text).map(drop) } else { fs::File::open(text).map(drop) };
        opened.map_err(fail)?;
        Ok(Self::Path(text.to_owned()))
    }
}

/// What is to be watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Watch {
    pub(super) path: PathBuf,
    pub(super) recursive: bool,
    /// Device and inode: another directory of the same name is watched anew.
    identity: Option<(u64, u64)>,
}

/// Looks at what was given, again and again; files that did not change are not read again.
#[derive(Debug)]
pub(super) struct Scanner {
    given: Vec<Given>,
    known: BTreeMap<PathBuf, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    stamp: Stamp,
    file: Arc<File>,
}

/// Two contents of a file with the same stamp are the same, but for [`FRESH`] ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    identity: (u64, u64),
    size: u64,
    changed: (i64, i64),
}

impl Scanner {
    pub(super) fn new(given: Vec<Given>) -> Self {
        Self { given, known: BTreeMap::new() }
    }

    pub(super) fn scan(&mut self) -> Scan {
        let known = std::mem::take(&mut self.known);
        let mut look = Look { known, seen: BTreeMap::new() };
        let roots = self.given.iter().map(|given| look.root(given)).collect();
        self.known = look.seen;
        Scan { roots }
    }

    pub(super) fn watches(&self) -> Vec<Watch> {
        self.given.iter().filter_map(Watch::of).collect()
    }
}

impl Watch {
    fn of(given: &Given) -> Option<Self> {
        let Given::Path(path) = given else { return None };
        // A file is watched by its directory, for editors put another file in its place.
        let file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
        let path = if file { path.parent()? } else { path };
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let identity = fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        Some(Self { path: path.to_owned(), recursive: !file, identity })
    }
}

struct Look {
    known: BTreeMap<PathBuf, Known>,
    seen: BTreeMap<PathBuf, Known>,
}

impl Look {
    fn root(&mut self, given: &Given) -> Root {
        let mut root = match given {
            Given::Path(path) => {
                Root { name: display(path), unreadable: None, files: Vec::new(), skipped: Vec::new() }
            }
            Given::Text(text) => Root {
                name: "-".into(),
                unreadable: None,
                files: vec![Arc::new(document::read(&"(standard input)".into(), text))],
                skipped: Vec::new(),
            },
        };
        if let Given::Path(path) = given {
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {
                    if let Err(error) = self.folder(path, 0, &mut root) {
                        root.unreadable = Some(unreadable(&error));
                    }
                }
                Ok(metadata) => self.file(path, &metadata, &mut root),
                Err(error) => root.unreadable = Some(unreadable(&error)),
            }
        }
        root.files.sort_by(|a, b| a.name.cmp(&b.name));
        root
    }

    fn folder(&mut self, path: &Path, depth: usize, root: &mut Root) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name());
        }
        names.sort();
        for name in names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b".")) {
            let path = path.join(name);
            // A file that is gone between the two looks is not there, and that is no error.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                if depth < DEPTH
                    && let Err(error) = self.folder(&path, depth + 1, root)
                {
                    root.skipped.push((display(&path), unreadable(&error)));
                }
            } else if is_manifest(&path) {
                self.file(&path, &metadata, root);
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, metadata: &fs::Metadata, root: &mut Root) {
        let stamp = Stamp {
            identity: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        };
        let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let fresh = changed.elapsed().is_ok_and(|age| age < FRESH);
        let known = self.known.remove(path);
        let known = match known {
            Some(known) if known.stamp == stamp && !fresh => known,
            known => match read(path, stamp.size) {
                Ok(text) => {
                    let same = known.filter(|known| *known.file.text == text);
                    let file = same.map(|known| known.file);
                    let file =
                        file.unwrap_or_else(|| Arc::new(document::read(&display(path), &text.into())));
                    Known { stamp, file }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => {
                    root.skipped.push((display(path), unreadable(&error)));
                    return;
                }
            },
        };
        root.files.push(known.file.clone());
        self.seen.insert(path.to_owned(), known);
    }
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

fn read(path: &Path, size: u64) -> io::Result<String> {
    if size > LARGEST {
        let message = format!("it is larger than {} MiB", LARGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    fs::read_to_string(path)
}

fn display(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidData => "cannot be read: it is not UTF-8".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
