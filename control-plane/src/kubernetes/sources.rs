//! One watch for each kind of objects that the World has, Secrets apart, and one for each definition of
//! Gateway API's kinds.

use std::collections::BTreeMap;

use isthmus_api_server::{Client, Event, Resource, Watched};
use isthmus_world::{Change, Kind};
use tokio::{sync::mpsc, task::JoinSet};

use super::cluster::News;
use crate::core::Input;

/// Objects that may wait in front of the queue.
const AHEAD: usize = 64;
/// The definitions whose bundle version says whether we understand the objects.
const DEFINITIONS: [&str; 4] = ["gatewayclasses", "gateways", "httproutes", "referencegrants"];
/// Where a definition says which release it is of.
const BUNDLE: &str = "gateway.networking.k8s.io/bundle-version";

/// Follows everything, for as long as `inputs` is listened to.
pub(super) fn follow(client: &Client, inputs: &mpsc::Sender<Input<News>>, tasks: &mut JoinSet<()>) {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Secret) {
        let (events, told) = mpsc::channel(AHEAD);
        let watched = Watched::all(resource(kind));
        tasks.spawn(isthmus_api_server::follow(client.clone(), watched, events));
        tasks.spawn(pass_on(kind, told, inputs.clone()));
    }
    let (events, told) = mpsc::channel(AHEAD);
    for plural in DEFINITIONS {
        let name = format!("{plural}.{}", isthmus_gateway::GROUP);
        let watched = Watched::one(definition(), "", &name);
        tasks.spawn(isthmus_api_server::follow(client.clone(), watched, events.clone()));
    }
    tasks.spawn(tell_definitions(told, inputs.clone()));
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

async fn tell_definitions(mut told: mpsc::Receiver<Event>, inputs: mpsc::Sender<Input<News>>) {
    let mut installed = BTreeMap::new();
    while let Some(event) = told.recv().await {
        match event {
            Event::Upsert(object) => {
                let annotations = object.metadata.annotations.unwrap_or_default();
                let name = object.metadata.name.unwrap_or_default();
                installed.insert(name, annotations.get(BUNDLE).cloned());
            }
            Event::Delete { name, .. } => drop(installed.remove(&name)),
            Event::State(_) => continue,
        }
        let change = Change::Definitions(installed.clone());
        if inputs.send(Input::Changes(vec![change])).await.is_err() {
            return;
        }
    }
}
