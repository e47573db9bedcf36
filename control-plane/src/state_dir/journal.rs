//! An append-only file of JSON lines, for what changes often and a little at a time.
//!
//! Lines are replayed in order at the next start, and the file is written anew then. A last line that a
//! crash cut off is dropped with a word; so is any other that is not understood.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::PathBuf,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{StateDir, private, replace};

/// Lines that may be in vain whatever the number of live ones.
const SLACK: usize = 1000;

/// A file that records are added to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
}

impl Journal {
    /// What `name` recorded so far.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn replay<T: DeserializeOwned>(state: &StateDir, name: &str) -> io::Result<Vec<T>> {
        let file = match File::open(state.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let (mut records, mut lost) = (Vec::new(), 0_u32);
        for line in BufReader::new(file).split(b'\n') {
            match serde_json::from_slice(&line?) {
                Ok(record) => records.push(record),
                Err(_) => lost += 1,
            }
        }
        if lost > 0 {
            let aside = state.set_aside(name)?;
            tracing::warn!(file = name, aside = %aside.display(), lines = lost,
                "lines of a state file were not understood and are left out");
        }
        Ok(records)
    }

    /// Begins `name` anew with `records`.
    ///
    /// # Errors
    /// When it cannot be written; the old one stands then.
    pub fn begin<T: Serialize>(
        state: &StateDir,
        name: &str,
        records: impl IntoIterator<Item = T>,
    ) -> io::Result<Self> {
        let path = state.path(name);
        let (bytes, lines) = encode(records)?;
        replace(&path, &bytes)?;
        let file = private().append(true).open(&path)?;
        Ok(Self { path, file, lines })
    }

    /// Writes it anew with `records`, of which there are `live`, when most of its lines have been replaced
    /// by later ones.
    ///
    /// # Errors
    /// When it cannot be written; the old one stands then.
    pub fn compact<T: Serialize, R: IntoIterator<Item = T>>(
        &mut self,
        live: usize,
        records: impl FnOnce() -> R,
    ) -> io::Result<()> {
        if self.lines <= SLACK + 2 * live {
            return Ok(());
        }
        let (bytes, lines) = encode(records())?;
        replace(&self.path, &bytes)?;
        self.file = private().append(true).open(&self.path)?;
        self.lines = lines;
        Ok(())
    }

    /// Adds records.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn append<T: Serialize>(&mut self, records: impl IntoIterator<Item = T>) -> io::Result<()> {
        let (bytes, lines) = encode(records)?;
        self.lines += lines;
        self.file.write_all(&bytes)
    }
}

/// Lines of JSON, and how many.
fn encode<T: Serialize>(records: impl IntoIterator<Item = T>) -> io::Result<(Vec<u8>, usize)> {
    let (mut bytes, mut lines) = (Vec::new(), 0);
    for record in records {
        serde_json::to_writer(&mut bytes, &record)?;
        bytes.push(b'\n');
        lines += 1;
    }
    Ok((bytes, lines))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::Journal;
    use crate::state_dir::StateDir;

    #[test]
    fn what_a_crash_cut_off_is_dropped_and_the_rest_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path()).unwrap();
        assert_eq!(Journal::replay::<u32>(&state, "j").unwrap(), Vec::<u32>::new());
        let mut journal = Journal::begin(&state, "j", [1, 2]).unwrap();
        journal.append([3]).unwrap();
        journal.file.write_all(b"{\"half").unwrap();
        assert_eq!(Journal::replay::<u32>(&state, "j").unwrap(), vec![1, 2, 3]);
        let mut journal = Journal::begin(&state, "j", [3]).unwrap();
        journal.append([4]).unwrap();
        assert_eq!(Journal::replay::<u32>(&state, "j").unwrap(), vec![3, 4]);
    }

    #[test]
    fn what_later_lines_replaced_goes_in_time() {
        let parent = tempfile::tempdir().unwrap();
        let state = StateDir::open(parent.path()).unwrap();
        let mut journal = Journal::begin(&state, "j", [0]).unwrap();
        for number in 0..2 * super::SLACK {
            journal.append([number]).unwrap();
            journal.compact(1, || [number]).unwrap();
        }
        journal.append([7]).unwrap();
        let lines = Journal::replay::<usize>(&state, "j").unwrap();
        assert!(lines.len() < super::SLACK + 4, "{}", lines.len());
        assert_eq!(lines.last(), Some(&7));
    }
}
