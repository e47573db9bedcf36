//! One watch for each kind of objects that the World has, Secrets apart, and one for each definition of
//! Gateway API's kinds.

use std::collections::BTreeMap;

use isthmus_api_server::{Client, Event, Resource, State, Watched};
use isthmus_gateway::definitions::{self, BUNDLE_VERSION};
use isthmus_world::{Change, Kind};
use tokio::{sync::mpsc, task::JoinSet};

use super::cluster::News;
use crate::core::Input;

/// Objects that may wait in front of the queue.
const AHEAD: usize = 64;

/// Follows everything, for as long as `inputs` is listened to.
pub(super) fn follow(client: &Client, inputs: &mpsc::Sender<Input<News>>, tasks: &mut JoinSet<()>) {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Secret) {
        let (events, told) = mpsc::channel(AHEAD);
        let watched = Watched::all(resource(kind));
        tasks.spawn(isthmus_api_server::follow(client.clone(), watched, events));
        tasks.spawn(pass_on(kind, told, inputs.clone()));
    }
    let (found, all) = mpsc::channel(AHEAD);
    for name in definitions::names() {
        let (events, told) = mpsc::channel(AHEAD);
        let watched = Watched::one(definition(), "", &name);
        tasks.spawn(isthmus_api_server::follow(client.clone(), watched, events));
        tasks.spawn(pass_on_definition(name, told, found.clone()));
    }
    tasks.spawn(tell_definitions(all, inputs.clone()));
}

/// The kind as an API server knows it.
pub(super) fn resource(kind: Kind) -> Resource {
    Resource {
        group: kind.group().to_owned(),
        versions: kind.versions().iter().map(|version| (*version).to_owned()).collect(),
        kind: kind.as_str().to_owned(),
    }
}

fn definition() -> Resource {
    Resource {
        group: "apiextensions.k8s.io".to_owned(),
        versions: vec!["v1".to_owned()],
        kind: "CustomResourceDefinition".to_owned(),
    }
}

async fn pass_on(kind: Kind, mut told: mpsc::Receiver<Event>, inputs: mpsc::Sender<Input<News>>) {
    while let Some(event) = told.recv().await {
        if inputs.send(Input::Told(News::Object(kind, event))).await.is_err() {
            return;
        }
    }
}

/// A definition by name, when it is there with what it says of its release.
type Found = (String, Option<Option<String>>);

/// Tells whether a definition is there, once that is known.
async fn pass_on_definition(name: String, mut told: mpsc::Receiver<Event>, found: mpsc::Sender<Found>) {
    let mut bundle = None;
    while let Some(event) = told.recv().await {
        match event {
            Event::Upsert(object) => {
                let annotations = object.metadata.annotations.unwrap_or_default();
                bundle = Some(annotations.get(BUNDLE_VERSION).cloned());
            }
            Event::Delete { .. } | Event::State(State::Absent) => bundle = None,
            Event::State(State::Synced) => {}
            Event::State(State::Forbidden(_)) => continue,
        }
        if found.send((name.clone(), bundle.clone())).await.is_err() {
            return;
        }
    }
}

/// Tells of the definitions when it is known of each whether it is there: one that is not, is missed.
async fn tell_definitions(mut found: mpsc::Receiver<Found>, inputs: mpsc::Sender<Input<News>>) {
    let mut known = BTreeMap::new();
    while let Some((name, bundle)) = found.recv().await {
        known.insert(name, bundle);
        if !definitions::names().all(|name| known.contains_key(&name)) {
            continue;
        }
        let there = known.iter().filter_map(|(name, bundle)| Some((name.clone(), bundle.clone()?)));
        let change = Change::Definitions(there.collect());
        if inputs.send(Input::Changes(vec![change])).await.is_err() {
            return;
        }
    }
}
