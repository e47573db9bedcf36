//! What makes no sense at all: the machines live through it (case E9).

use proptest::prelude::*;

use super::{SCHEMA, config, entry, id};
use crate::delta::{
    Set,
    client::{self, Machine, Weigh},
    message,
    server::{Limits, Subscriber},
};

struct Anything;

impl Weigh for Anything {}

fn text() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 11] = ["a", "b", "commit", "report", "r0", "r1", "*", "1", "2", "3", ""];
    let version = any::<u8>().prop_map(|content| entry(content % 4).version.to_string());
    prop_oneof![
        6 => prop::sample::select(&KNOWN[..]).prop_map(str::to_owned),
        2 => version,
        1 => ".{0,20}",
    ]
}

fn content() -> impl Strategy<Value = Option<message::Any>> {
    let value = prop_oneof![
        (0_u8..4).prop_map(|content| entry(content).value),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Into::into),
    ];
    prop::option::of((text(), value).prop_map(|(type_url, value)| message::Any { type_url, value }))
}

fn resource() -> impl Strategy<Value = message::Resource> {
    (text(), text(), content()).prop_map(|(name, version, resource)| message::Resource {
        name,
        version,
        resource,
    })
}

fn response() -> impl Strategy<Value = message::Response> {
    let resources = prop::collection::vec(resource(), 0..4);
    let removed = prop::collection::vec(text(), 0..3);
    (text(), text(), resources, removed).prop_map(|(type_url, nonce, resources, removed)| {
        let removed_resources = removed;
        message::Response { type_url, nonce, resources, removed_resources, ..Default::default() }
    })
}

fn request() -> impl Strategy<Value = message::Request> {
    let names = || prop::collection::vec(text(), 0..4);
    let versions = prop::collection::btree_map(text(), text(), 0..4);
    let status = prop::option::of(prop::collection::vec(content(), 0..3).prop_map(|details| {
        let details = details.into_iter().flatten().collect();
        message::Status { code: 3, message: String::new(), details }
    }));
    (text(), text(), names(), names(), versions, status).prop_map(
        |(type_url, response_nonce, subscribe, unsubscribe, versions, error_detail)| message::Request {
            type_url,
            response_nonce,
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            initial_resource_versions: versions,
            error_detail,
            node: None,
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn e9_a_server_lives_through_any_requests(requests in prop::collection::vec(request(), 0..30)) {
        let mut set = Set::new(&SCHEMA);
        let mut subscriber = Subscriber::new(&SCHEMA, Limits { names: 20, ..Limits::default() });
        for (request, number) in requests.into_iter().zip(0_u8..) {
            set.apply(number.into(), [(id(number), Some(entry(number)))]);
            if subscriber.on_request(request).is_err() {
                break;
            }
            // As many responses as there are resources, and a commit; then it waits.
            for _ in 0..20 {
                if subscriber.poll(&set).is_none() {
                    break;
                }
            }
            prop_assert_eq!(subscriber.poll(&set), None);
        }
    }

    #[test]
    fn e9_a_client_lives_through_any_responses(responses in prop::collection::vec(response(), 0..30)) {
        let limits = client::Limits { resources: 3, ..client::Limits::default() };
        let mut machine = Machine::new(&SCHEMA, [id(0).kind, id(1).kind], limits);
        machine.connect(&message::Node::default());
        for response in responses {
            if machine.on_response(response, |_, _, _| Ok(Anything)).is_err() {
                machine.connect(&message::Node::default());
            }
            machine.answer([(id(0), "no".to_owned())], vec![]);
        }
    }
}
