//! What of a peer's stream is in force, and its leaving (cases E3, H4, H5).

use std::{sync::Arc, time::Duration};

use isthmus_east_west::{
    lease::Timing,
    peer::{AWAIT, Close, DRAIN, Effect, Event, LeaveError, MAX_SERVICES, Message, Peer},
};
use isthmus_ir::ObjectRef;
use isthmus_world::fact::{ExportedService, PeerState};

use crate::fixtures::{exported, exported_endpoint, gateway_of, peer as fact};

const SECOND: Duration = Duration::from_secs(1);

fn service(name: &str, port: u16) -> ExportedService {
    ExportedService { name: name.into(), ..exported("west", 5, &[("http", port)]) }
}

fn joined() -> Peer {
    Peer::joined(fact("west"), Timing::default(), Duration::ZERO)
}

fn open(peer: &mut Peer, stream: u64, resumed: bool) -> Vec<Effect> {
    peer.on_event(SECOND, Event::Opened { stream, resumed })
}

fn say(peer: &mut Peer, stream: u64, message: Message) -> Vec<Effect> {
    peer.on_event(SECOND, Event::Said { stream, message })
}

fn edit(upserts: &[ExportedService], removed: &[&str]) -> Message {
    let upserts = upserts.iter().cloned().map(Arc::new).collect();
    Message::Commit {
        upserts,
        removed: removed.iter().map(|name| ObjectRef::new("shop", *name)).collect(),
    }
}

fn commit(peer: &mut Peer, stream: u64, upserts: &[ExportedService], removed: &[&str]) -> Vec<Effect> {
    say(peer, stream, edit(upserts, removed))
}

/// A peer with a stream number 1 that has exported `all`.
fn synced(all: &[ExportedService]) -> Peer {
    let mut peer = joined();
    open(&mut peer, 1, false);
    commit(&mut peer, 1, all, &[]);
    peer
}

fn names(peer: &Peer) -> Vec<String> {
    peer.exports().map(|e| format!("{}:{}", e.name, e.ports[0].port)).collect()
}

#[test]
fn e3_nothing_is_in_force_before_the_first_whole_snapshot() {
    let mut peer = joined();
    assert!(!peer.may_resume());
    assert_eq!(open(&mut peer, 1, false), []);
    assert_eq!(say(&mut peer, 1, Message::Heartbeat { agrees: true }), []);
    assert_eq!(names(&peer), Vec::<String>::new());
    let effects = commit(&mut peer, 1, &[service("a", 80), service("b", 80)], &[]);
    let all = vec![Arc::new(service("a", 80)), Arc::new(service("b", 80))];
    assert_eq!(effects, [Effect::Snapshot(all)]);
    assert!(peer.may_resume());
}

#[test]
fn a_commit_is_one_edit() {
    let mut peer = synced(&[service("a", 80), service("b", 80), service("same", 80)]);
    let effects =
        commit(&mut peer, 1, &[service("a", 81), service("c", 81), service("same", 80)], &["b", "x"]);
    let upserts = vec![Arc::new(service("a", 81)), Arc::new(service("c", 81))];
    assert_eq!(effects, [Effect::Exports { upserts, removed: vec![ObjectRef::new("shop", "b")] }]);
    assert_eq!(commit(&mut peer, 1, &[service("c", 81)], &["b"]), [], "nothing new, nothing said");
    assert_eq!(names(&peer), ["a:81", "c:81", "same:80"]);
}

#[test]
fn a_stream_that_tells_everything_replaces_what_was() {
    let mut peer = synced(&[service("a", 80), service("b", 80)]);
    open(&mut peer, 2, false);
    assert_eq!(names(&peer), ["a:80", "b:80"], "until it has told it");
    let effects = commit(&mut peer, 2, &[service("b", 80), service("c", 80)], &[]);
    let upserts = vec![Arc::new(service("c", 80))];
    assert_eq!(effects, [Effect::Exports { upserts, removed: vec![ObjectRef::new("shop", "a")] }]);
    commit(&mut peer, 2, &[service("d", 80)], &[]);
    assert_eq!(names(&peer), ["b:80", "c:80", "d:80"], "from then on it tells edits");
}

#[test]
fn a_stream_that_is_resumed_tells_edits() {
    let mut peer = synced(&[service("a", 80)]);
    peer.on_event(SECOND, Event::Closed { stream: 1 });
    open(&mut peer, 2, true);
    commit(&mut peer, 2, &[service("b", 80)], &[]);
    assert_eq!(names(&peer), ["a:80", "b:80"]);
}

#[test]
fn e3_edits_of_something_unknown_are_refused() {
    let mut peer = joined();
    assert_eq!(open(&mut peer, 1, true), [Effect::Close { stream: 1, why: Close::Resumed }]);
    assert_eq!(commit(&mut peer, 1, &[service("a", 80)], &[]), []);
    assert_eq!(names(&peer), Vec::<String>::new());
}

#[test]
fn a_heartbeat_that_disagrees_asks_for_everything() {
    let mut peer = synced(&[service("a", 80)]);
    assert_eq!(say(&mut peer, 1, Message::Heartbeat { agrees: true }), []);
    let effects = say(&mut peer, 1, Message::Heartbeat { agrees: false });
    assert_eq!(effects, [Effect::Close { stream: 1, why: Close::Diverged }]);
    assert_eq!((names(&peer), peer.may_resume()), (vec!["a:80".into()], false));
    assert_eq!(open(&mut peer, 2, true), [Effect::Close { stream: 2, why: Close::Resumed }]);
    open(&mut peer, 3, false);
    commit(&mut peer, 3, &[service("b", 81)], &[]);
    assert_eq!((names(&peer), peer.may_resume()), (vec!["b:81".into()], true));
}

#[test]
fn heartbeats_before_the_snapshot_are_no_sign_of_life() {
    let mut peer = joined();
    for second in 0..30 {
        let now = SECOND * second;
        if second == 0 {
            peer.on_event(now, Event::Opened { stream: 1, resumed: false });
        }
        peer.on_event(now, Event::Said { stream: 1, message: Message::Heartbeat { agrees: true } });
        peer.on_event(now, Event::Reached);
    }
    assert_eq!(peer.state(), PeerState::ControlLost);
}

#[test]
fn messages_of_an_old_stream_are_ignored() {
    let mut peer = synced(&[service("a", 80)]);
    assert_eq!(open(&mut peer, 2, true), [Effect::Close { stream: 1, why: Close::Replaced }]);
    assert_eq!(commit(&mut peer, 1, &[service("old", 80)], &[]), []);
    assert_eq!(say(&mut peer, 1, Message::Leaving), []);
    peer.on_event(SECOND, Event::Closed { stream: 1 });
    commit(&mut peer, 2, &[service("new", 80)], &[]);
    assert_eq!(names(&peer), ["a:80", "new:80"]);
    assert_eq!(open(&mut peer, 1, true), [Effect::Close { stream: 1, why: Close::Replaced }]);
}

#[test]
fn h4_a_flood_ends_the_stream_and_keeps_what_was() {
    let many: Vec<_> = (0..MAX_SERVICES).map(|i| service(&format!("s{i}"), 80)).collect();
    let mut large = service("large", 80);
    large.ports[0].endpoints = vec![exported_endpoint("west", "h"); 100_000];
    let mut crowd = service("crowd", 80);
    crowd.ports[0].endpoints[0].identities = vec![gateway_of("west"); 100_000];
    for flood in [many, vec![large], vec![crowd]] {
        let mut peer = synced(&[service("a", 80)]);
        let effects = commit(&mut peer, 1, &flood, &[]);
        assert_eq!(effects, [Effect::Close { stream: 1, why: Close::Quota }]);
        assert_eq!((names(&peer), peer.may_resume()), (vec!["a:80".into()], false));
    }
}

#[test]
fn replacing_and_removing_give_quota_back() {
    let mut large = service("large", 80);
    large.ports[0].endpoints = vec![exported_endpoint("west", "h"); 60_000];
    let mut peer = synced(&[large.clone()]);
    let edited = ExportedService { created: 6, ..large.clone() };
    commit(&mut peer, 1, &[edited], &[]);
    commit(&mut peer, 1, &[ExportedService { name: "other".into(), ..large }], &["large"]);
    assert_eq!(names(&peer), ["other:80"]);
}

#[test]
fn its_gateways_and_roots_are_what_it_says_last() {
    let mut peer = synced(&[]);
    let gateways = vec!["203.0.113.1:1".parse().unwrap()];
    let roots = vec![bytes::Bytes::from_static(b"new root")];
    let message = Message::Identity { gateways: gateways.clone(), roots: roots.clone() };
    let effects = say(&mut peer, 1, message.clone());
    let [Effect::Fact(fact)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((&fact.gateways, &fact.roots), (&gateways, &roots));
    assert_eq!(say(&mut peer, 1, message), []);
    for bad in [vec![], vec![bytes::Bytes::new()], vec![bytes::Bytes::from_static(b"r"); 17]] {
        let mut peer = synced(&[]);
        let message = Message::Identity { gateways: vec![], roots: bad };
        assert_eq!(say(&mut peer, 1, message), [Effect::Close { stream: 1, why: Close::Identity }]);
        assert_eq!(peer.fact().roots, crate::fixtures::peer("west").roots);
    }
}

#[test]
fn h5_a_restart_with_a_dead_peer_serves_at_once_what_was_in_force() {
    let saved = synced(&[service("a", 80)]).save();
    let (mut peer, effects) = Peer::restored(saved.clone(), Timing::default(), Duration::ZERO);
    assert_eq!(
        effects,
        [Effect::Fact(peer.fact().clone()), Effect::Snapshot(vec![Arc::new(service("a", 80))])]
    );
    assert_eq!((peer.state(), peer.may_resume()), (PeerState::Connected, true));
    assert_eq!(peer.save(), saved);
    assert_eq!(peer.on_event(Duration::ZERO, Event::Tick), [Effect::Probe], "it is probed at once");
}

#[test]
fn a_restart_before_the_first_snapshot_makes_none_up() {
    let (peer, effects) = Peer::restored(joined().save(), Timing::default(), Duration::ZERO);
    assert_eq!(effects, [Effect::Fact(peer.fact().clone())]);
    assert!(!peer.may_resume());
}

#[test]
fn h5_a_forgotten_peer_comes_back_as_a_whole_snapshot_or_not_at_all() {
    let mut peer = synced(&[service("a", 80)]);
    let mut effects = Vec::new();
    let mut now = SECOND;
    while now < SECOND * 3700 {
        now = peer.deadline();
        effects.extend(peer.on_event(now, Event::Tick));
    }
    assert!(effects.contains(&Effect::Snapshot(vec![])));
    assert_eq!((names(&peer), peer.may_resume()), (vec![], false));
    // A stream that was open all the time without a word goes on as if nothing had been.
    let message = edit(&[service("b", 80)], &[]);
    let effects = peer.on_event(now, Event::Said { stream: 1, message });
    assert_eq!(effects, [Effect::Close { stream: 1, why: Close::Resumed }]);
    peer.on_event(now, Event::Opened { stream: 2, resumed: true });
    assert_eq!(names(&peer), Vec::<String>::new());
    peer.on_event(now, Event::Opened { stream: 3, resumed: false });
    let message = edit(&[service("a", 80), service("b", 80)], &[]);
    let effects = peer.on_event(now, Event::Said { stream: 3, message });
    let all = vec![Arc::new(service("a", 80)), Arc::new(service("b", 80))];
    assert!(effects.contains(&Effect::Snapshot(all)));
}

#[test]
fn a_leave_is_told_drains_and_ends() {
    let mut peer = synced(&[service("a", 80)]);
    let effects = peer.leave(SECOND, false).unwrap();
    assert_eq!(effects, [Effect::SayLeaving { stream: 1 }, Effect::Snapshot(vec![])]);
    assert_eq!(commit(&mut peer, 1, &[service("late", 80)], &[]), []);
    assert!(!peer.is_gone());
    assert_eq!(peer.on_event(SECOND + DRAIN, Event::Tick).last(), Some(&Effect::Gone));
    assert!(peer.is_gone());
    assert_eq!(peer.on_event(SECOND * 99, Event::Opened { stream: 9, resumed: true }), []);
}

#[test]
fn a_leave_goes_on_after_a_restart() {
    let mut peer = synced(&[service("a", 80)]);
    peer.leave(SECOND, false).unwrap();
    let (mut peer, effects) = Peer::restored(peer.save(), Timing::default(), Duration::ZERO);
    assert_eq!(effects, [Effect::Fact(peer.fact().clone())], "nothing of it is in force");
    assert!(peer.is_leaving());
    assert_eq!(peer.on_event(DRAIN, Event::Tick).last(), Some(&Effect::Gone));
}

#[test]
fn whoever_is_told_of_a_leave_does_the_same() {
    let mut peer = synced(&[service("a", 80)]);
    assert_eq!(say(&mut peer, 1, Message::Leaving), [Effect::Snapshot(vec![])]);
    assert_eq!(peer.on_event(SECOND + DRAIN, Event::Tick).last(), Some(&Effect::Gone));
}

#[test]
fn a_dead_peer_is_left_by_force_only() {
    let mut peer = synced(&[service("a", 80)]);
    peer.on_event(SECOND, Event::Closed { stream: 1 });
    assert_eq!(peer.leave(SECOND, false), Err(LeaveError::Unreachable));
    assert_eq!(names(&peer), ["a:80"]);
    assert_eq!(peer.leave(SECOND, true).unwrap(), [Effect::Snapshot(vec![]), Effect::Gone]);
}

#[test]
fn a_joiner_that_never_comes_back_is_given_up() {
    let mut peer = Peer::invited(fact("west"), Timing::default(), Duration::ZERO);
    let mut effects = Vec::new();
    while !peer.is_gone() {
        effects = peer.on_event(peer.deadline(), Event::Tick);
        assert!(peer.deadline() <= AWAIT + SECOND);
    }
    assert!(effects.contains(&Effect::Gone));

    let mut peer = Peer::invited(fact("west"), Timing::default(), Duration::ZERO);
    open(&mut peer, 1, false);
    peer.on_event(AWAIT + SECOND, Event::Tick);
    assert!(!peer.is_gone());
}
