//! Tokens and joins.

use isthmus_east_west::invite::{
    Accepted, Channel, Invitation, JoinError, JoinRefusal, JoinRequest, Joining, LIFE, Member, Standing,
    Token, TokenError, accept,
};
use isthmus_ir::SpiffeId;
use isthmus_world::fact::PeerFact;
use proptest::prelude::*;

use crate::fixtures::{domain, peer};

const NOW: u64 = 1_800_000_000;
const PIN: [u8; 32] = [9; 32];

fn member(cluster: &str) -> Member {
    Member {
        cluster: cluster.into(),
        trust_domain: domain(cluster),
        roots: vec![bytes::Bytes::from(format!("root of {cluster}"))],
        gateways: vec!["198.51.100.1:15443".parse().unwrap()],
    }
}

fn control_plane_of(cluster: &str) -> SpiffeId {
    SpiffeId::new(&domain(cluster), "/ns/isthmus-system/sa/control-plane").unwrap()
}

fn invitation() -> Invitation {
    Invitation::new([7; 32], NOW)
}

fn token() -> Token {
    let invitation = invitation();
    Token {
        cluster: "east".into(),
        trust_domain: domain("east"),
        addresses: vec!["192.0.2.1:15443".parse().unwrap(), "[2001:db8::1]:15443".parse().unwrap()],
        pin: PIN,
        nonce: invitation.nonce,
        expires: invitation.expires,
    }
}

fn channel(n: u8) -> Channel {
    Channel { exporter: [n; 32], inviter: [1; 32], joiner: [2; 32] }
}

fn joining(cluster: &str) -> Joining {
    Joining::new(token(), member(cluster), []).unwrap()
}

/// East, with peers `known`, is asked.
fn ask(
    known: &[PeerFact],
    invitation: &Invitation,
    request: &JoinRequest,
    now: u64,
) -> Result<Accepted, JoinRefusal> {
    let shown = control_plane_of(&request.member.cluster);
    accept(&member("east"), known, Some(invitation), request, &channel(0), &shown, now)
}

#[test]
fn a_join_leaves_each_side_with_what_the_other_is() {
    let joining = joining("west");
    joining.check_server([&[3; 32], &PIN]).unwrap();
    assert_eq!(joining.addresses().len(), 2);
    let request = joining.request(&channel(0));
    let accepted = ask(&[], &invitation(), &request, NOW + 60).unwrap();
    assert_eq!(accepted.peer, member("west"));
    assert!(
        matches!(&accepted.invitation.standing, Standing::Redeemed { cluster, .. } if cluster == "west")
    );
    assert_eq!(joining.finish(&channel(0), accepted.response).unwrap(), member("east"));
}

#[test]
fn the_nonce_is_in_no_message_and_in_no_debug_output() {
    let nonce = [7; 32];
    let request = joining("west").request(&channel(0));
    assert!(!request.proof.starts_with(&nonce[..8]) && !request.invitation.0.contains("0707"));
    for text in [format!("{:?}", token()), format!("{:?}", invitation()), token().to_string()] {
        assert!(!text.contains("7, 7, 7"), "{text}");
    }
}

#[test]
fn a_token_is_used_once() {
    let first = ask(&[], &invitation(), &joining("west").request(&channel(0)), NOW).unwrap();
    let second = ask(&[peer("west")], &first.invitation, &joining("north").request(&channel(0)), NOW);
    assert_eq!(second, Err(JoinRefusal::Used("west".into())));
    // The swap decides between two who were accepted at once: both replace the same old value.
    let rival = ask(&[], &invitation(), &joining("north").request(&channel(0)), NOW).unwrap();
    assert_ne!(rival.invitation, first.invitation);
}

#[test]
fn whose_answer_was_lost_may_ask_again_as_long_as_it_says_the_same() {
    let first = ask(&[], &invitation(), &joining("west").request(&channel(0)), NOW).unwrap();
    let known = [first.peer.to_fact()];
    let again = ask(&known, &first.invitation, &joining("west").request(&channel(0)), NOW + 5).unwrap();
    assert_eq!(again, first);
    let mut other = member("west");
    other.gateways.clear();
    let other = Joining::new(token(), other, []).unwrap().request(&channel(0));
    assert_eq!(ask(&known, &first.invitation, &other, NOW + 5), Err(JoinRefusal::Used("west".into())));
}

#[test]
fn a_token_lives_fifteen_minutes() {
    let request = joining("west").request(&channel(0));
    assert!(ask(&[], &invitation(), &request, NOW + LIFE - 1).is_ok());
    assert_eq!(ask(&[], &invitation(), &request, NOW + LIFE), Err(JoinRefusal::Expired(0)));
    assert_eq!(ask(&[], &invitation(), &request, NOW + LIFE + 7), Err(JoinRefusal::Expired(7)));
    assert!(!invitation().is_stale(NOW + LIFE) && invitation().is_stale(NOW + LIFE + 24 * 3600));
}

#[test]
fn a_token_can_be_revoked_but_not_after_its_use() {
    let request = joining("west").request(&channel(0));
    assert_eq!(ask(&[], &invitation().revoked(), &request, NOW), Err(JoinRefusal::Revoked));
    let used = ask(&[], &invitation(), &request, NOW).unwrap().invitation;
    assert_eq!(used.revoked(), used);
}

#[test]
fn unknown_and_forged_tokens_are_told_apart() {
    let request = joining("west").request(&channel(0));
    let shown = control_plane_of("west");
    let ask = |invitation: Option<&Invitation>, request: &JoinRequest, over: &Channel| {
        accept(&member("east"), [], invitation, request, over, &shown, NOW).unwrap_err()
    };
    assert_eq!(ask(None, &request, &channel(0)), JoinRefusal::Unknown);
    assert_eq!(ask(Some(&Invitation::new([8; 32], NOW)), &request, &channel(0)), JoinRefusal::Unknown);
    let mut forged = request.clone();
    forged.proof[31] ^= 1;
    assert_eq!(ask(Some(&invitation()), &forged, &channel(0)), JoinRefusal::Forged);
    let mut altered = request.clone();
    altered.member.gateways.push("203.0.113.1:1".parse().unwrap());
    assert_eq!(ask(Some(&invitation()), &altered, &channel(0)), JoinRefusal::Forged);
}

#[test]
fn a_proof_is_good_on_its_own_connection_only() {
    let request = joining("west").request(&channel(0));
    let shown = control_plane_of("west");
    for between in [
        Channel { exporter: [1; 32], ..channel(0) },
        Channel { inviter: [3; 32], ..channel(0) },
        Channel { joiner: [3; 32], ..channel(0) },
    ] {
        let asked = accept(&member("east"), [], Some(&invitation()), &request, &between, &shown, NOW);
        assert_eq!(asked, Err(JoinRefusal::Forged));
    }
    let accepted = ask(&[], &invitation(), &request, NOW).unwrap();
    assert_eq!(joining("west").finish(&channel(1), accepted.response), Err(JoinError::Forged));
}

#[test]
fn an_answer_cannot_be_made_from_a_request() {
    // A server without the nonce sends the joiner's own proof back.
    let joining = joining("west");
    let request = joining.request(&channel(0));
    let mut echo = ask(&[], &invitation(), &request, NOW).unwrap().response;
    echo.proof = request.proof;
    assert_eq!(joining.finish(&channel(0), echo.clone()), Err(JoinError::Forged));
    echo.member = request.member;
    assert_eq!(joining.finish(&channel(0), echo), Err(JoinError::Forged));
}

#[test]
fn a_server_with_another_key_is_told_nothing() {
    assert_eq!(joining("west").check_server([&[3; 32]]), Err(JoinError::WrongServer));
    assert_eq!(joining("west").check_server([]), Err(JoinError::WrongServer));
}

#[test]
fn a_server_of_another_name_is_refused() {
    // Whoever made the token answers as somebody else.
    let request = joining("west").request(&channel(0));
    let shown = control_plane_of("west");
    for other in [member("north"), Member { trust_domain: domain("north"), ..member("east") }] {
        let accepted =
            accept(&other, [], Some(&invitation()), &request, &channel(0), &shown, NOW).unwrap();
        let finished = joining("west").finish(&channel(0), accepted.response);
        assert!(matches!(finished, Err(JoinError::WrongMember { .. })), "{finished:?}");
    }
}

#[test]
fn h9_the_inviter_refuses_names_that_are_taken_and_the_token_stays_good() {
    let twin = |cluster: &str, of: &str| Member { trust_domain: domain(of), ..member(cluster) };
    let asked = |own: Member, known: &[PeerFact]| {
        let request = JoinRequest { member: own.clone(), ..joining_as(own).request(&channel(0)) };
        let shown =
            SpiffeId::new(&request.member.trust_domain, "/ns/isthmus-system/sa/control-plane").unwrap();
        accept(&member("east"), known, Some(&invitation()), &request, &channel(0), &shown, NOW)
            .map(|_| ())
    };
    assert_eq!(asked(twin("east", "west"), &[]), Err(JoinRefusal::ClusterTaken("east".into())));
    assert_eq!(
        asked(twin("west", "east"), &[]),
        Err(JoinRefusal::TrustDomainTaken("east.example".into()))
    );
    let known = [peer("north")];
    assert_eq!(asked(twin("north", "west"), &known), Err(JoinRefusal::ClusterTaken("north".into())));
    assert_eq!(asked(member("north"), &known), Err(JoinRefusal::AlreadyPeer("north".into())));
    assert_eq!(
        asked(twin("west", "north"), &known),
        Err(JoinRefusal::TrustDomainTaken("north.example".into()))
    );
    assert_eq!(asked(member("west"), &known), Ok(()));
}

/// A joiner that does not check its own side first.
fn joining_as(own: Member) -> Joining {
    let mut token = token();
    (token.cluster, token.trust_domain) = ("elsewhere".into(), domain("elsewhere"));
    Joining::new(token, own, []).unwrap()
}

#[test]
fn h9_the_joiner_refuses_names_that_are_taken_before_it_dials() {
    let begin =
        |own: Member, known: &[PeerFact]| Joining::new(token(), own, known).map(|_| ()).unwrap_err();
    assert_eq!(begin(member("east"), &[]), JoinError::Own);
    let renamed = Member { trust_domain: domain("west"), ..member("east") };
    assert_eq!(begin(renamed, &[]), JoinError::ClusterTaken("east".into()));
    let same_domain = Member { trust_domain: domain("east"), ..member("west") };
    assert_eq!(begin(same_domain, &[]), JoinError::TrustDomainTaken("east.example".into()));
    assert_eq!(begin(member("west"), &[peer("east")]), JoinError::AlreadyPeer("east".into()));
    let mut namesake = peer("east");
    namesake.trust_domain = domain("north");
    assert_eq!(begin(member("west"), &[namesake]), JoinError::ClusterTaken("east".into()));
    let mut thief = peer("north");
    thief.trust_domain = domain("east");
    assert_eq!(begin(member("west"), &[thief]), JoinError::TrustDomainTaken("east.example".into()));
}

#[test]
fn a_joiner_whose_certificate_is_of_another_trust_domain_is_refused() {
    let request = joining("west").request(&channel(0));
    let shown = control_plane_of("north");
    let asked = accept(&member("east"), [], Some(&invitation()), &request, &channel(0), &shown, NOW);
    assert!(matches!(asked, Err(JoinRefusal::WrongTrustDomain { .. })), "{asked:?}");
}

#[test]
fn a_joiner_without_roots_is_refused() {
    let own = Member { roots: vec![], ..member("west") };
    let request = Joining::new(token(), own, []).unwrap().request(&channel(0));
    assert!(matches!(ask(&[], &invitation(), &request, NOW), Err(JoinRefusal::Invalid(_))));
}

#[test]
fn an_invitation_outlives_a_restart() {
    let used = ask(&[], &invitation(), &joining("west").request(&channel(0)), NOW).unwrap().invitation;
    for invitation in [invitation(), invitation().revoked(), used] {
        let text = serde_json::to_string(&invitation.save()).unwrap();
        assert_eq!(Invitation::restored(serde_json::from_str(&text).unwrap()), invitation);
    }
}

#[test]
fn what_is_no_token_says_what_to_do() {
    let good = token().encode();
    assert_eq!(good.parse::<Token>().unwrap(), token());
    let (half, rest) = good.split_at(60);
    assert_eq!(format!(" {half}\n{rest}\r\n").parse::<Token>().unwrap(), token());
    for (text, error) in [
        (String::new(), TokenError::NotAToken),
        ("hello".into(), TokenError::NotAToken),
        ("isthmus-join.".into(), TokenError::Damaged),
        (good[..good.len() - 3].into(), TokenError::Damaged),
        (good.to_uppercase(), TokenError::NotAToken),
        (format!("{good}A"), TokenError::Damaged),
        (good.replacen('0', "1", 1), TokenError::Damaged),
    ] {
        assert_eq!(text.parse::<Token>().unwrap_err(), error, "{text}");
        assert!(error.to_string().contains("token"));
    }
}

#[test]
fn a_token_of_a_newer_version_says_so() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use sha2::{Digest, Sha256};
    let mut bytes = vec![2, 1, 2, 3];
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    bytes.extend(&sum[..4]);
    let text = format!("isthmus-join.{}", URL_SAFE_NO_PAD.encode(bytes));
    assert_eq!(text.parse::<Token>().unwrap_err(), TokenError::Version(2));
}

proptest! {
    #[test]
    fn tokens_round_trip(
        cluster in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        domain in "[a-z0-9._-]{1,255}",
        pin: [u8; 32], nonce: [u8; 32], expires: u64,
        v4 in prop::collection::vec((1..=223_u8, any::<[u8; 3]>(), 1..=u16::MAX), 1..8),
        v6 in prop::collection::vec((any::<[u8; 14]>(), 1..=u16::MAX), 0..8),
    ) {
        let mut addresses: Vec<std::net::SocketAddr> =
            v4.into_iter().map(|(a, [b, c, d], port)| ([a, b, c, d], port).into()).collect();
        addresses.extend(v6.into_iter().map(|(tail, port)| {
            let mut ip = [0x20; 16];
            ip[2..].copy_from_slice(&tail);
            std::net::SocketAddr::from((ip, port))
        }));
        let nonce = isthmus_ir::Redacted::new(nonce);
        let token = Token { cluster, trust_domain: domain.parse().unwrap(), addresses, pin, nonce, expires };
        prop_assert_eq!(token.encode().parse::<Token>().unwrap(), token);
    }

    /// Parsers of strangers' bytes never panic (invariant 8), with a right checksum too.
    #[test]
    fn no_text_panics(text in "(isthmus-join\\.)?[A-Za-z0-9_-]{0,300}", body in prop::collection::vec(any::<u8>(), 0..200)) {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        use sha2::{Digest, Sha256};
        let _ = text.parse::<Token>();
        let mut body = body;
        if let Some(version) = body.first_mut() {
            *version = 1;
        }
        let sum: [u8; 32] = Sha256::digest(&body).into();
        body.extend(&sum[..4]);
        let _ = format!("isthmus-join.{}", URL_SAFE_NO_PAD.encode(body)).parse::<Token>();
    }
}
