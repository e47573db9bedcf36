//! Directories on disk: looks at them when they change, and hands on what that leads to.
//!
//! What a look leads to is decided by [`set`](super::set); here it is only seen that it happens: soon
//! after a change (the system tells), every few seconds anyway (it may not have told), and when a
//! deletion is due.

mod scan;

use std::{
    collections::HashSet,
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use tokio::{sync::Notify, time::Instant};

use self::scan::Scanner;
pub use self::scan::{Given, MissingInput};
use super::{
    diagnostic::Diagnostic,
    set::{Edit, Now, Objects, Record, Scan},
};
use crate::state_dir::{Journal, StateDir};

/// How long to wait for the rest of what an editor or a tool writes.
const QUIET: Duration = Duration::from_millis(10);
/// When to look once more after a change: a new folder may have been filled before it was watched.
const AGAIN: Duration = Duration::from_millis(200);
/// How often to look though the system told of no change.
const POLL: Duration = Duration::from_secs(3);
/// How often to look when the system cannot tell of changes at all.
const POLL_UNWATCHED: Duration = Duration::from_millis(500);
/// The state file of objects.
const JOURNAL: &str = "objects.jsonl";

/// What a look at the directories led to.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Edits, in order.
    pub edits: Vec<Edit>,
    /// What is wrong and was not before.
    pub diagnostics: Vec<Diagnostic>,
}

/// Directories, and the objects that they declare.
pub struct Source {
    scanner: Scanner,
    objects: Objects,
    journal: Journal,
    begin: Instant,
    wake: Option<Duration>,
    again: Option<Duration>,
    /// Whether the system told of a change since the last look.
    unrest: bool,
    told: HashSet<String>,
    looked: bool,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<scan::Watch>,
}

/// A time for [`Objects::reconcile`], `begin` being any fixed moment.
fn now(begin: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: begin.elapsed(), wall: wall.as_secs().cast_signed() }
}

/// A random uid, in the form of RFC 9562, version 4.
fn uid() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness a uid of zeros is still a uid; nothing relies on it being hard to guess.
    let _ = getrandom::fill(&mut bytes);
    let number = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

impl Source {
    /// The objects that `given` declares, with what `state` remembers of them. Nothing is read yet.
    ///
    /// # Errors
    /// When the state directory cannot be read or written.
    pub fn open(given: Vec<Given>, state: &StateDir) -> io::Result<Self> {
        let objects = Objects::new(Journal::replay::<Record>(state, JOURNAL)?);
        let journal = Journal::begin(state, JOURNAL, objects.records())?;
        let changed = Arc::new(Notify::new());
        Ok(Self {
            scanner: Scanner::new(given),
            objects,
            journal,
            begin: Instant::now(),
            wake: Some(Duration::ZERO),
            again: None,
            unrest: false,
            told: HashSet::new(),
            looked: false,
            watcher: watcher(changed.clone()),
            changed,
            watched: Vec::new(),
        })
    }

    /// Waits until a look leads to something; the first one always does, and is made at once. Nothing is
    /// lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Batch {
        loop {
            self.wait().await;
            let first = !std::mem::replace(&mut self.looked, true);
            self.watch();
            let batch = self.look();
            if first || !batch.edits.is_empty() || !batch.diagnostics.is_empty() {
                return batch;
            }
        }
    }

    async fn wait(&mut self) {
        let poll = if self.watcher.is_some() { POLL } else { POLL_UNWATCHED };
        let poll = self.begin.elapsed() + poll;
        loop {
            let due = [self.wake, self.again].into_iter().flatten().fold(poll, Duration::min);
            tokio::select! {
                () = self.changed.notified() => {
                    let soon = self.begin.elapsed() + QUIET;
                    self.again = Some(self.again.map_or(soon, |again| again.min(soon)));
                    self.unrest = true;
                }
                () = tokio::time::sleep_until(self.begin + due) => {
                    let unrest = std::mem::take(&mut self.unrest);
                    self.again = unrest.then(|| self.begin.elapsed() + AGAIN);
                    return;
                }
            }
        }
    }

    fn look(&mut self) -> Batch {
        let scan = self.scanner.scan();
        self.take(&scan)
    }

    fn take(&mut self, scan: &Scan) -> Batch {
        let outcome = self.objects.reconcile(scan, now(self.begin), &mut uid);
        self.wake = outcome.wake;
        let (journal, objects) = (&mut self.journal, &self.objects);
        let written = journal.append(&outcome.records);
        let written = written.and_then(|()| journal.compact(objects.len(), || objects.records()));
        if let Err(error) = written {
            tracing::error!(file = JOURNAL, %error, "cannot write a state file");
        }
        let mut told = HashSet::new();
        let mut diagnostics = outcome.diagnostics;
        diagnostics.retain(|diagnostic| {
            let text = diagnostic.to_string();
            let new = !self.told.contains(&text);
            told.insert(text) && new
        });
        self.told = told;
        Batch { edits: outcome.edits, diagnostics }
    }

    /// Watches what is not watched yet: a directory that was replaced is another one.
    fn watch(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted = self.scanner.watches();
        for watch in wanted.iter().filter(|watch| !self.watched.contains(watch)) {
            let mode =
                if watch.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            if let Err(error) = watcher.watch(&watch.path, mode) {
                tracing::warn!(path = %watch.path.display(), %error,
                    "cannot watch a directory, looking at it from time to time");
            }
        }
        self.watched = wanted;
    }
}

/// Tells of changes; none when the system has no way to.
fn watcher(changed: Arc<Notify>) -> Option<RecommendedWatcher> {
    let told = move |event: notify::Result<notify::Event>| {
        let reading = matches!(&event, Ok(event)
            if matches!(event.kind, EventKind::Access(kind) if !matches!(kind, AccessKind::Close(notify::event::AccessMode::Write))));
        if !reading {
            changed.notify_one();
        }
    };
    match notify::recommended_watcher(told) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "cannot watch for changes of files, looking from time to time");
            None
        }
    }
}

/// Everything that is wrong in `given`, and the objects that they declare, without any state.
pub fn read_once(given: Vec<Given>) -> Batch {
    let begin = Instant::now();
    let scan = Scanner::new(given).scan();
    let outcome = Objects::default().reconcile(&scan, now(begin), &mut uid);
    Batch { edits: outcome.edits, diagnostics: outcome.diagnostics }
}

#[cfg(test)]
mod tests;
