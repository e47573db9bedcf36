//! One kind of objects, followed for as long as somebody listens.
//!
//! What an API server may do to a watch is met here, so that nobody else has to: it expires, is refused for
//! a while, comes back with objects gone that nobody told of, is cut in the middle of an object, or serves
//! another version after an upgrade (cases F2, F8, F11, F18, F24). What was told stands until something
//! else is; nothing is told of a failure that passes.
//!
//! A list counts as a whole or not at all: of one that is cut short, nothing is known to be gone, and what
//! the next one does not have is (case F8). Whatever fails is tried again more and more seldom, until a
//! watch has told of a change or has lived for a while.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, stream::BoxStream};
use kube::{
    Api, Client,
    api::{ListParams, WatchParams},
    core::{DynamicObject, TypeMeta, WatchEvent},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use crate::{
    backoff::Backoff,
    resource::{Found, Resource, Trouble, api, code, find, trouble},
};

/// How often to look whether a kind that was missing is there, and whether one that seems to be is.
const LOOK: Duration = Duration::from_secs(2);
/// A watch that lived for so long was no failure.
const STEADY: Duration = Duration::from_secs(5);
/// A watch that is refused is so within that time.
const ANSWER: Duration = Duration::from_secs(1);
/// Objects of one page, where lists have pages.
const PAGE: u32 = 500;
/// What a server says at the end of a streaming list.
const LISTED: &str = "k8s.io/initial-events-end";

/// What is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// The kind.
    pub resource: Resource,
    /// The namespace; none means all.
    pub namespace: Option<String>,
    /// A field selector, such as `metadata.name=web`.
    pub fields: Option<String>,
    /// A label selector.
    pub labels: Option<String>,
}

impl Watched {
    /// All objects of a kind.
    pub fn all(resource: Resource) -> Self {
        Self { resource, namespace: None, fields: None, labels: None }
    }

    /// One object.
    pub fn one(resource: Resource, namespace: &str, name: &str) -> Self {
        let fields = Some(format!("metadata.name={name}"));
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty()).map(str::to_owned);
        Self { resource, namespace, fields, labels: None }
    }
}

/// What is told.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// An object is there, or is different. It has its `apiVersion` and `kind`.
    Upsert(Box<DynamicObject>),
    /// An object is gone.
    Delete {
        /// Its namespace; empty for a cluster-scoped one.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// What is known of the kind as a whole.
    State(State),
}

/// What is known of a kind as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Every object there is was told of.
    Synced,
    /// The API server does not have the kind; there are no objects.
    Absent,
    /// We may not read it, with the API server's reason. What was told before stands.
    Forbidden(String),
}

type Id = (String, String);

/// Follows `watched` and tells of it, for as long as `events` is listened to.
///
/// A kind that was told of as [`State::Synced`] and is lost for a while is told of again when it is back:
/// first every object that is there, then a [`Event::Delete`] for each that is gone, then the state.
pub async fn follow(client: Client, watched: Watched, events: mpsc::Sender<Event>) {
    let heard = events.clone();
    let mut follower = Follower {
        client,
        watched,
        events,
        known: BTreeSet::new(),
        said: None,
        backoff: Backoff::default(),
    };
    let following = async {
        loop {
            follower.round().await;
        }
    };
    tokio::select! {
        () = following => {}
        () = heard.closed() => {}
    }
}

struct Follower {
    client: Client,
    watched: Watched,
    events: mpsc::Sender<Event>,
    /// What was told of and not yet told to be gone.
    known: BTreeSet<Id>,
    said: Option<State>,
    backoff: Backoff,
}

/// A kind as it was found.
struct Source {
    objects: Api<DynamicObject>,
    types: TypeMeta,
    fields: Option<String>,
    labels: Option<String>,
    /// Whether the server has streaming lists, for all that is known.
    streaming: bool,
}

/// How far a watch has come.
#[derive(Default)]
struct Place {
    /// Where in history it goes on; none when everything has to be listed first.
    version: Option<String>,
    /// Whether it told of a change since it was opened.
    moved: bool,
}

type Watching = BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>;

impl Source {
    /// A watch from `version` on, or one that lists first.
    async fn open(&self, version: Option<&str>) -> kube::Result<Watching> {
        let parameters = WatchParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            send_initial_events: version.is_none(),
            ..WatchParams::default()
        };
        self.objects.watch(&parameters, version.unwrap_or("0")).await.map(StreamExt::boxed)
    }
}

impl Follower {
    /// Finds the kind and watches it until it has to be found anew.
    async fn round(&mut self) {
        let mut source = self.found().await;
        let mut place = Place::default();
        loop {
            let began = Instant::now();
            place.moved = false;
            let ended = self.watch(&source, &mut place).await;
            let steady = began.elapsed() >= STEADY;
            if steady || place.moved {
                self.backoff.succeeded();
            }
            match ended {
                // As a server does every few minutes.
                Ok(()) if steady => {}
                Ok(()) => {
                    let wait = self.backoff.failed();
                    tracing::warn!(
                        kind = source.types.kind,
                        ?wait,
                        "a watch ended at once, trying again"
                    );
                    sleep(wait).await;
                }
                Err(error) if unstreamed(&error, &source, &place) => source.streaming = false,
                Err(error) => {
                    if self.failed(error, &source, &mut place).await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until the kind is there and may be read.
    async fn found(&mut self) -> Source {
        // One answer may be of a server that does not know everything yet.
        let mut missed = false;
        loop {
            let Watched { resource, namespace, fields, labels } = &self.watched;
            let found = find(&self.client, resource, namespace.as_deref(), fields.as_deref()).await;
            let wait = match found {
                Ok(Found::Served(served)) => {
                    return Source {
                        objects: api(&self.client, &served, namespace.as_deref()),
                        types: TypeMeta { api_version: served.api_version, kind: served.kind },
                        fields: fields.clone(),
                        labels: labels.clone(),
                        streaming: true,
                    };
                }
                Ok(Found::Absent) if missed => {
                    self.known.clear();
                    self.say(State::Absent).await;
                    LOOK
                }
                Ok(Found::Absent) => {
                    missed = true;
                    LOOK
                }
                Err(Trouble::Forbidden(why)) => {
                    missed = false;
                    self.say(State::Forbidden(why)).await;
                    self.backoff.failed()
                }
                Err(error @ Trouble::Unreachable(_)) => {
                    missed = false;
                    let wait = self.backoff.failed();
                    interrupted(&self.watched.resource.kind, &error, wait);
                    wait
                }
            };
            sleep(wait).await;
        }
    }

    /// Lists what is there unless that is known, and tells of changes until the watch ends.
    async fn watch(&mut self, source: &Source, place: &mut Place) -> kube::Result<()> {
        let mut watching = if let Some(version) = &place.version {
            source.open(Some(version)).await?
        } else {
            let listed =
                if source.streaming { self.stream(source).await? } else { self.list(source).await? };
            let Some((version, watching)) = listed else { return Ok(()) };
            place.version = Some(version);
            watching
        };
        if matches!(self.said, Some(State::Forbidden(_))) {
            // Whether a watch is permitted is not known before it is answered.
            if let Ok(answer) = timeout(ANSWER, next(&mut watching, source)).await {
                let Some(event) = answer? else { return Ok(()) };
                self.take(event, source, place).await;
            }
        }
        self.say(State::Synced).await;
        while let Some(event) = next(&mut watching, source).await? {
            self.take(event, source, place).await;
        }
        Ok(())
    }

    /// Tells of one change, and notes how far the watch has come by it.
    async fn take(&mut self, event: WatchEvent<DynamicObject>, source: &Source, place: &mut Place) {
        let version = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.metadata.resource_version.clone();
                self.upsert(object, source).await;
                place.moved = true;
                version
            }
            WatchEvent::Deleted(object) => {
                self.delete(id(&object)).await;
                place.moved = true;
                object.metadata.resource_version
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(_) => None,
        };
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            place.version = Some(version);
        }
    }

    /// A list that is the beginning of a watch; none when it was cut short.
    async fn stream(&mut self, source: &Source) -> kube::Result<Option<(String, Watching)>> {
        let mut watching = source.open(None).await?;
        let mut listed = BTreeSet::new();
        while let Some(event) = next(&mut watching, source).await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    listed.insert(id(&object));
                    self.upsert(object, source).await;
                }
                WatchEvent::Bookmark(bookmark) if bookmark.metadata.annotations.contains_key(LISTED) => {
                    self.keep(&listed).await;
                    return Ok(Some((bookmark.metadata.resource_version, watching)));
                }
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
            }
        }
        Ok(None)
    }

    /// A list in pages, and a watch from there on.
    async fn list(&mut self, source: &Source) -> kube::Result<Option<(String, Watching)>> {
        let mut listed = BTreeSet::new();
        let mut parameters = ListParams {
            label_selector: source.labels.clone(),
            field_selector: source.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let version = loop {
            let page = source.objects.list(&parameters).await?;
            for object in page.items {
                listed.insert(id(&object));
                self.upsert(object, source).await;
            }
            parameters.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                break page.metadata.resource_version.unwrap_or_default();
            }
        };
        self.keep(&listed).await;
        let watching = source.open(Some(&version)).await?;
        Ok(Some((version, watching)))
    }

    /// Waits after a failure, and sees to it that what it takes back is not relied on; whether the kind has
    /// to be found anew.
    async fn failed(&mut self, error: kube::Error, source: &Source, place: &mut Place) -> bool {
        let (code, wait) = (code(&error), self.backoff.failed());
        match code {
            // The place in history is no longer there; or not yet, as after a restore from a backup.
            Some(400 | 410 | 422 | 504) => place.version = None,
            Some(401 | 403 | 404) => {}
            _ => interrupted(&source.types.kind, &error, wait),
        }
        let anew = matches!(code, Some(401 | 403 | 404));
        tracing::debug!(kind = source.types.kind, %error, anew, "a watch failed");
        if let Trouble::Forbidden(why) = trouble(error) {
            self.say(State::Forbidden(why)).await;
        }
        sleep(wait).await;
        anew
    }

    async fn upsert(&mut self, mut object: DynamicObject, source: &Source) {
        self.known.insert(id(&object));
        object.types = Some(source.types.clone());
        object.metadata.managed_fields = None;
        self.tell(Event::Upsert(Box::new(object))).await;
    }

    async fn delete(&mut self, id: Id) {
        if self.known.remove(&id) {
            let (namespace, name) = id;
            self.tell(Event::Delete { namespace, name }).await;
        }
    }

    /// These are all that there are.
    async fn keep(&mut self, listed: &BTreeSet<Id>) {
        let gone: Vec<Id> = self.known.difference(listed).cloned().collect();
        for id in gone {
            self.delete(id).await;
        }
    }

    async fn say(&mut self, state: State) {
        if self.said.as_ref() != Some(&state) {
            self.said = Some(state.clone());
            self.tell(Event::State(state)).await;
        }
    }

    async fn tell(&mut self, event: Event) {
        if self.events.send(event).await.is_err() {
            // Nobody listens: this is over.
            std::future::pending::<()>().await;
        }
    }
}

/// What comes next; none at the end.
async fn next(
    watching: &mut Watching,
    source: &Source,
) -> kube::Result<Option<WatchEvent<DynamicObject>>> {
    loop {
        match watching.next().await {
            None => return Ok(None),
            Some(Ok(WatchEvent::Error(status))) => return Err(kube::Error::Api(status)),
            Some(Err(error)) if unreadable(&error) => {
                tracing::warn!(kind = source.types.kind, %error, "part of a watch cannot be read");
            }
            Some(event) => return event.map(Some),
        }
    }
}

/// Whether an error says that one line of a watch makes no sense; those after it may. A line that is no event
/// is taken for an error of the server, which then has no code.
fn unreadable(error: &kube::Error) -> bool {
    matches!(error, kube::Error::SerdeError(_)) || code(error) == Some(0)
}

/// Whether an error says that the server has no streaming lists.
fn unstreamed(error: &kube::Error, source: &Source, place: &Place) -> bool {
    source.streaming && place.version.is_none() && matches!(code(error), Some(400 | 422))
}

/// Says so; apart, so that a watch can move between threads.
fn interrupted(kind: &str, error: &(dyn std::error::Error + 'static), wait: Duration) {
    tracing::warn!(kind, error, ?wait, "cannot read from the API server, trying again");
}

fn id(object: &DynamicObject) -> Id {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests;
