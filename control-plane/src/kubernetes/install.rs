//! The MeshInstall that says what this mesh is.

use isthmus_api_server::{Client, Event, Resource, Watched};
use isthmus_crds::MeshInstall;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, core::ApiResource};
use tokio::sync::mpsc;

use super::cluster::News;
use crate::{core::Input, settings::Settings};

/// What is to come of the MeshInstall.
pub(super) struct Installs {
    events: mpsc::Receiver<Event>,
    /// The object that was told of last: it owns what this control plane makes for itself.
    owner: OwnerReference,
}

/// Waits until the MeshInstall `name` is there and makes sense: before, nobody knows who this cluster is.
pub(super) async fn first(client: Client, name: &str) -> (Settings, Installs) {
    let resource = Resource {
        group: isthmus_crds::GROUP.to_owned(),
        versions: vec!["v1alpha1".to_owned()],
        kind: "MeshInstall".to_owned(),
    };
    let (events, told) = mpsc::channel(1);
    tokio::spawn(isthmus_api_server::follow(client, Watched::one(resource, "", name), events));
    let mut installs = Installs { events: told, owner: OwnerReference::default() };
    tracing::info!(name, "waiting for the mesh install");
    loop {
        if let Some(settings) = installs.next().await {
            return (settings, installs);
        }
    }
}

impl Installs {
    /// The MeshInstall as the owner of other objects, which go with it.
    pub(super) fn owner(&self) -> OwnerReference {
        self.owner.clone()
    }

    /// The next settings; none when what was told are none that can be used.
    async fn next(&mut self) -> Option<Settings> {
        let Some(event) = self.events.recv().await else { return std::future::pending().await };
        match event {
            Event::Upsert(object) => {
                self.owner = object
                    .controller_owner_ref(&ApiResource::erase::<MeshInstall>(&()))
                    .unwrap_or_default();
                match Settings::of(Some(&object.data)) {
                    Ok(settings) => Some(settings),
                    Err(error) => {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "mesh install refused, the settings before it stand"
                        );
                        None
                    }
                }
            }
            Event::Delete { name, .. } => {
                tracing::warn!(name, "mesh install is gone, its settings stand");
                None
            }
            Event::State(state) => {
                tracing::debug!(?state, "mesh install");
                None
            }
        }
    }
}

/// Tells the core of every change.
pub(super) async fn follow(mut installs: Installs, inputs: mpsc::Sender<Input<News>>) {
    loop {
        if let Some(settings) = installs.next().await
            && inputs.send(Input::Told(News::Settings(Box::new(settings)))).await.is_err()
        {
            return;
        }
    }
}
