//! Two control planes over streams in memory, on a paused clock.

mod harness;
mod puppet;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use tokio::{sync::Notify, time::Instant};

use self::{
    harness::{Side, cluster, service, sorted},
    puppet::Puppet,
};
use crate::{
    delta::{Checksum, ResourceId, TypeIndex, Version},
    federation::{
        Closed, Event, FederationChange, FederationKind, FederationResource, JoinFailure, JoinRequest,
        JoinResponse, Limits, Member, SCHEMA, join,
    },
    proto::federation as proto,
};

#[tokio::test(start_paused = true)]
async fn one_stream_serves_both_ways() {
    let (mut east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    let exported = [cluster("east"), vec![service("east", "cart", 3)]].concat();
    east.publish(7, &exported);
    west.publish(2, &cluster("west"));
    east.dial(&west);
    let told = west.commit().await;
    assert_eq!((told.revision, told.whole, &*told.digest), (7, true, b"digest 7".as_slice()));
    assert_eq!(told.changes, sorted(exported));
    assert_eq!(east.commit().await.changes, sorted(cluster("west")));
    east.publish(8, &[FederationChange::Remove(service("east", "cart", 0).key())]);
    let told = west.commit().await;
    assert_eq!((told.revision, told.whole, told.changes.len()), (8, false, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_it_is_whole_and_heartbeats_say_what_is_held() {
    let (mut east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    east.dial(&west);
    assert!(!west.opened().await);
    let beat = |event: &Event| matches!(event, Event::Heartbeat { .. });
    let start = Instant::now();
    for _ in 0..4 {
        assert_eq!(west.event(beat).await, Event::Heartbeat { digest: None });
    }
    assert_eq!(start.elapsed().as_secs(), 15);
    east.publish(1, &cluster("east"));
    assert!(west.commit().await.whole);
    assert_eq!(west.event(beat).await, Event::Heartbeat { digest: Some("digest 1".into()) });
    assert!(!east.opened().await);
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumes_where_the_last_one_ended() {
    let (east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    east.publish(1, &[cluster("east"), vec![service("east", "cart", 1)]].concat());
    let stream = east.dial(&west);
    assert!(!west.opened().await);
    west.commit().await;
    east.peer.close();
    assert_eq!(stream.await.unwrap(), Closed::Ended);
    assert!(matches!(west.closed().await, Closed::Broken(_)));
    east.publish(2, &[service("east", "stock", 1)]);
    west.peer.vacant().await;
    east.dial(&west);
    assert!(west.opened().await);
    let told = west.commit().await;
    assert_eq!((told.whole, told.changes), (false, vec![service("east", "stock", 1)]));
    // Asked to begin anew, it is told all of it.
    west.peer.restart();
    assert_eq!(west.closed().await, Closed::Ended);
    east.peer.vacant().await;
    east.dial(&west);
    assert!(!west.opened().await);
    let told = west.commit().await;
    assert_eq!((told.whole, told.changes.len()), (true, 4));
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_over_a_restart_is_not_told_again() {
    let (east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    let kept = [cluster("east"), vec![service("east", "cart", 1)]].concat();
    let kept: Vec<_> = kept
        .into_iter()
        .filter_map(|change| match change {
            FederationChange::Upsert(resource) => Some(resource),
            FederationChange::Remove(_) => None,
        })
        .collect();
    west.peer.resume(&kept).await;
    let upserts: Vec<_> = kept.into_iter().map(FederationChange::Upsert).collect();
    east.publish(1, &upserts);
    east.dial(&west);
    assert!(west.opened().await);
    let told = west.commit().await;
    assert_eq!((told.whole, told.changes), (false, vec![]));
}

#[tokio::test(start_paused = true)]
async fn h4_what_was_kept_over_a_restart_counts() {
    let east = Side::new("east", "west");
    let limits = Limits { resources: 10, endpoints: 100, staged_bytes: 1 << 20 };
    let mut west = Side::with("west", "east", limits, vec![]);
    let FederationChange::Upsert(cart) = service("east", "cart", 60) else { panic!("a service") };
    west.peer.resume([&cart]).await;
    east.publish(1, &[service("east", "cart", 60), service("east", "stock", 60)]);
    east.dial(&west);
    assert!(matches!(west.closed().await, Closed::Violation(_)));
}

#[tokio::test(start_paused = true)]
async fn h4_a_peer_that_floods_is_cut_off_and_what_it_said_before_stands() {
    let east = Side::new("east", "west");
    let limits = Limits { resources: 10, endpoints: 100, staged_bytes: 1 << 20 };
    let mut west = Side::with("west", "east", limits, vec![]);
    east.publish(1, &[service("east", "cart", 50)]);
    east.dial(&west);
    assert!(west.commit().await.whole);
    east.publish(2, &[service("east", "stock", 50)]);
    let why = "the server sends more than it may".to_owned();
    assert_eq!(west.closed().await, Closed::Violation(why.clone()));
    let many: Vec<_> = (0..11).map(|i| service("east", &format!("s{i}"), 0)).collect();
    east.publish(3, &[many, vec![FederationChange::Remove(service("east", "stock", 0).key())]].concat());
    east.peer.vacant().await;
    east.dial(&west);
    assert_eq!(west.closed().await, Closed::Violation(why));
    // Back within its bounds, it is heard again; it is told what to drop.
    let gone = (0..11).map(|i| FederationChange::Remove(service("east", &format!("s{i}"), 0).key()));
    east.publish(4, &gone.chain([service("east", "cart", 60)]).collect::<Vec<_>>());
    east.peer.vacant().await;
    east.dial(&west);
    let told = west.commit().await;
    assert_eq!((told.whole, told.changes), (false, vec![service("east", "cart", 60)]));
}

#[tokio::test(start_paused = true)]
async fn a_peer_speaks_for_itself_only() {
    let (mut east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    let foreign = [cluster("west"), vec![service("north", "cart", 1), service("east", "stock", 1)]];
    east.publish(1, &foreign.concat());
    east.dial(&west);
    assert_eq!(west.commit().await.changes, [service("east", "stock", 1)]);
    let Event::Acked { revision: 1, refused } =
        east.event(|event| matches!(event, Event::Acked { .. })).await
    else {
        panic!("acked")
    };
    let refused: BTreeMap<_, _> = refused.into_iter().map(|(key, why)| (key.kind, why)).collect();
    let kinds: Vec<_> = refused.keys().copied().collect();
    let all = [FederationKind::Service, FederationKind::Cluster, FederationKind::TrustBundle];
    assert_eq!(kinds, all);
    let why = "it names an identity that is not of the trust domain east.example";
    assert_eq!(refused[&FederationKind::Service], why);
}

#[tokio::test(start_paused = true)]
async fn what_an_importer_refuses_its_exporter_learns() {
    let mut east = Side::new("east", "west");
    let refused = vec![(service("east", "cart", 0).key(), "not this namespace".to_owned())];
    let west = Side::with("west", "east", Limits::default(), refused.clone());
    east.publish(1, &[service("east", "cart", 1)]);
    east.dial(&west);
    let acked = east.event(|event| matches!(event, Event::Acked { .. })).await;
    assert_eq!(acked, Event::Acked { revision: 1, refused });
}

#[tokio::test(start_paused = true)]
async fn h9_only_the_peer_itself_is_talked_to() {
    let (east, mut west) = (Side::new("east", "west"), Side::new("west", "north"));
    west.publish(1, &cluster("west"));
    let Closed::Refused(why) = east.dial(&west).await.unwrap() else { panic!("refused") };
    assert_eq!(why, "cluster \"east\" in trust domain \"east.example\" answers in its place");
    let stranger = Side::new("stranger", "west");
    let why = "no peer of this name".to_owned();
    assert_eq!(stranger.dial(&west).await.unwrap(), Closed::Refused(why));
    // Who is dialled must be who was meant, too.
    let (lost, other) = (Side::new("lost", "west"), Side::new("elsewhere", "lost"));
    assert!(matches!(lost.dial(&other).await.unwrap(), Closed::Impostor { .. }));
    assert!(west.told.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn of_two_streams_both_sides_keep_the_same_one() {
    let (mut east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    east.publish(1, &cluster("east"));
    west.publish(1, &cluster("west"));
    let (from_east, from_west) = (east.dial(&west), west.dial(&east));
    let lost = from_west.await.unwrap();
    assert!(matches!(lost, Closed::Duplicate | Closed::Replaced | Closed::Broken(_)), "{lost:?}");
    // The other one stays, and works both ways.
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!from_east.is_finished() && east.peer.is_open() && west.peer.is_open());
    east.publish(2, &[]);
    west.publish(3, &[]);
    while west.commit().await.revision != 2 {}
    while east.commit().await.revision != 3 {}
    // Another one from the same side takes its place: that side knows that the old one is dead.
    let again = east.dial(&west);
    let replaced = from_east.await.unwrap();
    assert!(matches!(replaced, Closed::Replaced | Closed::Broken(_)), "{replaced:?}");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!again.is_finished());
}

#[tokio::test(start_paused = true)]
async fn h5_a_peer_that_falls_silent_is_given_up() {
    let (mut east, west) = (Side::new("east", "west"), Side::new("west", "east"));
    let (near, mut relay_near) = tokio::io::duplex(64 << 10);
    let mut relay_far = west.connection();
    let freeze = Arc::new(Notify::new());
    let frozen = freeze.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut relay_near, &mut relay_far) => {}
            () = frozen.notified() => {}
        }
        // Both connections stay open, and nothing moves any more.
        std::future::pending::<()>().await;
    });
    west.publish(1, &cluster("west"));
    east.dial_over(near);
    east.commit().await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert!(east.peer.is_open());
    freeze.notify_one();
    let start = Instant::now();
    assert_eq!(east.closed().await, Closed::Silent);
    assert!(start.elapsed() <= Duration::from_secs(15), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_says_so() {
    let (east, mut west) = (Side::new("east", "west"), Side::new("west", "east"));
    assert!(!east.peer.leave("nobody hears it"));
    east.publish(1, &cluster("east"));
    let stream = east.dial(&west);
    west.commit().await;
    assert!(east.peer.leave("moving out"));
    assert_eq!(west.closed().await, Closed::Left("moving out".to_owned()));
    assert_eq!(stream.await.unwrap(), Closed::Leaving);
    // The side that was dialled can leave, too.
    let (east, west) = (Side::new("east", "west"), Side::new("west", "east"));
    east.publish(1, &cluster("east"));
    let stream = west.dial(&east);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(east.peer.leave("moving out"));
    assert_eq!(stream.await.unwrap(), Closed::Left("moving out".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_invite_is_redeemed_by_who_knows_it() {
    let east = Side::new("east", "west");
    let member = Member {
        cluster: "west".into(),
        trust_domain: "west.example".parse().unwrap(),
        roots: vec![Bytes::from_static(b"root")],
        gateways: vec!["[::1]:15443".parse().unwrap()],
    };
    let request = |proof: &'static str| JoinRequest {
        invitation: "i1".to_owned(),
        member: member.clone(),
        proof: proof.into(),
    };
    let joined = join(east.connection(), request("secret")).await.unwrap();
    assert_eq!(joined, JoinResponse { member: member.clone(), proof: "likewise".into() });
    let refused = join(east.connection(), request("guess")).await.unwrap_err();
    assert_eq!(refused, JoinFailure::Refused("the token is used up".to_owned()));
    let (gone, _) = tokio::io::duplex(1);
    assert!(matches!(join(gone, request("x")).await.unwrap_err(), JoinFailure::Unreachable(_)));
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_something_else_makes_everything_be_told_anew() {
    let mut west = Side::new("west", "east");
    let puppet = Puppet::open(&west, "east").await;
    puppet.say_commit(5, Checksum::default()).await;
    assert_eq!(west.commit().await.revision, 5);
    puppet.say_heartbeat(5, &Checksum::default().to_bytes()).await;
    west.event(|event| matches!(event, Event::Heartbeat { digest: Some(_) })).await;
    puppet.say_heartbeat(5, &[1; 16]).await;
    assert_eq!(west.closed().await, Closed::Diverged);
}

#[tokio::test(start_paused = true)]
async fn h10_what_a_later_version_says_besides_is_ignored() {
    let mut west = Side::new("west", "east");
    let puppet = Puppet::open(&west, "east").await;
    puppet.say_something_new().await;
    let service = proto::Service {
        created: 9,
        r#type: proto::service::Type::Headless.into(),
        session_affinity: proto::service::SessionAffinity::None.into(),
        ports: vec![],
    };
    // Field 126, of two bytes.
    let value = [service.encode_to_vec(), vec![0xf2, 0x07, 0x02, b'h', b'i']].concat();
    let id = ResourceId { kind: TypeIndex(0), name: "shop/cart".into() };
    let mut checksum = Checksum::default();
    checksum.add(&SCHEMA, &id, Version::of(&value));
    puppet.say_resource(SCHEMA.types[0], "shop/cart", value).await;
    puppet.say_commit(1, checksum).await;
    let told = west.commit().await;
    let FederationChange::Upsert(FederationResource::Service(told)) = &told.changes[0] else {
        panic!("a service")
    };
    assert_eq!((told.created, told.headless), (9, true));
}
