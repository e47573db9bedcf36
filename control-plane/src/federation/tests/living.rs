//! What becomes of peers: cut, restarted, dead, left.

use std::time::Duration;

use isthmus_world::fact::PeerState;
use tokio::time::{Instant, sleep};

use super::harness::{Cluster, Fabric, Place, exports, spec, state};
use crate::federation::FederationError;

#[tokio::test(start_paused = true)]
async fn e3_nothing_is_told_before_the_compiler_knows_all_of_it() {
    let fabric = Fabric::default();
    let (mut east, west) = (spec("east", 1).start(&fabric).await, spec("west", 2).start(&fabric).await);
    west.publish(&[]);
    east.federation.join(&west.invite().await).await.unwrap();
    east.until(|world| world.peer("west").is_some()).await;
    sleep(Duration::from_mins(1)).await;
    // West exports nothing, and says so; east has not said anything at all.
    let of = |cluster: &str, all: Vec<crate::federation::PeerStatus>| {
        all.into_iter().find(|peer| peer.cluster == cluster).unwrap()
    };
    let listed = of("west", east.federation.list().await.unwrap());
    assert_eq!((listed.stream, listed.services), (true, Some(0)));
    let listed = of("east", west.federation.list().await.unwrap());
    assert_eq!((listed.stream, listed.services), (true, None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_comes_back_and_goes_on_where_it_was() {
    let fabric = Fabric::default();
    let (mut east, mut west) = Cluster::pair(&fabric).await;
    let begun = Instant::now();
    for address in [east.address, west.address] {
        fabric.cut(address);
    }
    east.publish(&["stock"]);
    west.until(|world| exports(world, "east") == ["cart", "stock"]).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    // Nothing was lost or doubted meanwhile.
    east.catch_up();
    assert_eq!(exports(&east.world, "west"), ["cart"]);
    assert_eq!(state(&west.world, "east"), Some(PeerState::Connected));
}

#[tokio::test(start_paused = true)]
async fn h5_losing_the_control_link_alone_changes_nothing_for_traffic() {
    let fabric = Fabric::default();
    let (mut east, west) = Cluster::pair(&fabric).await;
    let west = west.stop().await;
    // Its gateway lives: proxies get answers.
    let federation = east.federation.clone();
    let answers = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            federation.observed("west", true);
        }
    });
    let begun = Instant::now();
    east.until(|world| state(world, "west") == Some(PeerState::ControlLost)).await;
    assert!(begun.elapsed() <= Duration::from_secs(16), "{:?}", begun.elapsed());
    sleep(Duration::from_mins(10)).await;
    east.catch_up();
    assert_eq!(state(&east.world, "west"), Some(PeerState::ControlLost));
    assert_eq!(exports(&east.world, "west"), ["cart"]);
    let west = west.start().await;
    west.publish(&["cart"]);
    east.until(|world| state(world, "west") == Some(PeerState::Connected)).await;
    answers.abort();
}

#[tokio::test(start_paused = true)]
async fn h5_a_peer_that_is_frozen_is_probed_taken_out_and_comes_back() {
    let fabric = Fabric::default();
    let (mut east, west) = Cluster::pair(&fabric).await;
    for address in [east.address, west.address] {
        fabric.set(address, Place::Frozen);
    }
    let begun = Instant::now();
    east.until(|world| state(world, "west") == Some(PeerState::Lost)).await;
    assert!(begun.elapsed() <= Duration::from_secs(18), "{:?}", begun.elapsed());
    // What it exports is kept, though out of load balancing.
    assert_eq!(exports(&east.world, "west"), ["cart"]);
    sleep(Duration::from_mins(1)).await;
    for address in [east.address, west.address] {
        fabric.set(address, Place::Up);
        fabric.cut(address);
    }
    let begun = Instant::now();
    east.until(|world| state(world, "west") == Some(PeerState::Connected)).await;
    assert!(begun.elapsed() <= Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_a_dead_peer_serves_at_once() {
    let fabric = Fabric::default();
    let (east, west) = Cluster::pair(&fabric).await;
    let west = west.stop().await;
    let mut east = east.restart().await;
    // Before any stream, and before any time has passed.
    assert_eq!(exports(&east.world, "west"), ["cart"]);
    assert_eq!(state(&east.world, "west"), Some(PeerState::Connected));
    east.until(|world| state(world, "west") == Some(PeerState::Lost)).await;
    assert_eq!(exports(&east.world, "west"), ["cart"]);
    let west = west.start().await;
    assert_eq!(exports(&west.world, "east"), ["cart"], "it has kept what it knew too");
    east.publish(&["cart"]);
    west.publish(&["stock"]);
    east.until(|world| exports(world, "west") == ["stock"]).await;
    east.until(|world| state(world, "west") == Some(PeerState::Connected)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_understood_is_set_aside_and_costs_no_other_peer() {
    let fabric = Fabric::default();
    let (east, west) = Cluster::pair(&fabric).await;
    let mut north = spec("north", 3).start(&fabric).await;
    north.publish(&["cart"]);
    north.federation.join(&east.invite().await).await.unwrap();
    north.until(|world| exports(world, "east") == ["cart"]).await;
    let stopped = east.stop().await;
    std::fs::write(stopped.file("peers/west.json"), "{\"half").unwrap();
    let east = stopped.start().await;
    let known: Vec<_> = east.federation.list().await.unwrap();
    assert_eq!(known.iter().map(|peer| &*peer.cluster).collect::<Vec<_>>(), ["north"]);
    assert!(!east.file("peers/west.json").exists());
    // West is a stranger now, and is told what helps.
    sleep(Duration::from_mins(1)).await;
    let listed = west.federation.list().await.unwrap().remove(0);
    let trouble = listed.trouble.unwrap();
    assert!(trouble.contains("join again with a new token"), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn leaving_is_told_and_leaves_nothing_behind() {
    let fabric = Fabric::default();
    let (mut east, mut west) = Cluster::pair(&fabric).await;
    east.federation.leave("west", false).await.unwrap();
    east.until(|world| world.peer("west").is_none()).await;
    west.until(|world| world.peer("east").is_none()).await;
    assert_eq!(exports(&east.world, "west"), Vec::<String>::new());
    assert_eq!(exports(&west.world, "east"), Vec::<String>::new());
    for (cluster, file) in [(&east, "peers/west.json"), (&west, "peers/east.json")] {
        assert_eq!(cluster.federation.list().await.unwrap(), []);
        assert!(!cluster.file(file).exists());
    }
    let error = east.federation.leave("west", true).await.unwrap_err();
    assert!(matches!(error, FederationError::UnknownPeer(_)) && error.exit_code() == 1);
    // And it may join again.
    west.federation.join(&east.invite().await).await.unwrap();
    east.until(|world| exports(world, "west") == ["cart"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_left_by_force() {
    let fabric = Fabric::default();
    let (mut east, west) = Cluster::pair(&fabric).await;
    let west = west.stop().await;
    sleep(Duration::from_secs(30)).await;
    let error = east.federation.leave("west", false).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("leave by force") && error.exit_code() == 4, "{error}: {why}");
    assert_eq!(east.federation.list().await.unwrap().len(), 1);
    let begun = Instant::now();
    east.federation.leave("west", true).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    east.until(|world| world.peer("west").is_none()).await;
    // It comes back, and is nobody here.
    let west = west.start().await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(east.federation.list().await.unwrap(), []);
    let listed = west.federation.list().await.unwrap().remove(0);
    assert_eq!((&*listed.state, listed.stream), ("ControlLost", false));
    assert!(listed.trouble.unwrap().contains("does not know you"));
}

#[tokio::test(start_paused = true)]
async fn d3_who_is_not_the_peer_opens_no_stream_in_its_name() {
    let fabric = Fabric::default();
    let (mut east, west) = Cluster::pair(&fabric).await;
    let west = west.stop().await;
    // Another cluster with west's names and a CA of its own takes west's place, with west's state.
    let impostor = west.replaced_by(spec("west", 2)).start().await;
    impostor.publish(&["evil"]);
    sleep(Duration::from_mins(2)).await;
    east.catch_up();
    assert_eq!(exports(&east.world, "west"), ["cart"]);
    let listed = impostor.federation.list().await.unwrap().remove(0);
    assert!(!listed.stream && listed.trouble.is_some());
    // Nor does east speak to it.
    let listed = east.federation.list().await.unwrap().remove(0);
    assert!(!listed.stream);
    let trouble = listed.trouble.unwrap();
    assert!(trouble.contains("invalid peer certificate"), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn gateways_that_move_are_followed() {
    let fabric = Fabric::default();
    let (mut east, west) = Cluster::pair(&fabric).await;
    let moved = "198.51.100.7:15443".parse().unwrap();
    west.federation.configure((**west.world.settings()).clone(), vec![moved]);
    let of = |world: &isthmus_world::World| world.peer("west").unwrap().gateways.clone();
    east.until(|world| of(world) == [moved]).await;
    // An address that must not be dialled is kept out by who dials (case H3).
    let forbidden = "169.254.169.254:80".parse().unwrap();
    west.federation.configure((**west.world.settings()).clone(), vec![forbidden]);
    east.until(|world| of(world) == [forbidden]).await;
    fabric.cut(east.address);
    fabric.cut(west.address);
    sleep(Duration::from_secs(30)).await;
    assert!(!fabric.was_dialled(forbidden));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_hung_up_on() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    // It says nothing at all, or shakes hands and says nothing more.
    let silent = fabric.open(east.address);
    let west = spec("west", 2).start(&fabric).await;
    let shaken = west.shake_hands(east.address).await;
    let begun = Instant::now();
    fabric.ended(silent).await;
    fabric.ended(shaken).await;
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
}
