//! The running operator: what it sees, when a plan is made, and who makes it.
//!
//! Every replica watches; the one that holds the Lease plans and writes. A plan is made when anything
//! changed, at most every [`PAUSE`]. What was written is put where the watches put what they see, so that
//! the next plan does not want it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use isthmus_api_server::{Elector, Event, Leadership, Resource, State, Watched, answer_probes, follow};
use isthmus_crds::MeshInstall;
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{
    Client,
    core::DynamicObject,
    runtime::events::{self, EventType, Recorder, Reporter},
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    apply::apply,
    beside,
    component::READY_PORT,
    object::{self, Kind, OURS, OWNED, ObjectKey},
    observed::{Observed, Place},
    plan::{Action, Step, plan, without_install},
    status::{Transition, superseded, unreadable},
};

/// The least time between two plans.
const PAUSE: Duration = Duration::from_millis(100);
/// Until a plan is made again that waits for something which no watch tells of.
const WAIT: Duration = Duration::from_secs(5);
/// Until a plan is tried again of which a step failed: first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Runs until `shutdown`, as the replica called `pod`.
pub async fn run(client: Client, place: Place, pod: &str, shutdown: impl Future<Output = ()>) {
    let elector = Elector::new(client.clone(), &place.namespace, "isthmus-operator", pod);
    let leadership = elector.leadership();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let elector = tokio::spawn(elector.run(async {
        // The sender is dropped when the operator ends.
        let _ = ended.await;
    }));
    let (ready, is_ready) = watch::channel(false);
    let answers = tokio::spawn(answer(is_ready));
    let operator = Operator::new(client, place, leadership, ready, pod);
    tokio::select! {
        () = operator.run() => {}
        () = shutdown => {}
    }
    drop(end);
    answers.abort();
    // It gives the Lease back; when it cannot, the Lease runs out.
    let _ = tokio::time::timeout(Duration::from_secs(5), elector).await;
}

/// Answers whether the operator is ready. That nobody can ask is no reason not to work.
async fn answer(ready: watch::Receiver<bool>) {
    let port = u16::try_from(READY_PORT).unwrap_or_default();
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(listener) => answer_probes(listener, ready).await,
        Err(error) => tracing::warn!(%error, port, "cannot answer whether the operator is ready"),
    }
}

/// The kinds that are watched, and which versions of them are understood.
pub(crate) fn watched() -> Vec<(&'static Kind, Watched)> {
    let all = [
        object::MESH_INSTALL,
        object::MESH_REVISION,
        object::GATEWAY_PARAMETERS,
        object::DEFINITION,
        object::GATEWAY,
        object::REFERENCE_GRANT,
        object::NAMESPACE,
        object::GATEWAY_CLASS,
    ];
    let owned = OWNED.iter().copied().filter(|kind| *kind != object::GATEWAY_CLASS);
    let whole = all.into_iter().map(|kind| (kind, Watched::all(resource(kind))));
    let owned = owned.map(|kind| {
        let labels = Some(format!("{}={}", OURS.0, OURS.1));
        (kind, Watched { labels, ..Watched::all(resource(kind)) })
    });
    whole.chain(owned).collect()
}

/// An object without what no plan looks at.
pub(crate) fn trim(kind: &Kind, mut object: DynamicObject) -> DynamicObject {
    if [object::DEFINITION, object::NAMESPACE].contains(&kind) {
        object.data = Value::Null;
    }
    object.metadata.managed_fields = None;
    object
}

fn resource(kind: &Kind) -> Resource {
    let older: &[&str] = if kind == object::REFERENCE_GRANT { &["v1beta1"] } else { &[] };
    let versions = std::iter::once(&kind.version).chain(older).map(|version| (*version).to_owned());
    Resource { group: kind.group.to_owned(), versions: versions.collect(), kind: kind.kind.to_owned() }
}

struct Operator {
    client: Client,
    leadership: Leadership,
    ready: watch::Sender<bool>,
    recorder: Recorder,
    events: BoxStream<'static, (&'static Kind, Event)>,
    observed: Observed,
    /// Kinds of which nothing is known yet.
    pending: BTreeSet<&'static Kind>,
    retry: Duration,
}

impl Operator {
    fn new(
        client: Client,
        place: Place,
        leadership: Leadership,
        ready: watch::Sender<bool>,
        pod: &str,
    ) -> Self {
        let reporter =
            Reporter { controller: "isthmus-operator".to_owned(), instance: Some(pod.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        let watched = watched();
        let pending = watched.iter().map(|(kind, _)| *kind).collect();
        let streams = watched.into_iter().map(|(kind, watched)| {
            let (sender, receiver) = mpsc::channel(64);
            tokio::spawn(follow(client.clone(), watched, sender));
            ReceiverStream::new(receiver).map(move |event| (kind, event))
        });
        let events = stream::select_all(streams).boxed();
        let observed = Observed::nothing(place, Timestamp::now());
        Self { client, leadership, ready, recorder, events, observed, pending, retry: RETRY.0 }
    }

    async fn run(mut self) {
        let mut next = Some(Instant::now());
        loop {
            let due = next.filter(|_| self.pending.is_empty());
            let leads = self.leadership.holds();
            tokio::select! {
                biased;
                Some((kind, event)) = self.events.next() => {
                    if self.see(kind, event) {
                        next = next.or(Some(Instant::now() + PAUSE)).map(|next| next.min(Instant::now() + PAUSE));
                    }
                }
                () = self.leadership.gained(), if !leads => next = Some(Instant::now()),
                () = until(due), if due.is_some() && leads => next = self.turn().await,
            }
        }
    }

    /// Takes note of what a watch told; whether anything is different now.
    fn see(&mut self, kind: &'static Kind, event: Event) -> bool {
        match event {
            Event::Upsert(object) => self.put(ObjectKey::of(kind, &object), *object),
            Event::Delete { namespace, name } => {
                self.observed.objects.remove(&ObjectKey::new(kind, &namespace, &name)).is_some()
            }
            Event::State(state) => self.know(kind, state),
        }
    }

    fn put(&mut self, key: ObjectKey, object: DynamicObject) -> bool {
        let object = trim(key.kind, object);
        let known = self.observed.objects.get(&key);
        if known.is_some_and(|known| **known == object || is_newer(known, &object)) {
            return false;
        }
        self.observed.objects.insert(key, Arc::new(object));
        true
    }

    fn know(&mut self, kind: &'static Kind, state: State) -> bool {
        match state {
            State::Synced => {
                self.observed.absent.remove(kind);
                self.permitted(kind);
            }
            State::Absent => {
                self.observed.absent.insert(kind);
                self.observed.objects.retain(|key, _| key.kind != kind);
                self.permitted(kind);
            }
            State::Forbidden(why) => self.refused(kind, why),
        }
        self.ready.send_replace(self.pending.is_empty());
        true
    }

    fn permitted(&mut self, kind: &'static Kind) {
        self.observed.forbidden.remove(kind);
        self.observed.unknown.remove(kind);
        self.pending.remove(kind);
    }

    /// A kind may not be read: the others go on (case F18). Without MeshInstalls nobody knows what is
    /// wanted, not even that nothing is.
    fn refused(&mut self, kind: &'static Kind, why: String) {
        tracing::error!(kind = kind.kind, why, "kind may not be read");
        if kind == object::MESH_INSTALL {
            return;
        }
        if self.pending.remove(kind) {
            self.observed.unknown.insert(kind);
        }
        self.observed.forbidden.insert(kind, why);
    }

    /// Makes a plan and does it; when to make the next one if nothing happens.
    async fn turn(&mut self) -> Option<Instant> {
        self.observed.now = Timestamp::now();
        let installs = self.observed.installs();
        let install = installs.first();
        let mut plan =
            install.map_or_else(|| without_install(&self.observed), |it| plan(it, &self.observed));
        plan.steps.extend(others(&installs, &self.observed));
        plan.steps.extend(beside::of_nobody(install, &self.observed));
        for step in &plan.steps {
            tracing::info!(object = %step.action.key(), action = step.action.verb(), why = step.action.why(), "apply");
        }
        let leadership = self.leadership.clone();
        let applied = apply(&self.client, &plan, &|| leadership.holds()).await;
        for (key, error) in &applied.failures {
            tracing::warn!(object = %key, error, "cannot be written");
        }
        let mut news = false;
        for (key, object) in applied.written {
            news |= self.put(key, object);
        }
        if let Some(install) = install {
            self.tell(install, plan.transitions).await;
        }
        self.next(applied.failures, news, plan.waits)
    }

    fn next(
        &mut self,
        failures: BTreeMap<ObjectKey, String>,
        news: bool,
        waits: bool,
    ) -> Option<Instant> {
        let failed = !failures.is_empty();
        let news = news || failures != self.observed.failures;
        self.observed.failures = failures;
        if news {
            // The status has yet to say so, or not to say so any longer; and what was written may ask for
            // more, while the watches tell of nothing that is not known already.
            return Some(Instant::now() + PAUSE);
        }
        if failed {
            let wait = self.retry;
            self.retry = (wait * 2).min(RETRY.1);
            return Some(Instant::now() + wait);
        }
        self.retry = RETRY.0;
        waits.then(|| Instant::now() + WAIT)
    }

    async fn tell(&self, install: &MeshInstall, transitions: Vec<Transition>) {
        let meta = &install.metadata;
        let reference = ObjectReference {
            api_version: Some(object::MESH_INSTALL.api_version()),
            kind: Some(object::MESH_INSTALL.kind.to_owned()),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        };
        for transition in transitions {
            let event = events::Event {
                type_: if transition.warning { EventType::Warning } else { EventType::Normal },
                reason: transition.reason,
                note: Some(transition.message.chars().take(1000).collect()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                tracing::debug!(%error, "event is not written");
            }
        }
    }
}

/// Statuses of MeshInstalls that are not in force, and of those that cannot be read.
fn others(installs: &[MeshInstall], observed: &Observed) -> Vec<Step> {
    let (first, others) = installs.split_first().map_or((None, installs), |(one, all)| (Some(one), all));
    let name = first.and_then(|first| first.metadata.name.as_deref()).unwrap_or_default();
    let statuses = others.iter().filter_map(|install| superseded(install, name, observed));
    let unread = observed.unreadable_installs();
    let unread = unread.filter_map(|(object, why)| unreadable(object, &why, observed));
    let all = statuses.chain(unread);
    all.map(|manifest| Step { unit: None, action: Action::Status(manifest) }).collect()
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether `known` was written after `object`, which a watch told of late.
fn is_newer(known: &DynamicObject, object: &DynamicObject) -> bool {
    let version =
        |object: &DynamicObject| object.metadata.resource_version.as_ref()?.parse::<u64>().ok();
    known.metadata.uid == object.metadata.uid && version(known) > version(object)
}
