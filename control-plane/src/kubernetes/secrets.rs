//! Secrets, one watch for each that a Gateway of ours refers to and may refer to, and none for any other: no
//! right to read all Secrets is needed, and none that nobody asks for is in memory (case F23).

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::Duration,
};

use isthmus_api_server::{Client, Event, State, Watched};
use isthmus_ir::ObjectRef;
use isthmus_world::Kind;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

use super::{cluster::News, sources::resource};
use crate::core::Input;

/// A Gateway waits for a Secret so long at most. It may be read only once the operator, too, has seen that
/// the Gateway refers to it.
const PATIENCE: Duration = Duration::from_secs(5);
/// An API server that is asked for a Secret, and says nothing to that while it answers so often, a while
/// apart, cannot read it. A watch begins again more often.
const HEARD: u32 = 4;

/// Follows the Secrets that are asked for.
pub(super) struct Secrets {
    client: Client,
    inputs: mpsc::Sender<Input<News>>,
    followed: BTreeMap<ObjectRef, AbortHandle>,
    tasks: JoinSet<()>,
}

impl Secrets {
    pub(super) fn new(client: Client, inputs: mpsc::Sender<Input<News>>) -> Self {
        Self { client, inputs, followed: BTreeMap::new(), tasks: JoinSet::new() }
    }

    /// Follows those of `wanted`, for as long as somebody says what is wanted.
    pub(super) async fn follow(mut self, mut wanted: watch::Receiver<BTreeSet<ObjectRef>>) {
        loop {
            let now = wanted.borrow_and_update().clone();
            let gone: Vec<_> =
                self.followed.keys().filter(|secret| !now.contains(*secret)).cloned().collect();
            for secret in gone {
                if let Some(task) = self.followed.remove(&secret) {
                    task.abort();
                }
                if self.inputs.send(Input::Told(News::SecretUnwanted(secret))).await.is_err() {
                    return;
                }
            }
            for secret in now {
                if !self.followed.contains_key(&secret) {
                    self.begin(secret);
                }
            }
            while self.tasks.try_join_next().is_some() {}
            if wanted.changed().await.is_err() {
                return;
            }
        }
    }

    fn begin(&mut self, secret: ObjectRef) {
        let watched = Watched::one(resource(Kind::Secret), &secret.namespace, &secret.name);
        let task = one(self.client.clone(), watched, secret.clone(), self.inputs.clone());
        self.followed.insert(secret, self.tasks.spawn(task));
    }
}

/// Follows one Secret. What is known of it is told once it may be read, and after a while when it may not.
async fn one(client: Client, watched: Watched, secret: ObjectRef, inputs: mpsc::Sender<Input<News>>) {
    let (events, mut told) = mpsc::channel::<Event>(1);
    let passing = async {
        let mut patience = pin!(sleep(PATIENCE));
        let (mut refusal, mut answered, mut heard) = (None, false, 0);
        loop {
            let event = tokio::select! {
                event = told.recv() => match event {
                    None => return,
                    Some(Event::State(State::Forbidden(reason))) if !answered => {
                        refusal = Some(reason);
                        continue;
                    }
                    Some(event) => event,
                },
                () = &mut patience, if !answered => {
                    // An API server that is away has refused nothing: what is known stands until it is back,
                    // and has been asked anew (cases E3, F4).
                    let answers = timeout(PATIENCE, client.apiserver_version()).await;
                    heard = if matches!(answers, Ok(Ok(_))) { heard + 1 } else { 0 };
                    if refusal.is_none() && heard < HEARD {
                        patience.as_mut().reset(Instant::now() + PATIENCE);
                        continue;
                    }
                    let reason = refusal.clone().unwrap_or_else(|| "no answer".to_owned());
                    Event::State(State::Forbidden(reason))
                }
            };
            answered |= matches!(event, Event::State(_));
            if inputs.send(Input::Told(News::Secret(secret.clone(), event))).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(isthmus_api_server::follow(client.clone(), watched, events), passing);
}
