//! An API server that is away, or slow.

use std::time::Duration;

use isthmus_e2e::faults::{Fault, Proxy as Way};

use super::{class, route, says, serve};
use crate::{
    cluster::{Cluster, eventually},
    proxy::Proxy,
    server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_an_api_server_that_is_away_at_the_start_and_later_takes_nothing_from_proxies() {
    let (server, client) = server::start("standard").await;
    let way = Way::before(&server).await.unwrap();
    way.does(Fault::Refuse);
    let mut cluster = Cluster::behind(&way, None, server, client).await;
    eventually("life", async || (cluster.probe("live").await == Some(200)).then_some(())).await;
    assert_eq!(cluster.probe("ready").await, Some(503), "nothing is known yet");

    way.does(Fault::None);
    server::apply(&cluster.client, &class()).await.unwrap();
    let scope = serve(&mut cluster, "shop").await;
    let told = cluster.ir(&scope);
    assert!(says(&told, "a.example") && cluster.probe("ready").await == Some(200));

    way.does(Fault::Refuse);
    server::apply(&cluster.client, &route("shop", "route", "b.example", 1)).await.unwrap();
    let late: Proxy = cluster.another(&scope);
    eventually("what was known", async || (late.told() == told).then_some(())).await;
    assert_eq!(cluster.ir(&scope), told, "nobody is told anything else");
    assert_eq!((cluster.probe("live").await, cluster.probe("ready").await), (Some(200), Some(200)));

    way.does(Fault::None);
    eventually("news", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_an_api_server_that_is_slow_takes_nothing_from_proxies() {
    let (server, client) = server::start("standard").await;
    let way = Way::before(&server).await.unwrap();
    let mut cluster = Cluster::behind(&way, None, server, client).await;
    server::apply(&cluster.client, &class()).await.unwrap();
    let scope = serve(&mut cluster, "shop").await;
    let told = cluster.ir(&scope);

    // Too slow to renew a Lease: nobody may write.
    way.does(Fault::Slow(Duration::from_secs(5)));
    eventually("the end of the Lease", async || {
        cluster.control_plane.log().contains("lease lost").then_some(())
    })
    .await;
    assert_eq!(cluster.ir(&scope), told);
    assert_eq!((cluster.probe("live").await, cluster.probe("ready").await), (Some(200), Some(200)));

    // Slow, and no more than that: a start takes longer, and all comes.
    way.does(Fault::Slow(Duration::from_secs(1)));
    cluster.control_plane.restart().unwrap();
    server::apply(&cluster.client, &route("shop", "route", "b.example", 1)).await.unwrap();
    eventually("life", async || (cluster.probe("live").await == Some(200)).then_some(())).await;
    assert!(says(&cluster.ir(&scope), ".example"), "nobody is told of less before all is known");
    eventually("news", async || says(&cluster.ir(&scope), "b.example").then_some(())).await;
    assert_eq!(cluster.probe("ready").await, Some(200));
}
