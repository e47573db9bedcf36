//! Statuses on their way to the API server.
//!
//! Every replica knows what the statuses should be; the leader writes those that are different. A write
//! carries the `resourceVersion` of what it was computed from, so that it never takes back what somebody
//! else wrote in between, and it is computed anew when it comes too late (cases F5, F7, F9). The lists of a
//! route's status are atomic for server-side apply, so what other controllers wrote is put back as it was
//! (case F19).
//!
//! A status that should be different is written a moment later: an edit is in force at the proxies by then,
//! and one write says all there is to say of it.

mod agenda;
mod book;
mod merge;
mod window;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use isthmus_api_server::{Client, DynamicObject, Leadership};
use isthmus_compiler::StatusChange;
use isthmus_world::{Kind, ObjectKey};
use kube::{
    Api,
    api::{ApiResource, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use self::{
    book::{Book, Observed, Outcome},
    merge::{demoted, merged, names_us},
    window::Window,
};
use super::owners::Owners;
use crate::store::conditions;

/// Who writes.
pub(super) const MANAGER: &str = "isthmus.dev/gateway-controller";
/// From a status that should be different to its write.
const SETTLE: Duration = Duration::from_millis(200);
/// Proxies have so long to come to a new leader before anything is said to be programmed no more.
const GRACE: Duration = Duration::from_secs(30);
/// How long one write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What statuses are, and what they should be. Cloning copies a pointer.
#[derive(Clone)]
pub(super) struct Statuses(Arc<Shared>);

struct Shared {
    client: Client,
    leadership: Leadership,
    /// In whose name is written.
    manager: String,
    book: Mutex<Book>,
    news: Notify,
}

/// One write.
struct Write {
    key: ObjectKey,
    api_version: String,
    resource_version: String,
    status: Value,
}

impl Statuses {
    /// For the control plane of a MeshRevision; none for the MeshInstall's own.
    pub(super) fn new(client: Client, leadership: Leadership, revision: Option<String>) -> Self {
        let manager =
            revision.as_ref().map_or_else(|| MANAGER.to_owned(), |name| format!("{MANAGER}-{name}"));
        let book = Mutex::new(Book::new(Owners::new(revision)));
        Self(Arc::new(Shared { client, leadership, manager, book, news: Notify::new() }))
    }

    /// There are these MeshRevisions.
    pub(super) fn revisions(&self, names: BTreeSet<String>) {
        let mut book = self.book();
        if book.owners.there_are(names) {
            self.look_anew(&mut book);
        }
    }

    /// Somebody else may own something now.
    fn look_anew(&self, book: &mut Book) {
        book.look_at_all();
        self.0.news.notify_one();
    }

    /// An object was seen.
    pub(super) fn observed(&self, kind: Kind, object: &DynamicObject) {
        let mut book = self.book();
        if book.owners.saw(kind, object) {
            self.look_anew(&mut book);
        }
        if plural(kind).is_none() {
            return;
        }
        let Some(seen) = Observed::of(object) else { return };
        let metadata = &object.metadata;
        let (namespace, name) = (metadata.namespace.as_deref(), metadata.name.as_deref());
        let key = ObjectKey::new(kind, namespace.unwrap_or_default(), name.unwrap_or_default());
        if kind == Kind::HttpRoute && names_us(&seen.status) {
            // What was written before this process began, and nobody may want any more. Nothing is written
            // before it is known what is wanted.
            book.desired.entry(key.clone()).or_insert(Value::Null);
        }
        book.saw(key.clone(), seen);
        if book.desired.contains_key(&key) {
            book.agenda.add(Instant::now() + SETTLE, key);
            drop(book);
            self.0.news.notify_one();
        }
    }

    /// An object is gone.
    pub(super) fn gone(&self, key: &ObjectKey) {
        let mut book = self.book();
        if book.owners.gone(key) {
            self.look_anew(&mut book);
        }
        book.gone(key);
    }

    /// There are no objects of this kind any more, as its definition is gone.
    pub(super) fn absent(&self, kind: Kind) {
        let keys: Vec<_> = self.book().observed.keys().filter(|key| key.kind == kind).cloned().collect();
        for key in keys {
            self.gone(&key);
        }
    }

    /// These statuses should be different now.
    pub(super) fn desire(&self, changes: Vec<StatusChange>) {
        if changes.is_empty() {
            return;
        }
        let at = Instant::now() + SETTLE;
        let mut book = self.book();
        for StatusChange { kind, object, status } in changes {
            let key = ObjectKey { kind, object };
            if status.is_none() && !book.observed.contains_key(&key) {
                // There is nothing to take it back from.
                book.desired.remove(&key);
                continue;
            }
            book.desired.insert(key.clone(), status.unwrap_or(Value::Null));
            book.agenda.add(at, key);
        }
        drop(book);
        self.0.news.notify_one();
    }

    /// Writes while this replica is the leader, for ever.
    pub(super) async fn write(self) {
        let mut leadership = self.0.leadership.clone();
        loop {
            leadership.gained().await;
            self.begin();
            tokio::select! {
                () = self.write_on() => {}
                () = leadership.lost() => {}
            }
        }
    }

    /// Writes what is to be written, again and again.
    async fn write_on(&self) {
        let (mut writes, mut window) = (JoinSet::new(), Window::new());
        let mut rested = Instant::now();
        loop {
            while writes.len() < window.size()
                && rested <= Instant::now()
                && let Some(write) = self.next()
            {
                rested = Instant::now() + self.book().interval();
                let (client, manager) = (self.0.client.clone(), self.0.manager.clone());
                writes.spawn(async move {
                    let (key, began) = (write.key.clone(), Instant::now());
                    let outcome = perform(&client, manager, write).await;
                    (key, outcome, began.elapsed())
                });
            }
            let later = self.book().later().filter(|_| writes.len() < window.size());
            tokio::select! {
                Some(done) = writes.join_next() => {
                    if let Ok((key, outcome, time)) = done {
                        window.took(time);
                        rested = rested.max(Instant::now() + window.rest());
                        self.book().done(key, outcome);
                    }
                }
                () = self.0.news.notified() => {}
                () = sleep_until(later.unwrap_or(rested).max(rested)), if later.is_some() => {}
            }
        }
    }

    /// The next write that is needed.
    fn next(&self) -> Option<Write> {
        let mut book = self.book();
        while let Some(key) = book.ready() {
            let desired = book.desired.get(&key).cloned();
            let (Some(desired), Some(observed)) = (desired, book.observed.get(&key).cloned()) else {
                continue;
            };
            let Some(desired) = book.owners.ours(&key, desired) else { continue };
            let others = |parent: &Value| book.owners.is_others(&key, parent);
            let now = conditions::now();
            let Some(status) = merged(key.kind, &observed.status, &desired, &others, &now) else {
                continue;
            };
            if Instant::now() < book.settled && demoted(&observed.status, &status) {
                let settled = book.settled;
                book.agenda.add(settled, key);
                continue;
            }
            if !self.0.leadership.holds() {
                return None;
            }
            book.writing.insert(key.clone());
            let Observed { api_version, resource_version, .. } = observed;
            return Some(Write { key, api_version, resource_version, status });
        }
        None
    }

    /// Looks at everything, as one who has not written anything yet.
    fn begin(&self) {
        let mut book = self.book();
        book.settled = Instant::now() + GRACE;
        book.writing.clear();
        book.look_at_all();
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a kind's collection, for kinds whose status is ours to write.
fn plural(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::GatewayClass => Some("gatewayclasses"),
        Kind::Gateway => Some("gateways"),
        Kind::HttpRoute => Some("httproutes"),
        Kind::ServiceExport => Some("serviceexports"),
        _ => None,
    }
}

async fn perform(client: &Client, manager: String, write: Write) -> Outcome {
    let Write { key, api_version, resource_version, status } = write;
    let version = api_version.rsplit('/').next().unwrap_or_default().to_owned();
    let resource = ApiResource {
        group: key.kind.group().to_owned(),
        version,
        api_version: api_version.clone(),
        kind: key.kind.as_str().to_owned(),
        plural: plural(key.kind).unwrap_or_default().to_owned(),
    };
    let (namespace, name) = (key.object.namespace.as_str(), key.object.name.as_str());
    let objects: Api<DynamicObject> = if key.kind.cluster_scoped() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    let patch = json!({"metadata": {"resourceVersion": resource_version}, "status": status});
    let patch = Patch::Merge(&patch);
    let parameters = PatchParams { field_manager: Some(manager), ..PatchParams::default() };
    let writing = objects.patch_status(name, &parameters, &patch);
    // What is stuck must not keep a place.
    let Ok(written) = timeout(PATIENCE, writing).await else { return Outcome::Again };
    let error = match written {
        Ok(mut object) => {
            let types = kube::core::TypeMeta { api_version, kind: resource.kind };
            object.types = Some(types);
            let over = resource_version;
            return Observed::of(&object)
                .map_or(Outcome::Pointless, |now| Outcome::Written { over, now });
        }
        Err(error) => error,
    };
    let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
    match code {
        404 => Outcome::Pointless,
        // Somebody else was faster. To see what they wrote leads to another attempt before this one.
        409 => Outcome::Again,
        400 | 413 | 422 => {
            tracing::error!(object = %key, error = &error as &dyn std::error::Error,
                "the API server refuses a status");
            Outcome::Pointless
        }
        _ => {
            tracing::warn!(object = %key, error = &error as &dyn std::error::Error,
                "a status cannot be written, trying again");
            Outcome::Again
        }
    }
}
