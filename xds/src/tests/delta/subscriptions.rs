//! The server against clients of the standard protocol, which come and go with what they want.
//!
//! The reference is naive: what a client has been told, less what it does not want, is what there is of
//! what it wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use isthmus_ir::Name;
use proptest::prelude::*;
use prost::Message;

use super::{Contents, SCHEMA, edit, entry, id, published};
use crate::{
    delta::{
        Checksum, ResourceId, Set, TypeIndex, Version, message,
        server::{Limits, Subscriber},
    },
    proto::proxy,
};

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<(u8, Option<u8>)>),
    /// Of a type: names to subscribe to and to unsubscribe from; 3 stands for all.
    Want(u8, Vec<u8>, Vec<u8>),
    Poll,
    ToClient,
    ToServer,
    /// With a share of the versions, some of them wrong.
    Reconnect(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let edit = (0_u8..6, prop_oneof![3 => (0_u8..40).prop_map(Some), 1 => Just(None)]);
    let names = || prop::collection::vec(0_u8..4, 0..3);
    prop_oneof![
        4 => prop::collection::vec(edit, 0..4).prop_map(Op::Publish),
        4 => (0_u8..2, names(), names()).prop_map(|(kind, sub, unsub)| Op::Want(kind, sub, unsub)),
        8 => Just(Op::Poll),
        8 => Just(Op::ToClient),
        8 => Just(Op::ToServer),
        1 => any::<u8>().prop_map(Op::Reconnect),
    ]
}

/// What is wanted of a type.
#[derive(Clone, Default, Debug)]
struct Wants {
    all: bool,
    names: BTreeSet<Name>,
}

impl Wants {
    fn covers(&self, name: &Name) -> bool {
        self.all || self.names.contains(name)
    }

    fn change(&mut self, request: &message::Request, first: bool) {
        for name in &request.resource_names_unsubscribe {
            if name == "*" {
                self.all = false;
            }
            self.names.remove(&Name::from(name.as_str()));
        }
        let legacy = first && request.resource_names_subscribe.is_empty();
        self.all |= legacy;
        for name in &request.resource_names_subscribe {
            if name == "*" {
                self.all = true;
            } else {
                self.names.insert(name.as_str().into());
            }
        }
    }
}

#[derive(Default)]
struct Interests(BTreeMap<TypeIndex, Wants>);

impl Interests {
    fn change(&mut self, request: &message::Request) {
        let Some(kind) = SCHEMA.find(&request.type_url) else { return };
        let first = !self.0.contains_key(&kind);
        self.0.entry(kind).or_default().change(request, first);
    }

    fn name(&self, id: &ResourceId) -> bool {
        self.0.get(&id.kind).is_some_and(|wants| wants.names.contains(&id.name))
    }

    fn cover(&self, id: &ResourceId) -> bool {
        self.0.get(&id.kind).is_some_and(|wants| wants.covers(&id.name))
    }
}

struct World {
    contents: Contents,
    set: Set,
    subscriber: Subscriber,
    to_client: VecDeque<message::Response>,
    to_server: VecDeque<message::Request>,
    /// As the client has asked, and as the server has heard.
    wanted: Interests,
    heard: Interests,
    cache: BTreeMap<ResourceId, Version>,
    /// Names that are subscribed to, and of which nothing was heard since.
    unanswered: BTreeSet<ResourceId>,
    committed: Option<Checksum>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            contents: Contents::new(),
            set: Set::new(&SCHEMA),
            subscriber: Subscriber::new(&SCHEMA, Limits::default()),
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            wanted: Interests::default(),
            heard: Interests::default(),
            cache: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            committed: None,
        };
        world.ask_for_commits();
        world
    }

    fn ask_for_commits(&mut self) {
        let type_url = SCHEMA.commit.to_owned();
        self.to_server.push_back(message::Request { type_url, ..Default::default() });
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish(edits) => {
                edit(&mut self.contents, &edits);
                self.set.apply(self.set.revision() + 1, published(&edits));
            }
            Op::Want(kind, subscribe, unsubscribe) => {
                let name = |n: u8| if n == 3 { "*".to_owned() } else { format!("r{n}") };
                self.want(message::Request {
                    type_url: SCHEMA.types[usize::from(kind)].to_owned(),
                    resource_names_subscribe: subscribe.into_iter().map(name).collect(),
                    resource_names_unsubscribe: unsubscribe.into_iter().map(name).collect(),
                    ..Default::default()
                });
            }
            Op::Poll => drop(self.poll()),
            Op::ToClient => drop(self.deliver_to_client()),
            Op::ToServer => drop(self.deliver_to_server()),
            Op::Reconnect(seed) => self.reconnect(seed),
        }
    }

    fn want(&mut self, request: message::Request) {
        let kind = SCHEMA.find(&request.type_url).unwrap();
        self.wanted.change(&request);
        // What is not wanted any more is dropped here.
        let wanted = &self.wanted;
        self.cache.retain(|id, _| wanted.cover(id));
        self.unanswered.retain(|id| wanted.name(id));
        for name in request.resource_names_subscribe.iter().filter(|name| *name != "*") {
            self.unanswered.insert(ResourceId { kind, name: name.as_str().into() });
        }
        let gives_up = !request.resource_names_unsubscribe.is_empty();
        self.to_server.push_back(request);
        if gives_up {
            // The protocol does not let a client tell whether what arrives was sent before the server had
            // heard of this; so a client that may want all again waits.
            self.settle();
        }
    }

    fn reconnect(&mut self, seed: u8) {
        self.to_client.clear();
        self.to_server.clear();
        self.subscriber = Subscriber::new(&SCHEMA, Limits::default());
        self.heard = Interests::default();
        self.unanswered.clear();
        self.ask_for_commits();
        for (kind, wants) in std::mem::take(&mut self.wanted.0) {
            let held = self.cache.iter().filter(|(id, _)| id.kind == kind);
            let told = held.zip(0_u8..).filter(|(_, at)| seed >> (at % 8) & 1 == 0);
            let version = |version: &Version, at: u8| match (seed ^ at) % 5 {
                0 => "of another kind".to_owned(),
                _ => version.to_string(),
            };
            let versions: BTreeMap<String, String> =
                told.map(|((id, v), at)| (id.name.to_string(), version(v, at))).collect();
            // What it does not say that it holds, it does not hold.
            self.cache.retain(|id, _| id.kind != kind || versions.contains_key(id.name.as_str()));
            let all = wants.all.then(|| "*".to_owned());
            let names: Vec<_> = wants.names.iter().map(ToString::to_string).chain(all).collect();
            if names.is_empty() {
                self.cache.retain(|id, _| id.kind != kind);
                continue;
            }
            let known = |name: &str| versions.contains_key(name);
            for name in names.iter().filter(|name| *name != "*" && !known(name)) {
                self.unanswered.insert(ResourceId { kind, name: name.as_str().into() });
            }
            self.wanted.0.insert(kind, wants);
            self.to_server.push_back(message::Request {
                type_url: SCHEMA.url(kind).to_owned(),
                resource_names_subscribe: names,
                initial_resource_versions: versions,
                ..Default::default()
            });
        }
        let wanted = &self.wanted;
        self.unanswered.retain(|id| wanted.name(id));
    }

    fn poll(&mut self) -> bool {
        let Some(response) = self.subscriber.poll(&self.set) else { return false };
        if response.type_url == SCHEMA.commit {
            self.check_commit(&response);
        }
        self.to_client.push_back(response);
        true
    }

    /// A commit speaks of what there is of what the server has heard that the client wants.
    fn check_commit(&mut self, response: &message::Response) {
        let any = response.resources[0].resource.as_ref().unwrap();
        let commit = proxy::Commit::decode(any.value.clone()).unwrap();
        assert_eq!(commit.revision, self.set.revision());
        self.committed = Checksum::from_bytes(&commit.checksum);
        assert_eq!(self.committed, Some(self.checksum(&self.heard)));
    }

    fn checksum(&self, interests: &Interests) -> Checksum {
        let mut sum = Checksum::default();
        for (id, content) in self.contents.iter().filter(|(id, _)| interests.cover(id)) {
            sum.add(&SCHEMA, id, entry(*content).version);
        }
        sum
    }

    fn deliver_to_server(&mut self) -> bool {
        let Some(request) = self.to_server.pop_front() else { return false };
        self.heard.change(&request);
        self.subscriber.on_request(request).unwrap();
        true
    }

    fn deliver_to_client(&mut self) -> bool {
        let Some(response) = self.to_client.pop_front() else { return false };
        if let Some(kind) = SCHEMA.find(&response.type_url) {
            for resource in response.resources {
                let id = ResourceId { kind, name: resource.name.into() };
                self.unanswered.remove(&id);
                if self.wanted.cover(&id) {
                    self.cache.insert(id, resource.version.parse().unwrap());
                }
            }
            for name in response.removed_resources {
                let id = ResourceId { kind, name: name.into() };
                self.unanswered.remove(&id);
                self.cache.remove(&id);
            }
        }
        self.to_server.push_back(message::Request {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..Default::default()
        });
        true
    }

    fn settle(&mut self) {
        while self.poll() || self.deliver_to_client() || self.deliver_to_server() {}
    }

    fn check_settled(&self) {
        let wanted = self.contents.iter().filter(|(id, _)| self.wanted.cover(id));
        let expected: BTreeMap<_, _> = wanted.map(|(id, c)| (id.clone(), entry(*c).version)).collect();
        assert_eq!(self.cache, expected);
        assert_eq!(self.unanswered, BTreeSet::new());
        assert_eq!(self.committed, Some(self.checksum(&self.wanted)));
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn e10_a_client_has_what_it_wants(ops in prop::collection::vec(op(), 0..120)) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.settle();
        world.check_settled();
    }
}

#[test]
fn e10_wildcards_can_be_given_up() {
    let mut world = World::new();
    world.step(Op::Publish(vec![(0, Some(1)), (2, Some(2))]));
    world.step(Op::Want(0, vec![3, 0], vec![]));
    world.settle();
    assert_eq!(world.cache.len(), 2);
    world.step(Op::Want(0, vec![], vec![3]));
    world.settle();
    assert_eq!(world.cache.keys().cloned().collect::<Vec<_>>(), [id(0)]);
    world.check_settled();
}
