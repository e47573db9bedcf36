//! Server and client over a link that breaks at any time, both of them restarting.
//!
//! The reference is naive: whenever a commit is put in force, the client has what one published revision
//! had, but for what it refuses. Nothing that it has is sent to it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use isthmus_ir::Name;
use proptest::prelude::*;
use prost::Message;

use super::{Contents, SCHEMA, edit, entry, id, published};
use crate::delta::{
    ResourceId, Set, TypeIndex, Unbound, Version,
    client::{self, Machine, Step, Violation, Weigh},
    message,
    server::{self, Answer, Subscriber},
};

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<(u8, Option<u8>)>),
    Poll,
    ToClient,
    ToServer,
    /// Whatever is under way is lost.
    Reconnect,
    /// What no link may do: a response is gone, and the next arrives.
    Lose,
    RestartServer,
    /// Only what is in force outlives it.
    RestartClient,
    /// An answer to a commit of long ago.
    Stale,
    Rebind(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let edit = (0_u8..6, prop_oneof![3 => (0_u8..40).prop_map(Some), 1 => Just(None)]);
    prop_oneof![
        4 => prop::collection::vec(edit, 0..4).prop_map(Op::Publish),
        8 => Just(Op::Poll),
        8 => Just(Op::ToClient),
        8 => Just(Op::ToServer),
        1 => Just(Op::Reconnect),
        2 => Just(Op::Lose),
        1 => Just(Op::RestartServer),
        1 => Just(Op::RestartClient),
        1 => Just(Op::Stale),
        1 => any::<bool>().prop_map(Op::Rebind),
    ]
}

#[derive(Debug)]
struct Content(u8);

impl Weigh for Content {}

/// Refused where it is decoded.
fn malformed(content: u8) -> bool {
    content % 5 == 4
}

/// Refused where it is put in force.
fn unusable(content: u8) -> bool {
    content % 7 == 6
}

fn decode(_: TypeIndex, _: &Name, value: &bytes::Bytes) -> Result<Content, String> {
    let content = value[0];
    if malformed(content) { Err(format!("{content} is bad")) } else { Ok(Content(content)) }
}

/// A response is ended before this, so that almost all of them are split.
const RESPONSE_BYTES: usize = 400;

struct World {
    /// Every revision ever.
    history: BTreeMap<u64, Contents>,
    contents: Contents,
    revision: u64,
    /// None: the server has restarted and knows nothing yet.
    set: Option<Set>,
    subscriber: Subscriber,
    machine: Machine<Content>,
    to_client: VecDeque<message::Response>,
    to_server: VecDeque<message::Request>,
    /// What is in force at the client.
    force: Contents,
    /// What the client was sent, as far as it still knows.
    known: BTreeMap<ResourceId, Version>,
    /// Whether that is more than it knows.
    lost: bool,
    /// Whether a commit was sent, and its answer has not come.
    awaiting: bool,
    answer: Option<Answer>,
    bound: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            history: BTreeMap::new(),
            contents: Contents::new(),
            revision: 0,
            set: None,
            subscriber: subscriber(),
            machine: machine(),
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            force: Contents::new(),
            known: BTreeMap::new(),
            lost: false,
            awaiting: false,
            answer: None,
            bound: true,
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.to_client.clear();
        self.to_server.clear();
        self.subscriber = subscriber();
        self.answer = None;
        self.awaiting = false;
        self.to_server.extend(self.machine.connect(&message::Node::default()));
        if std::mem::take(&mut self.lost) {
            self.known = self.to_server.iter().flat_map(held).collect();
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Publish(edits) => self.publish(edits),
            Op::Poll => drop(self.poll()),
            Op::ToClient => drop(self.deliver_to_client()),
            Op::ToServer => drop(self.deliver_to_server()),
            Op::Reconnect => self.connect(),
            Op::Lose => {
                let data = self.to_client.pop_front_if(|r| r.type_url != SCHEMA.commit);
                if let Some(response) = data {
                    self.note_what_is_sent(&response);
                    self.lost = true;
                }
            }
            Op::RestartServer => {
                self.set = None;
                self.connect();
            }
            Op::RestartClient => self.restart_client(),
            Op::Stale => self.stale(),
            Op::Rebind(bound) => {
                self.bound = *bound;
                self.to_server.extend(self.machine.answer([], unbound(*bound)));
            }
        }
    }

    fn publish(&mut self, edits: &[(u8, Option<u8>)]) {
        edit(&mut self.contents, edits);
        self.revision += 1;
        self.history.insert(self.revision, self.contents.clone());
        if let Some(set) = &mut self.set {
            set.apply(self.revision, published(edits));
            return;
        }
        // After a restart the first publication brings everything.
        let all = self.contents.iter().map(|(id, c)| (id.clone(), Some(entry(*c))));
        let mut set = Set::new(&SCHEMA);
        set.apply(self.revision, all);
        self.set = Some(set);
    }

    fn poll(&mut self) -> bool {
        let response = self.set.as_ref().and_then(|set| self.subscriber.poll(set));
        let more = response.is_some();
        if let Some(response) = &response {
            assert!(!self.awaiting, "a slow client is sent more than it answers");
            self.awaiting = response.type_url == SCHEMA.commit;
            let one = response.resources.len() + response.removed_resources.len() == 1;
            assert!(one || response.encoded_len() <= RESPONSE_BYTES, "too large: {response:?}");
        }
        self.to_client.extend(response);
        more
    }

    fn deliver_to_server(&mut self) -> bool {
        let Some(request) = self.to_server.pop_front() else { return false };
        let answer = self.subscriber.on_request(request).unwrap();
        self.awaiting &= answer.is_none();
        self.answer = answer.or(self.answer.take());
        true
    }

    fn deliver_to_client(&mut self) -> bool {
        let Some(response) = self.to_client.pop_front() else { return false };
        self.note_what_is_sent(&response);
        match self.machine.on_response(response, decode) {
            Ok(Step::Reply(request)) => self.to_server.push_back(*request),
            Ok(Step::Commit(commit)) => self.commit(commit),
            Err(violation) => {
                // Something was lost. Nothing is put in force, and everything is asked for anew.
                assert_eq!(violation, Violation::Diverged);
                assert!(self.lost);
                self.connect();
                assert!(self.known.is_empty());
            }
        }
        true
    }

    /// Nothing may be sent that the client has already, refused or not (cases E1, E6).
    fn note_what_is_sent(&mut self, response: &message::Response) {
        let Some(kind) = SCHEMA.find(&response.type_url) else { return };
        for resource in &response.resources {
            let id = ResourceId { kind, name: resource.name.as_str().into() };
            let version = resource.version.parse().unwrap();
            let before = self.known.insert(id.clone(), version);
            assert_ne!(before, Some(version), "{id:?} was sent again");
        }
        for name in &response.removed_resources {
            let id = ResourceId { kind, name: name.as_str().into() };
            assert!(self.known.remove(&id).is_some(), "{id:?} is removed and was not there");
        }
    }

    fn commit(&mut self, commit: client::Commit<Content>) {
        let before = self.force.clone();
        let mut refused = Vec::new();
        let mut seen = BTreeSet::new();
        for (id, content) in commit.changes {
            assert!(seen.insert(id.clone()), "{id:?} twice in one commit");
            match content {
                Some(Content(content)) if unusable(content) => refused.push((id, "unusable".to_owned())),
                Some(Content(content)) => drop(self.force.insert(id, content)),
                None => drop(self.force.remove(&id)),
            }
        }
        assert_eq!(self.force, self.expected(&before, commit.revision));
        self.to_server.extend(self.machine.answer(refused, unbound(self.bound)));
    }

    /// What is in force when `revision` is put over `before` as a whole.
    fn expected(&self, before: &Contents, revision: u64) -> Contents {
        let published = self.history.get(&revision).unwrap();
        let last_good = |(id, content): (&ResourceId, &u8)| {
            let good = !malformed(*content) && !unusable(*content);
            let content = if good { Some(*content) } else { before.get(id).copied() };
            content.map(|content| (id.clone(), content))
        };
        published.iter().filter_map(last_good).collect()
    }

    fn restart_client(&mut self) {
        self.machine = machine();
        let saved = self.force.iter().map(|(id, content)| (id.clone(), entry(*content).version));
        self.known = saved.collect();
        self.machine.hold(self.known.clone().into_iter().map(|(id, version)| (id, version, 0)));
        self.connect();
    }

    fn stale(&mut self) {
        let request = message::Request {
            type_url: SCHEMA.commit.to_owned(),
            response_nonce: "0".to_owned(),
            error_detail: Some(message::Status::default()),
            ..Default::default()
        };
        assert_eq!(self.subscriber.on_request(request), Ok(None));
    }

    /// Lets everything happen that still can.
    fn settle(&mut self) {
        while self.poll() || self.deliver_to_client() || self.deliver_to_server() {}
    }

    /// The server knows the client's true state.
    fn check_settled(&self) {
        assert_eq!(self.known.len(), self.contents.len());
        let answer = self.answer.as_ref().unwrap();
        assert_eq!(answer.revision, self.revision);
        let refused: BTreeSet<_> = answer.report.refused.iter().map(|r| r.id.clone()).collect();
        let bad = self.contents.iter().filter(|(_, c)| malformed(**c) || unusable(**c));
        assert_eq!(refused, bad.map(|(id, _)| id.clone()).collect());
        assert_eq!(answer.report.unbound, unbound(self.bound));
    }
}

/// What a first request says that the client holds.
fn held(request: &message::Request) -> impl Iterator<Item = (ResourceId, Version)> {
    let versions = &request.initial_resource_versions;
    versions.iter().map(|(name, version)| {
        let kind = SCHEMA.find(&request.type_url).unwrap();
        (ResourceId { kind, name: name.as_str().into() }, version.parse().unwrap())
    })
}

fn subscriber() -> Subscriber {
    let limits = server::Limits { response_bytes: RESPONSE_BYTES, ..Default::default() };
    Subscriber::new(&SCHEMA, limits)
}

fn machine() -> Machine<Content> {
    let types = [id(0).kind, id(1).kind];
    Machine::new(&SCHEMA, types, client::Limits::default())
}

fn unbound(bound: bool) -> Vec<Unbound> {
    let listener = Unbound { name: "http".into(), reason: "in use".to_owned() };
    if bound { vec![] } else { vec![listener] }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn e1_e5_e10_commits_are_whole_whatever_breaks(ops in prop::collection::vec(op(), 0..120)) {
        let mut world = World::new();
        for op in &ops {
            world.step(op);
        }
        // The server is back at the latest now.
        world.publish(&[]);
        world.settle();
        world.check_settled();
    }
}
