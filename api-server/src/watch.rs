//! One kind of objects, followed for as long as somebody listens.
//!
//! What an API server may do to a watch is met here, so that nobody else has to: it expires, is refused for
//! a while, comes back with objects gone that nobody told of, is cut in the middle of an object, or serves
//! another version after an upgrade (cases F2, F8, F11, F18, F24). What was told stands until something
//! else is; nothing is told of a failure that passes.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures_util::StreamExt as _;
use kube::{
    Client,
    core::{ApiResource, DynamicObject, TypeMeta},
    runtime::watcher::{self, InitialListStrategy, watcher},
};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    backoff::Backoff,
    resource::{Found, Resource, Trouble, api, code, find},
};

/// How often to look whether a kind that was missing is there.
const LOOK: Duration = Duration::from_secs(2);

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
    let mut follower = Follower { client, watched, events, known: BTreeSet::new(), said: None };
    // Ends when nobody listens.
    while follower.round().await.is_some() {}
}

struct Follower {
    client: Client,
    watched: Watched,
    events: mpsc::Sender<Event>,
    /// What was told of and not yet told to be gone.
    known: BTreeSet<Id>,
    said: Option<State>,
}

/// Why a watch is given up.
enum Lost {
    /// The version, the permission or the place in history is no longer good: look again.
    Stale,
    /// This server has no streaming lists.
    Unstreamed,
}

impl Follower {
    /// Finds the kind and watches it until it has to be found anew; none when nobody listens any more.
    async fn round(&mut self) -> Option<()> {
        let served = self.found().await?;
        let mut streaming = true;
        loop {
            match self.watch(&served, streaming).await? {
                Lost::Unstreamed => streaming = false,
                Lost::Stale => return Some(()),
            }
        }
    }

    /// Waits until the kind is there and may be read.
    async fn found(&mut self) -> Option<ApiResource> {
        let mut backoff = Backoff::default();
        loop {
            let Watched { resource, namespace, fields, .. } = &self.watched;
            let found = find(&self.client, resource, namespace.as_deref(), fields.as_deref()).await;
            let wait = match found {
                Ok(Found::Served(served)) => return Some(served),
                Ok(Found::Absent) => {
                    self.known.clear();
                    self.say(State::Absent).await?;
                    LOOK
                }
                Err(Trouble::Forbidden(why)) => {
                    self.say(State::Forbidden(why)).await?;
                    backoff.failed()
                }
                Err(error @ Trouble::Unreachable(_)) => {
                    let wait = backoff.failed();
                    interrupted(&self.watched.resource.kind, &error, wait);
                    wait
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.events.closed() => return None,
            }
        }
    }

    async fn watch(&mut self, served: &ApiResource, streaming: bool) -> Option<Lost> {
        let objects = api(&self.client, served, self.watched.namespace.as_deref());
        let config = watcher::Config {
            field_selector: self.watched.fields.clone(),
            label_selector: self.watched.labels.clone(),
            initial_list_strategy: if streaming {
                InitialListStrategy::StreamingList
            } else {
                InitialListStrategy::ListWatch
            },
            ..watcher::Config::default()
        };
        let mut stream = pin!(watcher(objects, config));
        let types = TypeMeta { api_version: served.api_version.clone(), kind: served.kind.clone() };
        let (mut backoff, mut listed) = (Backoff::default(), BTreeSet::new());
        loop {
            let event = tokio::select! {
                event = stream.next() => event?,
                () = self.events.closed() => return None,
            };
            match event {
                Ok(event) => {
                    backoff.succeeded();
                    self.tell(event, &types, &mut listed).await?;
                }
                Err(error) => {
                    if let Some(lost) = lost(&error, streaming) {
                        tracing::debug!(kind = served.kind, %error, "watch is given up");
                        return Some(lost);
                    }
                    let wait = backoff.failed();
                    interrupted(&served.kind, &error, wait);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn tell(
        &mut self,
        event: watcher::Event<DynamicObject>,
        types: &TypeMeta,
        listed: &mut BTreeSet<Id>,
    ) -> Option<()> {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) => {
                listed.insert(id(&object));
                self.upsert(object, types).await?;
            }
            watcher::Event::InitDone => {
                let gone: Vec<Id> = self.known.difference(listed).cloned().collect();
                for id in gone {
                    self.delete(id).await?;
                }
                listed.clear();
                self.say(State::Synced).await?;
            }
            watcher::Event::Apply(object) => self.upsert(object, types).await?,
            watcher::Event::Delete(object) => self.delete(id(&object)).await?,
        }
        Some(())
    }

    async fn upsert(&mut self, mut object: DynamicObject, types: &TypeMeta) -> Option<()> {
        self.known.insert(id(&object));
        object.types = Some(types.clone());
        object.metadata.managed_fields = None;
        self.events.send(Event::Upsert(Box::new(object))).await.ok()
    }

    async fn delete(&mut self, (namespace, name): Id) -> Option<()> {
        let id = (namespace, name);
        self.known.remove(&id);
        let (namespace, name) = id;
        self.events.send(Event::Delete { namespace, name }).await.ok()
    }

    async fn say(&mut self, state: State) -> Option<()> {
        if self.said.as_ref() != Some(&state) {
            self.said = Some(state.clone());
            self.events.send(Event::State(state)).await.ok()?;
        }
        Some(())
    }
}

/// Says so; apart, so that a watch can move between threads.
fn interrupted(kind: &str, error: &(dyn std::error::Error + 'static), wait: Duration) {
    tracing::warn!(kind, error, ?wait, "cannot read from the API server, trying again");
}

fn id(object: &DynamicObject) -> Id {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Whether an error means more than that the connection broke.
fn lost(error: &watcher::Error, streaming: bool) -> Option<Lost> {
    let code = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => code(error)?,
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::NoResourceVersion => return None,
    };
    match code {
        // The watcher itself lists anew after a 410 that comes as an event; one that is the answer to the
        // request it would ask again for ever.
        401 | 403 | 404 | 410 => Some(Lost::Stale),
        400 | 422 if streaming => Some(Lost::Unstreamed),
        _ => None,
    }
}
