//! Control plane and proxies over streams in memory, on a paused clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use isthmus_ir::{Change, Key, Kind, Resource};
use tokio::time::Instant;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Code, Request};

use super::harness::{Mesh, TestProxy, Tokens, proxy_event, route, service, settings, token_proof};
use crate::{
    ca, channel,
    client::{Client, Link, Outcome, UnixSocket},
    delta::{message, server::Limits},
    evidence::{Observation, ObserveError, observe},
    proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    server::{ProxyEvent, ProxyReport, Publisher, serve},
    wire,
};

fn put(resource: Resource) -> Change {
    Change::Upsert(resource)
}

/// A rule that matches nothing, which the wire refuses.
fn bad_route(name: &str) -> Resource {
    let Resource::Route(route) = route(name) else { panic!("a route") };
    let mut route = Arc::unwrap_or_clone(route);
    route.matches.clear();
    Resource::Route(Arc::new(route))
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_told_its_scope_and_acks_it() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 3, &[put(route("one")), put(service("s"))]);
    mesh.publish("gateway/b", 4, &[put(route("other"))]);
    let mut proxy = mesh.connect("p1");
    assert_eq!(proxy.applied().await, (3, vec!["+Route/one".to_owned(), "+Service/s".to_owned()]));
    assert_eq!(mesh.report_of("p1", 3).await, proxy_event("p1", "gateway/a", 3));
    mesh.publish("gateway/a", 5, &[Change::Remove(route("one").key())]);
    assert_eq!(proxy.applied().await, (5, vec!["-Route/one".to_owned()]));
    mesh.publish("gateway/a", 6, &[]);
    assert_eq!(proxy.applied().await, (6, vec![]));
    mesh.report_of("p1", 6).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_proxy_does_is_news_until_it_goes() {
    let mut mesh = Mesh::start();
    let proxy = mesh.connect("p1");
    assert_eq!(mesh.news().await, proxy_event("p1", "gateway/a", 0));
    drop(proxy);
    assert_eq!(mesh.news().await.report, None);
}

#[tokio::test(start_paused = true)]
async fn e1_a_refused_resource_stays_alone_and_is_not_sent_again() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[put(route("good")), put(bad_route("bad")), put(service("s"))]);
    let mut proxy = mesh.connect("p1");
    assert_eq!(proxy.applied().await.1, ["+Route/good", "+Service/s"]);
    let report = mesh.report_of("p1", 1).await.report.unwrap();
    let bad = Key::new(Kind::Route, "bad");
    assert_eq!(report.refused, BTreeMap::from([(bad, "matches: must not be empty".to_owned())]));
    // The rest goes on, and the refusal still stands.
    mesh.publish("gateway/a", 2, &[put(service("t"))]);
    assert_eq!(proxy.applied().await.1, ["+Service/t"]);
    assert_eq!(mesh.report_of("p1", 2).await.report.unwrap().refused.len(), 1);
    // What the proxy itself refuses is treated likewise.
    let reason = "no such regular expression".to_owned();
    proxy.bad.lock().unwrap().refused = vec![(Key::new(Kind::Service, "t"), reason)];
    mesh.publish("gateway/a", 3, &[]);
    assert_eq!(proxy.applied().await.1, [""; 0]);
    assert_eq!(mesh.report_of("p1", 3).await.report.unwrap().refused.len(), 2);
    // Mended, it is taken.
    mesh.publish("gateway/a", 4, &[put(route("bad"))]);
    proxy.bad.lock().unwrap().refused.clear();
    assert_eq!(proxy.applied().await.1, ["+Route/bad"]);
    assert_eq!(mesh.report_of("p1", 4).await.report.unwrap().refused.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn e3_a_control_plane_that_knows_nothing_yet_sends_nothing() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 7, &[put(route("one")), put(service("s"))]);
    let mut proxy = mesh.connect("p1");
    assert_eq!(proxy.applied().await.0, 7);
    mesh.restart().await;
    // Connected again, and nothing happens for an hour.
    assert_eq!(mesh.news().await.report.unwrap().revision, 0);
    assert!(tokio::time::timeout(Duration::from_hours(1), proxy.applied()).await.is_err());
    // Synced, it finds that the proxy has all of it: nothing is sent, and that counts as an ack.
    mesh.publish("gateway/a", 1, &[put(route("one")), put(service("s"))]);
    assert_eq!(proxy.applied().await, (1, vec![]));
    mesh.report_of("p1", 1).await;
}

#[tokio::test(start_paused = true)]
async fn e2_what_changed_while_the_control_plane_was_away_is_made_up_for() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 7, &[put(route("one")), put(service("s"))]);
    let mut proxy = mesh.connect("p1");
    assert_eq!(proxy.applied().await.0, 7);
    mesh.restart().await;
    mesh.publish("gateway/a", 2, &[put(route("two")), put(service("s"))]);
    assert_eq!(proxy.applied().await.1, ["-Route/one", "+Route/two"]);
}

#[tokio::test(start_paused = true)]
async fn a_loaded_snapshot_is_not_sent_again() {
    let mesh = Mesh::start();
    let resources = [route("one"), service("s")];
    mesh.publish("gateway/a", 1, &[put(route("one")), put(service("s")), put(service("t"))]);
    let loaded = wire::snapshot::decode(&wire::snapshot::encode(&resources)).unwrap();
    assert_eq!(loaded.resources, resources);
    let client = Client::new(mesh.dial.clone(), settings("p1@gateway/a")).holding(loaded.versions);
    let mut proxy = TestProxy::spawn(client);
    assert_eq!(proxy.applied().await.1, ["+Service/t"]);
}

#[tokio::test(start_paused = true)]
async fn e5_a_slow_proxy_gets_the_latest_and_holds_back_nobody() {
    let mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[]);
    let mut slow = mesh.connect("slow");
    let mut quick = mesh.connect("quick");
    let gate = slow.gate.clone().lock_owned().await;
    assert_eq!(quick.applied().await.0, 1);
    assert_eq!(slow.applied().await.0, 1);
    for revision in 2..50 {
        mesh.publish("gateway/a", revision, &[put(service(&format!("s{revision}")))]);
        assert_eq!(quick.applied().await.0, revision);
    }
    drop(gate);
    let (revision, changes) = slow.applied().await;
    assert_eq!((revision, changes.len()), (49, 48));
}

#[tokio::test(start_paused = true)]
async fn e7_without_a_proof_there_is_nothing_to_be_had() {
    let mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[put(route("one"))]);
    let mut stranger = TestProxy::start(&mesh, "nobody");
    assert_eq!(stranger.link().await, Link::Down("no token".to_owned()));
    assert_eq!(stranger.link().await, Link::Down("no token".to_owned()));
    assert!(stranger.nothing_applied());
    let denied = ca::request(&mesh.dial, &token_proof(""), Bytes::new()).await;
    assert!(matches!(denied, Err(ca::IssueError::Refused(why)) if why == "no token"));
}

#[tokio::test(start_paused = true)]
async fn e8_a_proxy_cannot_call_itself_another() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[put(route("one"))]);
    let channel = channel::open(&mesh.dial).await.unwrap();
    let node = message::Node { id: "p2".to_owned(), ..Default::default() };
    let claim = message::Request {
        node: Some(node),
        type_url: wire::SCHEMA.types[1].to_owned(),
        ..Default::default()
    };
    let mut request = Request::new(tokio_stream::iter([claim]));
    token_proof("p1@gateway/a").put(&mut request).await.unwrap();
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let mut answers = client.delta_aggregated_resources(request).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(mesh.news().await.proxy.id.as_str(), "p1");
}

#[tokio::test(start_paused = true)]
async fn e11_a_proxy_comes_back_soon_after_the_control_plane() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[]);
    let mut proxy = mesh.connect("p1");
    assert_eq!(proxy.applied().await.0, 1);
    mesh.stop().await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    mesh.restart().await;
    mesh.publish("gateway/a", 2, &[]);
    let back = tokio::time::timeout(Duration::from_secs(10), proxy.applied()).await;
    assert_eq!(back.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn e11_a_hundred_proxies_come_back_at_different_times() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[put(route("one"))]);
    let mut proxies: Vec<_> = (0..100).map(|n| mesh.connect(&format!("p{n}"))).collect();
    for proxy in &mut proxies {
        assert_eq!(proxy.applied().await.0, 1);
        assert_eq!(proxy.link().await, Link::Up);
    }
    mesh.stop().await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    mesh.restart().await;
    mesh.publish("gateway/a", 2, &[put(route("one"))]);
    let start = Instant::now();
    let back = proxies.iter_mut().map(async |proxy| {
        assert_eq!(proxy.applied().await, (2, vec![]));
        start.elapsed().as_millis() / 100
    });
    let times: BTreeSet<_> = join_all(back).await.into_iter().collect();
    assert!(start.elapsed() <= Duration::from_secs(10));
    assert!(times.len() > 10, "they all came at {times:?}");
}

/// The only test here with a real socket.
#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let (publisher, mut reports) = Publisher::new(Limits::default());
    publisher.publish(&"gateway/a".into(), 1, &[put(route("one"))]);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move { drop(ended.await) };
    let incoming = UnixListenerStream::new(listener);
    let tokens = Arc::new(Tokens);
    let (tell, mut observations) = tokio::sync::mpsc::channel(1);
    let serving = tokio::spawn(serve(incoming, publisher, tokens.clone(), tokens, tell, shutdown));
    let connect = UnixSocket::new(&path);
    let mut proxy = TestProxy::spawn(Client::new(connect.clone(), settings("p1@gateway/a")));
    assert_eq!(proxy.applied().await.0, 1);
    while reports.next().await.report.is_none_or(|report| report.revision != 1) {}
    let token = token_proof("p1@gateway/a");
    assert!(ca::request(&connect, &token, Bytes::new()).await.is_ok());
    let seen = vec![Observation { peer: "west".into(), reached: true }];
    observe(&connect, &token, seen.clone()).await.unwrap();
    assert_eq!(observations.recv().await, Some(seen.clone()));
    let stranger = token_proof("");
    let refused = observe(&connect, &stranger, seen).await.unwrap_err();
    assert!(matches!(refused, ObserveError::Refused(why) if why == "no token"));
    assert!(observations.try_recv().is_err());
    // Shutting down ends streams, and waits for no proxy.
    drop(end);
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_bound_later_is_reported_without_a_new_snapshot() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[]);
    let mut proxy = mesh.connect("p1");
    let taken = vec![("ns/gateway/http".into(), "address in use".to_owned())];
    *proxy.bad.lock().unwrap() = Outcome { unbound: taken.clone(), refused: vec![] };
    assert_eq!(proxy.applied().await.0, 1);
    let report = ProxyReport { revision: 1, unbound: taken.into_iter().collect(), ..Default::default() };
    assert_eq!(mesh.report_of("p1", 1).await.report, Some(report));
    proxy.reporter.unbound(vec![]);
    assert_eq!(mesh.report_of("p1", 1).await, proxy_event("p1", "gateway/a", 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_stream_of_a_proxy_is_the_one_that_counts() {
    let mut mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[]);
    let mut old = mesh.connect("p1");
    assert_eq!(old.applied().await.0, 1);
    mesh.report_of("p1", 1).await;
    assert_eq!(old.link().await, Link::Up);
    let mut new = mesh.connect("p1");
    assert_eq!(new.applied().await.0, 1);
    let why = "the proxy has come again on another stream".to_owned();
    assert_eq!(old.link().await, Link::Down(why));
    drop(old);
    mesh.report_of("p1", 1).await;
    mesh.publish("gateway/a", 2, &[]);
    assert_eq!(new.applied().await.0, 2);
    let ProxyEvent { report, .. } = mesh.report_of("p1", 2).await;
    assert!(report.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_is_gone_ends_its_streams() {
    let mesh = Mesh::start();
    mesh.publish("gateway/a", 1, &[]);
    let mut proxy = mesh.connect("p1");
    assert_eq!(proxy.applied().await.0, 1);
    assert_eq!(proxy.link().await, Link::Up);
    mesh.publisher.retire(&"gateway/a".into());
    assert_eq!(proxy.link().await, Link::Down("the scope is gone".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_issued_for_whom_the_token_stands_for() {
    let mesh = Mesh::start();
    let token = token_proof("p1@gateway/a");
    let issued = ca::request(&mesh.dial, &token, Bytes::from_static(b"csr-of-")).await.unwrap();
    assert_eq!(issued.chain[0], "csr-of-p1");
    assert_eq!((issued.trust_domain.as_str(), issued.not_after), ("east", 1_800_000_000));
}
