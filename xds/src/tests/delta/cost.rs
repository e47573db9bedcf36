//! What a change costs (case E6), and what a client may cost.

use bytes::Bytes;
use isthmus_ir::Name;
use prost::Message;

use super::{SCHEMA, entry, id};
use crate::delta::{
    Entry, ResourceId, Set, TypeIndex, Version, message,
    server::{Limits, Subscriber, Violation},
};

fn numbered(kind: u8, number: u32, value: Bytes) -> (ResourceId, Option<Entry>) {
    let id = ResourceId { kind: TypeIndex(kind), name: format!("service-{number}").into() };
    (id, Some(Entry { version: Version::of(&value), value }))
}

fn ask(type_url: &str) -> message::Request {
    message::Request { type_url: type_url.to_owned(), ..Default::default() }
}

fn answer(subscriber: &mut Subscriber, commit: &message::Response) {
    let answer = message::Request { response_nonce: commit.nonce.clone(), ..ask(&commit.type_url) };
    assert!(subscriber.on_request(answer).unwrap().is_some());
}

/// A client that has all of `set`.
fn up_to_date(set: &Set) -> Subscriber {
    let mut subscriber = Subscriber::new(&SCHEMA, Limits::default());
    for url in ["a", "b", "commit"] {
        subscriber.on_request(ask(url)).unwrap();
    }
    let commit = std::iter::from_fn(|| subscriber.poll(set)).last().unwrap();
    answer(&mut subscriber, &commit);
    subscriber
}

#[test]
fn e6_a_change_costs_what_changed() {
    let mut set = Set::new(&SCHEMA);
    let value = Bytes::from(vec![7; 300]);
    let services = (0..10_000).map(|n| numbered(0, n, value.clone()));
    set.apply(1, services.chain((0..1000).map(|n| numbered(1, n, value.clone()))));
    let mut subscriber = up_to_date(&set);
    set.apply(2, [numbered(1, 500, Bytes::from(vec![8; 300]))]);
    let change = subscriber.poll(&set).unwrap();
    assert_eq!((change.resources.len(), change.removed_resources.len()), (1, 0));
    let commit = subscriber.poll(&set).unwrap();
    assert_eq!(commit.type_url, "commit");
    assert!(change.encoded_len() < 500 && commit.encoded_len() < 250);
    assert_eq!(subscriber.poll(&set), None);
}

#[test]
fn e5_who_is_far_behind_is_told_the_latest_only() {
    let mut set = Set::new(&SCHEMA);
    set.apply(1, []);
    let mut subscriber = up_to_date(&set);
    // More edits than the log holds, all of one resource.
    for revision in 2..20_000_u32 {
        set.apply(revision.into(), [numbered(0, 1, revision.to_be_bytes().to_vec().into())]);
    }
    let change = subscriber.poll(&set).unwrap();
    assert_eq!(change.resources.len(), 1);
    assert_eq!(subscriber.poll(&set).unwrap().system_version_info, "19999");
}

#[test]
fn responses_stay_below_the_message_limit() {
    let mut set = Set::new(&SCHEMA);
    set.apply(1, (0..100).map(|n| numbered(0, n, vec![1; 100_000].into())));
    let mut subscriber = Subscriber::new(&SCHEMA, Limits::default());
    subscriber.on_request(ask("a")).unwrap();
    let responses: Vec<_> = std::iter::from_fn(|| subscriber.poll(&set)).collect();
    assert_eq!(responses.iter().map(|response| response.resources.len()).sum::<usize>(), 100);
    assert!(responses.len() >= 10);
    assert!(responses.iter().all(|response| response.encoded_len() < 4 << 20));
}

#[test]
fn a_resource_that_no_message_holds_is_refused_for_the_client() {
    let mut set = Set::new(&SCHEMA);
    set.apply(1, [numbered(0, 1, vec![1; 4 << 20].into()), (id(0), Some(entry(1)))]);
    let mut subscriber = Subscriber::new(&SCHEMA, Limits::default());
    for url in ["a", "commit"] {
        subscriber.on_request(ask(url)).unwrap();
    }
    let responses: Vec<_> = std::iter::from_fn(|| subscriber.poll(&set)).collect();
    assert_eq!(responses.iter().map(|response| response.resources.len()).collect::<Vec<_>>(), [1, 1]);
    let commit = &responses[1];
    let request = message::Request { response_nonce: commit.nonce.clone(), ..ask("commit") };
    let report = subscriber.on_request(request).unwrap().unwrap().report;
    assert_eq!(report.refused[0].id.name, Name::from("service-1"));
}

#[test]
fn a_client_may_give_so_many_names() {
    let limits = Limits { names: 2, ..Limits::default() };
    let mut subscriber = Subscriber::new(&SCHEMA, limits);
    let names = |subscribe: &[&str], unsubscribe: &[&str]| message::Request {
        resource_names_subscribe: subscribe.iter().map(|name| (*name).to_owned()).collect(),
        resource_names_unsubscribe: unsubscribe.iter().map(|name| (*name).to_owned()).collect(),
        ..ask("a")
    };
    // Names that were given up do not count.
    for _ in 0..10 {
        assert_eq!(subscriber.on_request(names(&["x", "y"], &[])), Ok(None));
        assert_eq!(subscriber.on_request(names(&[], &["x", "y"])), Ok(None));
    }
    assert_eq!(subscriber.on_request(names(&["x", "y", "z"], &[])), Err(Violation::TooManyNames));
}
