//! From what a scan of the directories found to edits of the set of objects: the rules by which a
//! directory stands in for an API server.
//!
//! Pure: clocks and uids come in, and what must be remembered across restarts goes out as [`Record`]s.
//! A document that is wrong keeps the last good version of its object; a document that is gone is gone
//! after [`GRACE`]; a directory that cannot be read, or is wholly emptied, changes nothing; of two
//! documents of one object the first in order of file counts.

mod held;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use isthmus_gateway::{CLASS, CONTROLLER, GROUP, schema::FieldError};
use serde_json::{Value, json};

use self::held::Held;
pub use self::held::{Record, Stored};
use super::{
    check,
    diagnostic::{Diagnostic, Severity},
    document::{Document, File},
    kinds::{FileKind, ObjectId},
};

/// How long a document must be gone before its object is: editors and tools replace files by deleting
/// and writing them.
pub const GRACE: Duration = Duration::from_millis(500);

/// The directory that implied objects come from.
const IMPLIED: &str = "(implied)";

/// What a look at all directories found.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// In the order in which they were given.
    pub roots: Vec<Root>,
}

/// What a look at one directory (or file, or standard input) found.
#[derive(Clone, Debug)]
pub struct Root {
    /// As it was given.
    pub name: Arc<str>,
    /// Why it cannot be read, if it cannot.
    pub unreadable: Option<String>,
    /// Its files that could be read, in order of path.
    pub files: Vec<Arc<File>>,
    /// Paths of files and folders in it that could not be read, with the reasons.
    pub skipped: Vec<(Arc<str>, String)>,
}

/// The time of a scan.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// On a clock that never jumps.
    pub monotonic: Duration,
    /// Seconds since 1970.
    pub wall: i64,
}

/// One edit of the set of objects.
#[derive(Clone, PartialEq, Debug)]
pub enum Edit {
    /// New, or in a new version, with `uid`, `generation` and `creationTimestamp`. Ends a problem.
    Upsert(ObjectId, Value),
    /// Gone.
    Delete(ObjectId),
    /// Its newest version is refused; the one before it, if any, stands.
    Problem {
        /// The object.
        id: ObjectId,
        /// The refused version, with the generation that it would have had.
        object: Value,
        /// The field, when one is to blame.
        field: Option<String>,
        /// What is wrong, and where.
        message: String,
    },
}

/// What a scan led to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Edits, in order.
    pub edits: Vec<Edit>,
    /// Everything that is wrong now, whether it was before or not, in order of file.
    pub diagnostics: Vec<Diagnostic>,
    /// What to remember.
    pub records: Vec<Record>,
    /// When to scan again though nothing may have changed: a deletion is due.
    pub wake: Option<Duration>,
}

/// The objects in force, and where they came from.
#[derive(Debug, Default)]
pub struct Objects {
    held: BTreeMap<ObjectId, Held>,
    /// Whether there has been a scan. Before it nothing is in force, so deletions need no grace.
    scanned: bool,
}

/// A document that counts.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    root: &'a Root,
    file: &'a File,
    document: &'a Document,
}

impl Objects {
    /// Begins with what was remembered.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut held = BTreeMap::new();
        for record in records {
            match record {
                Record::Put(stored) => {
                    let (id, object) = Held::restore(stored);
                    held.insert(id, object);
                }
                Record::Remove(id) => drop(held.remove(&id)),
            }
        }
        Self { held, scanned: false }
    }

    /// How many objects are in force.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Everything that is remembered, to begin a new record with.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.held.iter().filter_map(|(id, held)| held.record(id))
    }

    /// Takes a scan in.
    pub fn reconcile(&mut self, scan: &Scan, now: Now, uid: &mut dyn FnMut() -> String) -> Outcome {
        let mut outcome = Outcome::default();
        let candidates = candidates(scan, &mut outcome.diagnostics);
        for (id, candidate) in &candidates {
            self.weigh(id, *candidate, now, uid, &mut outcome);
        }
        let implied = implied(candidates.keys().chain(self.held.keys()), &candidates);
        for (id, object) in &implied {
            let from = IMPLIED.into();
            self.accept(id, object, (&from, &from), now, uid, &mut outcome);
        }
        let present = |id: &ObjectId| candidates.contains_key(id) || implied.contains_key(id);
        self.sweep(scan, now, &present, &mut outcome);
        for root in &scan.roots {
            outcome.diagnostics.extend(self.unread(root));
        }
        outcome.diagnostics.sort_by_key(order);
        self.scanned = true;
        outcome
    }

    /// Accepts or refuses a document.
    fn weigh(
        &mut self,
        id: &ObjectId,
        candidate: Candidate<'_>,
        now: Now,
        uid: &mut dyn FnMut() -> String,
        outcome: &mut Outcome,
    ) {
        let Candidate { root, file, document } = candidate;
        let old = self.held.get(id).and_then(|held| held.written.as_ref());
        let errors = if old == Some(&document.object) { Vec::new() } else { errors(document, old) };
        if errors.is_empty() {
            let from = (&root.name, &file.name);
            return self.accept(id, &document.object, from, now, uid, outcome);
        }
        let from = (&root.name, &file.name);
        let held = self.held.entry(id.clone()).or_insert_with(|| Held::refused(from, uid(), now.wall));
        held.missing_since = None;
        held.refuse(id, &document.object, problem(file, document, &errors), outcome);
        outcome.diagnostics.extend(errors.into_iter().map(|error| {
            let field = Some(error.path.as_str()).filter(|path| !path.is_empty());
            file.diagnostic(document, Severity::Error, field, error.message.clone())
        }));
    }

    fn accept(
        &mut self,
        id: &ObjectId,
        written: &Value,
        from: (&Arc<str>, &Arc<str>),
        now: Now,
        uid: &mut dyn FnMut() -> String,
        outcome: &mut Outcome,
    ) {
        if let Some(held) = self.held.get_mut(id) {
            return held.accept(id, written, from, outcome);
        }
        let held = Held::new(written.clone(), from, uid(), now.wall);
        outcome.edits.push(Edit::Upsert(id.clone(), held.object()));
        outcome.records.extend(held.record(id));
        self.held.insert(id.clone(), held);
    }

    /// Deletes what has been gone for long enough, and says when to look again.
    fn sweep(
        &mut self,
        scan: &Scan,
        now: Now,
        present: &dyn Fn(&ObjectId) -> bool,
        outcome: &mut Outcome,
    ) {
        let mut gone = Vec::new();
        for (id, held) in self.held.iter_mut().filter(|(id, _)| !present(id)) {
            if kept(scan, held) {
                held.missing_since = None;
                held.stand(id, outcome);
                continue;
            }
            let since = *held.missing_since.get_or_insert(now.monotonic);
            if !self.scanned || now.monotonic.saturating_sub(since) >= GRACE {
                gone.push(id.clone());
            } else {
                let due = since + GRACE;
                outcome.wake = Some(outcome.wake.map_or(due, |wake| wake.min(due)));
            }
        }
        if !gone.is_empty() {
            // What was implied by these may go too.
            outcome.wake = Some(now.monotonic);
        }
        for id in gone {
            if self.held.remove(&id).is_some_and(|held| held.told) {
                outcome.edits.push(Edit::Delete(id.clone()));
            }
            outcome.records.push(Record::Remove(id));
        }
    }

    /// What could not be read of a root, and what that means for its objects.
    fn unread(&self, root: &Root) -> Vec<Diagnostic> {
        let count = self.held.values().filter(|held| held.root == root.name).count();
        let keeping = |text: &str| match count {
            0 => text.to_owned(),
            1 => format!("{text}; the object that it held before is kept"),
            many => format!("{text}; the {many} objects that it held before are kept"),
        };
        let whole = |severity, file: &Arc<str>, message| Diagnostic {
            severity,
            file: file.clone(),
            place: None,
            object: None,
            field: None,
            message,
        };
        if let Some(reason) = &root.unreadable {
            return vec![whole(Severity::Error, &root.name, keeping(reason))];
        }
        if root.is_empty() {
            return vec![whole(Severity::Warning, &root.name, keeping("there are no manifests here"))];
        }
        let skipped = root.skipped.iter();
        skipped.map(|(path, reason)| whole(Severity::Error, path, reason.clone())).collect()
    }
}

impl Root {
    fn is_empty(&self) -> bool {
        self.skipped.is_empty()
            && self.files.iter().all(|file| file.documents.is_empty() && file.diagnostics.is_empty())
    }
}

/// Errors before warnings, each in order of place.
fn order(diagnostic: &Diagnostic) -> (Severity, Arc<str>, usize, usize) {
    let (line, column) = diagnostic.place.as_ref().map_or((0, 0), |place| (place.line, place.column));
    (diagnostic.severity, diagnostic.file.clone(), line, column)
}

/// The first document of each object; the others are errors.
fn candidates<'a>(
    scan: &'a Scan,
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeMap<ObjectId, Candidate<'a>> {
    let mut candidates: BTreeMap<ObjectId, Candidate<'a>> = BTreeMap::new();
    let mut install: Option<Candidate<'a>> = None;
    for root in &scan.roots {
        for file in &root.files {
            diagnostics.extend(file.diagnostics.iter().cloned());
            for document in &file.documents {
                let single = document.id.kind == "MeshInstall";
                let first = candidates.get(&document.id).or(install.as_ref().filter(|_| single));
                if let Some(first) = first {
                    let place = first.file.place(first.document);
                    let message = format!(
                        "names {}, which is declared in {place}; this one is not used",
                        first.document.id
                    );
                    let field = Some("metadata.name");
                    diagnostics.push(file.diagnostic(document, Severity::Error, field, message));
                    continue;
                }
                let candidate = Candidate { root, file, document };
                candidates.insert(document.id.clone(), candidate);
                if single {
                    install = Some(candidate);
                }
            }
        }
    }
    candidates
}

fn errors(document: &Document, old: Option<&Value>) -> Vec<FieldError> {
    check::validate(document.kind, &document.object, old)
}

/// The first error, with its place, for the object's status.
fn problem(file: &File, document: &Document, errors: &[FieldError]) -> (Option<String>, String) {
    let Some(first) = errors.first() else { return (None, String::new()) };
    let field = Some(first.path.clone()).filter(|path| !path.is_empty());
    let shown = file.diagnostic(document, Severity::Error, field.as_deref(), first.message.clone());
    let (line, column) = shown.place.as_ref().map_or((0, 0), |place| (place.line, place.column));
    let more = match errors.len() {
        1 => String::new(),
        more => format!(" (and {} more)", more - 1),
    };
    (field, format!("{} ({}:{line}:{column}){more}", shown.message, file.name))
}

/// Whether an object that no document declares stays in force nevertheless.
fn kept(scan: &Scan, held: &Held) -> bool {
    let Some(root) = scan.roots.iter().find(|root| root.name == held.root) else { return false };
    if root.unreadable.is_some() || root.is_empty() {
        return true;
    }
    let below = |path: &str| {
        held.file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if root.skipped.iter().any(|(path, _)| below(path)) {
        return true;
    }
    match root.files.iter().find(|file| file.name == held.file) {
        Some(file) => file.unidentified,
        // Its file was renamed, perhaps to one that cannot be understood yet.
        None => root.files.iter().any(|file| file.unidentified),
    }
}

/// Objects that need no document: the class of ours, and the namespaces that `ids` are in.
fn implied<'a>(
    ids: impl Iterator<Item = &'a ObjectId>,
    declared: &BTreeMap<ObjectId, Candidate<'_>>,
) -> BTreeMap<ObjectId, Value> {
    let class = ObjectId {
        group: GROUP.to_owned(),
        kind: "GatewayClass".to_owned(),
        namespace: String::new(),
        name: CLASS.to_owned(),
    };
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "GatewayClass",
        "metadata": {"name": CLASS},
        "spec": {"controllerName": CONTROLLER},
    });
    let namespaces: BTreeSet<&str> = ids.map(|id| id.namespace.as_str()).collect();
    let namespaces = namespaces.into_iter().filter(|name| !name.is_empty()).map(|name| {
        let (group, namespace) = (String::new(), String::new());
        let id = ObjectId { group, kind: "Namespace".to_owned(), namespace, name: name.to_owned() };
        let metadata = json!({"name": name, "labels": {"kubernetes.io/metadata.name": name}});
        (id, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
    });
    namespaces.chain([(class, object)]).filter(|(id, _)| !declared.contains_key(id)).collect()
}

#[cfg(test)]
mod tests;
