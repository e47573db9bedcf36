//! The running operator: what it sees, when a plan is made, and who makes it.
//!
//! Every replica watches; the one that holds the Lease plans and writes. A plan is made when anything
//! changed, at most every [`PAUSE`]. What was written is put where the watches put what they see, so that
//! the next plan does not want it again.

mod rest;
mod unseen;

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream, stream::BoxStream};
use isthmus_api_server::{Elector, Event, Leadership, Resource, State, Watched, answer_probes, follow};
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

use self::{rest::Resting, unseen::Unseen};
use crate::{
    apply::{apply, found},
    component::READY_PORT,
    difference::differences,
    object::{self, Kind, OURS, OWNED, ObjectKey},
    observed::{Observed, Place},
    plan::{Action, Step, next},
    status::Transition,
};

/// The least time between two plans.
const PAUSE: Duration = Duration::from_millis(100);
/// Until a plan is made again that waits for something which no watch tells of.
const WAIT: Duration = Duration::from_secs(5);
/// Until a plan is made again that was made of what is no longer so, when no watch tells what is.
const STALE: Duration = Duration::from_secs(1);

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
    resting: Resting,
    unseen: Unseen,
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
        let (resting, unseen) = <_>::default();
        Self { client, leadership, ready, recorder, events, observed, pending, resting, unseen }
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
                () = until(self.unseen.due()) => {
                    if self.ask().await {
                        next = Some(Instant::now());
                    }
                }
            }
        }
    }

    /// Takes note of what a watch told; whether anything is different now.
    fn see(&mut self, kind: &'static Kind, event: Event) -> bool {
        match event {
            Event::Upsert(object) => {
                let key = ObjectKey::of(kind, &object);
                self.unseen.saw(&key, Some(&object));
                self.put(key, *object)
            }
            Event::Delete { namespace, name } => {
                let key = ObjectKey::new(kind, &namespace, &name);
                self.unseen.saw(&key, None);
                self.observed.objects.remove(&key).is_some()
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

    /// Asks for what was written and that no watch tells of. Whether anything is different now.
    async fn ask(&mut self) -> bool {
        let mut news = false;
        for key in self.unseen.overdue(Instant::now()) {
            match found(&self.client, &key).await {
                Ok(Some(object)) => {
                    self.unseen.wrote(&key, &object, Instant::now());
                    news |= self.put(key, object);
                }
                Ok(None) => {
                    self.unseen.forget(&key);
                    news |= self.observed.objects.remove(&key).is_some();
                }
                Err(error) => {
                    tracing::debug!(%error, object = %key, "cannot be asked for");
                    self.unseen.later(&key, Instant::now());
                }
            }
        }
        news
    }

    /// Makes a plan and does it; when to make the next one if nothing happens.
    async fn turn(&mut self) -> Option<Instant> {
        self.observed.now = Timestamp::now();
        self.observed.failures = self.resting.failures();
        let mut plan = next(&self.observed);
        let (steps, forgot) = self.resting.without(plan.steps, Instant::now());
        plan.steps = steps;
        for step in &plan.steps {
            tracing::info!(object = %step.action.key(), action = step.action.verb(), why = step.action.why(), "apply");
        }
        let (leads, mut lost) = (self.leadership.clone(), self.leadership.clone());
        let may_write = || leads.holds();
        let applied = tokio::select! {
            biased;
            // What was asked for may still be done: it is fenced by what was seen. The rest is not begun.
            () = lost.lost() => return Some(Instant::now()),
            applied = apply(&self.client, &plan, &may_write) => applied,
        };
        for (key, error) in &applied.failures {
            tracing::warn!(object = %key, %error, "cannot be written");
        }
        let (mut news, mut told) = (forgot, false);
        for (key, object) in applied.written {
            told |= key.kind == object::MESH_INSTALL;
            self.see_overruled(&plan.steps, &key, &object);
            if self.put(key.clone(), object.clone()) {
                self.unseen.wrote(&key, &object, Instant::now());
                news = true;
            }
        }
        if !leads.holds() {
            return Some(Instant::now());
        }
        news |= self.resting.note(&plan.steps, applied.failures, Instant::now());
        // A status that is not written yet is as new the next time.
        if told {
            self.tell(plan.transitions).await;
        }
        // What is new in the status has yet to be told, and what was written may ask for more, while the
        // watches tell of nothing that is not known already.
        let soon = [(news, PAUSE), (applied.stale, STALE), (plan.waits, WAIT)];
        let soon = soon.into_iter().filter(|(so, _)| *so).map(|(_, wait)| Instant::now() + wait);
        soon.chain(self.resting.ends(Instant::now())).min()
    }

    /// Takes note of what was another one's in `object` as soon as it was written.
    fn see_overruled(&mut self, steps: &[Step], key: &ObjectKey, object: &DynamicObject) {
        let of = |step: &&Step| step.action.key() == key && !matches!(step.action, Action::Status(_));
        let Some((Action::Create(manifest) | Action::Change(manifest, _), wish)) =
            steps.iter().find(of).map(|step| (&step.action, rest::wish(&step.action)))
        else {
            return;
        };
        if manifest.digest().is_none() || key.kind == object::DEFINITION {
            return;
        }
        let fields = differences(&wish, &serde_json::to_value(object).unwrap_or_default());
        if fields.is_empty() {
            self.observed.overruled.remove(key);
        } else {
            let fields = fields.into_iter().map(|field| field.path).collect();
            self.observed.overruled.insert(key.clone(), fields);
        }
    }

    async fn tell(&self, transitions: Vec<Transition>) {
        let Some(install) = self.observed.install() else { return };
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

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether `known` was written after `object`, which a watch told of late.
fn is_newer(known: &DynamicObject, object: &DynamicObject) -> bool {
    known.metadata.uid == object.metadata.uid && unseen::version(known) > unseen::version(object)
}
