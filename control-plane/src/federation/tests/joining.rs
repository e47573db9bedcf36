//! How clusters become peers, and what stands in the way.

use std::sync::atomic::Ordering;

use isthmus_east_west::invite::{JoinError, Token, TokenError};
use isthmus_ir::Redacted;
use isthmus_world::fact::PeerState;

use super::harness::{Cluster, Fabric, Place, exports, spec, state};
use crate::federation::FederationError;

async fn refused(joiner: &Cluster, token: &str) -> String {
    let error = joiner.federation.join(token).await.unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
    error.to_string()
}

async fn peers(cluster: &Cluster) -> Vec<String> {
    cluster.federation.list().await.unwrap().into_iter().map(|peer| peer.cluster).collect()
}

#[tokio::test(start_paused = true)]
async fn two_commands_and_each_sees_what_the_other_exports() {
    let fabric = Fabric::default();
    let (mut east, west) = Cluster::pair(&fabric).await;
    assert_eq!(state(&east.world, "west"), Some(PeerState::Connected));
    let cart = isthmus_ir::ObjectRef::new("shop", "cart");
    let told = west.world.peer_exports(&cart).next().unwrap();
    assert_eq!(*told.service, east.service("cart"));
    let listed = east.federation.list().await.unwrap().remove(0);
    assert_eq!((&*listed.cluster, &*listed.state, listed.services), ("west", "Connected", Some(1)));
    assert_eq!((listed.stream, listed.trouble), (true, None));
    assert_eq!(listed.gateways, [west.spec.address]);
    // Edits follow.
    west.publish(&["stock"]);
    west.unpublish("cart");
    east.until(|world| exports(world, "west") == ["stock"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_joiner_that_cannot_be_reached_dials_out() {
    let fabric = Fabric::default();
    let mut east = spec("east", 1).start(&fabric).await;
    let mut west = spec("west", 2).unreachable().start(&fabric).await;
    east.publish(&["cart"]);
    west.publish(&["cart"]);
    west.federation.join(&east.invite().await).await.unwrap();
    east.until(|world| exports(world, "west") == ["cart"]).await;
    west.until(|world| exports(world, "east") == ["cart"]).await;
    let error = west.federation.invite().await.unwrap_err();
    assert!(matches!(error, FederationError::NoGateway) && error.exit_code() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_admits_one_cluster() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let north = spec("north", 3).start(&fabric).await;
    let token = east.invite().await;
    let joined = west.federation.join(&token).await.unwrap();
    assert_eq!((&*joined.cluster, &*joined.trust_domain), ("east", "east.example"));
    let why = refused(&north, &token).await;
    assert_eq!(
        why,
        "cluster east refuses: the token has been used already, by cluster \"west\"; each token admits \
         one cluster: make another with `isthmus peer invite`"
    );
    assert_eq!(peers(&north).await, Vec::<String>::new());
    assert_eq!(peers(&east).await, ["west"]);
    assert!(refused(&west, &token).await.contains("is a peer already"));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_race_for_a_token_one_wins() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let north = spec("north", 3).start(&fabric).await;
    let token = east.invite().await;
    let (one, two) = tokio::join!(west.federation.join(&token), north.federation.join(&token));
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(peers(&east).await, [if one.is_ok() { "west" } else { "north" }]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_refused() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let token = east.invite().await;
    east.clock.store(15 * 60 + 30, Ordering::Relaxed);
    let why = refused(&west, &token).await;
    assert!(why.contains("the token expired") && why.contains("make another"), "{why}");
    assert_eq!((peers(&east).await.len(), peers(&west).await.len()), (0, 0));
    assert!(!west.file("peers/east.json").exists());
}

#[tokio::test(start_paused = true)]
async fn a_forged_token_is_refused() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let real: Token = east.invite().await.parse().unwrap();
    let guessed = Token { nonce: Redacted::new([7; 32]), ..real.clone() };
    assert!(refused(&west, &guessed.encode()).await.contains("no such invitation"));
    // Made by somebody who wants west to join something else.
    let lured = Token { pin: [7; 32], ..real.clone() };
    let error = west.federation.join(&lured.encode()).await.unwrap_err();
    assert!(matches!(error, FederationError::Join(JoinError::WrongServer)), "{error}");
    let elsewhere = Token { trust_domain: "north.example".parse().unwrap(), ..real.clone() };
    refused(&west, &elsewhere.encode()).await;
    let renamed = Token { cluster: "north".to_owned(), ..real.clone() };
    let error = west.federation.join(&renamed.encode()).await.unwrap_err();
    assert!(matches!(error, FederationError::Join(JoinError::WrongMember { .. })), "{error}");
    let error = west.federation.join("isthmus-join.rubbish").await.unwrap_err();
    assert!(matches!(error, FederationError::Token(TokenError::Damaged)), "{error}");
    assert_eq!(peers(&west).await, Vec::<String>::new());
    // East let "north" in, whose joiner turned away; nobody else can use the token. Which is why it is
    // forgotten unless it comes back.
    assert_eq!(peers(&east).await, ["west"]);
    tokio::time::sleep(isthmus_east_west::peer::AWAIT).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(peers(&east).await, Vec::<String>::new());
    assert!(!east.file("peers/west.json").exists());
}

#[tokio::test(start_paused = true)]
async fn nobody_home_says_what_was_tried() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let token = east.invite().await;
    fabric.set(east.address, Place::Refused);
    let why = refused(&west, &token).await;
    assert_eq!(
        why,
        "cluster east cannot be reached (192.0.2.1:15443: nobody listens there); check that its \
         east-west gateway runs, and that these addresses lead to it from here"
    );
    fabric.set(east.address, Place::Frozen);
    assert!(refused(&west, &token).await.contains("no answer in time"));
    // The token is good still.
    fabric.set(east.address, Place::Up);
    west.federation.join(&token).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn h9_cluster_ids_and_trust_domains_are_taken_once() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    west.federation.join(&east.invite().await).await.unwrap();
    for (twin, complaint) in [
        // The inviter's own names, which the joiner sees in the token already.
        (spec("east", 3).in_domain("other.example"), "cluster id \"east\" is taken here"),
        (spec("other", 4).in_domain("east.example"), "trust domain \"east.example\" is taken here"),
        // Those of a peer of the inviter.
        (spec("west", 5).in_domain("other.example"), "refuses: cluster id \"west\" is taken"),
        (spec("other", 6).in_domain("west.example"), "refuses: trust domain \"west.example\" is taken"),
    ] {
        let twin = twin.start(&fabric).await;
        let why = refused(&twin, &east.invite().await).await;
        assert!(why.contains(complaint), "{why}");
        assert_eq!(peers(&twin).await, Vec::<String>::new());
    }
    assert_eq!(peers(&east).await, ["west"]);
    assert!(refused(&east, &east.invite().await).await.contains("made by this very cluster"));
    // Those of a peer of the joiner, which the inviter cannot know.
    let south = spec("south", 7).in_domain("west.example").start(&fabric).await;
    let token = south.invite().await;
    assert!(refused(&east, &token).await.contains("trust domain \"west.example\" is taken here"));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_trust_domain_joins_nothing() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    // Its CA is of another trust domain than its settings say.
    let liar = spec("west", 2).claiming("victim.example").start(&fabric).await;
    let why = refused(&liar, &east.invite().await).await;
    let expected =
        "the certificate shown is of trust domain \"west.example\", and not of \"victim.example\"";
    assert!(why.contains(expected), "{why}");
    // Its certificates are of the right trust domain, and not signed by the roots that it brings.
    let (victim, thief) = (spec("west", 3), spec("west", 4));
    let thief = thief.with_roots_of(&victim).start(&fabric).await;
    let why = refused(&thief, &east.invite().await).await;
    assert!(why.contains("its certificate is not its own"), "{why}");
    assert_eq!(peers(&east).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again() {
    let fabric = Fabric::default();
    let mut east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let token = east.invite().await;
    let joining = west.federation.clone();
    let lost = token.clone();
    let joining = tokio::spawn(async move { joining.join(&lost).await });
    // East has let west in, and its answer never arrives.
    east.until(|world| world.peer("west").is_some()).await;
    fabric.set(east.address, Place::Frozen);
    let first = joining.await.unwrap();
    fabric.set(east.address, Place::Up);
    fabric.cut(east.address);
    if first.is_err() {
        west.federation.join(&token).await.unwrap();
    }
    assert_eq!((peers(&east).await, peers(&west).await), (vec!["west".into()], vec!["east".into()]));
}

#[tokio::test(start_paused = true)]
async fn invitations_outlive_a_restart_and_keep_their_secret() {
    let fabric = Fabric::default();
    let east = spec("east", 1).start(&fabric).await;
    let west = spec("west", 2).start(&fabric).await;
    let north = spec("north", 3).start(&fabric).await;
    let token = east.invite().await;
    let east = east.restart().await;
    west.federation.join(&token).await.unwrap();
    let east = east.restart().await;
    assert!(refused(&north, &token).await.contains("used already, by cluster \"west\""));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(east.file("invites.json")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
