//! What an explanation says is what is served.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use expect_test::{Expect, expect};
use proptest::{collection::vec, prelude::*};

use super::{
    Call, attached, get, listener, on, outcome, put_listener, put_rule,
    reference::{any_call, any_connection, any_listener, any_rule, binds, compatible, distinct},
    rule, tables,
};
use crate::{
    Change, Listener, Name, Route,
    matcher::{
        Bind, Connection, Decision, Request, Tables,
        explain::{Explanation, Fate, ListenerFate, Outcome, Question, explain},
    },
};

fn explained(tables: &Tables<Name>, connection: Connection<'_>, call: &Call) -> Explanation {
    let port = if connection == Connection::Clear { 80 } else { 443 };
    explain(tables.group(Bind { address: None, port }).unwrap(), connection, call, 100).0
}

/// The explanation in the words that people read.
fn words(of: &Explanation) -> String {
    let listeners = of
        .listeners
        .iter()
        .map(|l| format!("listener {} {} ({}): {}\n", l.gateway, l.section, l.hostname, l.fate));
    let matches = of.matches.iter().map(|m| {
        format!("{}#{} on {}, {}: {}\n", m.rule, m.match_index, m.hostname, m.conditions, m.fate)
    });
    listeners.chain(matches).collect()
}

fn check(tables: &Tables<Name>, call: &Call, expected: &Expect) {
    expected.assert_eq(&words(&explained(tables, Connection::Clear, call)));
}

#[test]
fn every_match_says_why_it_did_not_win() {
    let r = |index, of| attached(rule("ns/r", index, vec![of]), "l", &["a.com", "*.org"]);
    let rules = vec![
        r(0, on("/a")),
        r(1, on("/a/b").header("x", "1")),
        r(2, on("/a/b").method("POST")),
        r(3, on("/a/b").query("q", "~[0-9]+")),
        r(4, on("/a/b")),
        r(5, on("=/a/b").header("y", "1")),
        r(6, on("~/x.*")),
        attached(rule("ns/any", 0, vec![on("/")]), "l", &["*"]),
        attached(rule("ns/other", 0, vec![on("/")]), "l", &["*.net"]),
        attached(rule("ns/elsewhere", 0, vec![on("/")]), "m", &["*"]),
    ];
    let listeners =
        vec![listener("l", "*", false), listener("m", "m.com", false), listener("n", "*.a.com", false)];
    let call = get("a.com/a/b?q=x").with("x", "2").with("x", "3");
    check(
        &tables(listeners, rules),
        &call,
        &expect![[r#"
        listener ns/gw l (*): chosen: the most specific hostname that matches
        listener ns/gw m (m.com): its hostname does not match
        listener ns/gw n (*.a.com): its hostname does not match
        HTTPRoute/ns/r/5#0 on a.com, path /a/b (exact), header y: 1: header y is missing
        HTTPRoute/ns/r/2#0 on a.com, path /a/b (prefix), method POST: the method differs
        HTTPRoute/ns/r/1#0 on a.com, path /a/b (prefix), header x: 1: header x is "2,3"
        HTTPRoute/ns/r/3#0 on a.com, path /a/b (prefix), query q=~[0-9]+: query parameter q is "x"
        HTTPRoute/ns/r/4#0 on a.com, path /a/b (prefix): won
        HTTPRoute/ns/r/0#0 on a.com, path /a (prefix): matches, but the winner's path is longer
        HTTPRoute/ns/any/0#0 on *, path / (prefix): matches, but the winner's hostname is more specific
        HTTPRoute/ns/r/6#0 on a.com, path /x.* (regular expression): the path does not match
        HTTPRoute/ns/other/0#0 on *.net, path / (prefix): the host does not match
    "#]],
    );
}

#[test]
fn d11_a_misdirected_request_names_both_listeners() {
    let names = ["*", "a.com"];
    let listeners = names.map(|name| listener(name, name, true)).to_vec();
    let tables = tables(listeners, vec![attached(rule("ns/r", 0, vec![on("/")]), "*", &["*"])]);
    let connection = Connection::Tls { server_name: Some("b.com") };
    let explanation = explained(&tables, connection, &get("a.com/"));
    assert_eq!(explanation.outcome, Outcome::Misdirected);
    expect![[r"
        listener ns/gw * (*): chosen: the most specific hostname that matches
        listener ns/gw a.com (a.com): the host belongs to it, but the TLS server name chose another listener
    "]].assert_eq(&words(&explanation));
}

#[test]
fn explanations_are_plain_data() {
    let rules = vec![
        attached(rule("ns/r", 0, vec![on("/a").header("x", "1"), on("/")]), "l", &["*"]),
        attached(rule("ns/s", 0, vec![on("/"), on("/b")]), "l", &["*"]),
    ];
    let tables = tables(vec![listener("l", "*", false)], rules);
    let group = tables.groups().next().unwrap();
    let (explanation, _) = explain(group, Connection::Clear, &get("h/a/b"), 0);
    let text = serde_json::to_string_pretty(&explanation).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&text).unwrap(), explanation);
    expect![[r#"
        {
          "request": {
            "method": "GET",
            "host": "h",
            "path": "/a/b"
          },
          "listeners": [
            {
              "gateway": "ns/gw",
              "section": "l",
              "hostname": "*",
              "fate": "chosen"
            }
          ],
          "matches": [
            {
              "rule": "HTTPRoute/ns/r/0",
              "matchIndex": 0,
              "hostname": "*",
              "conditions": "path /a (prefix), header x: 1",
              "fate": {
                "is": "header",
                "name": "x",
                "found": null
              }
            },
            {
              "rule": "HTTPRoute/ns/r/0",
              "matchIndex": 1,
              "hostname": "*",
              "conditions": "path / (prefix)",
              "fate": {
                "is": "won"
              }
            },
            {
              "rule": "HTTPRoute/ns/s/0",
              "matchIndex": 0,
              "hostname": "*",
              "conditions": "path / (prefix)",
              "fate": {
                "is": "outranked",
                "by": "name"
              }
            }
          ],
          "omitted": 1,
          "outcome": {
            "is": "route",
            "listener": "ns/gw/l",
            "rule": "HTTPRoute/ns/r/0",
            "matchIndex": 1,
            "prefix": "/"
          }
        }"#]]
    .assert_eq(&text);
}

#[test]
fn a_question_is_asked_as_a_proxy_would_see_it() {
    let at = |name: &str, address: Option<[u8; 4]>, port| {
        let addresses = address.map(|a| IpAddr::V4(a.into())).into_iter().collect();
        Listener { addresses, port, ..listener(name, "*", false) }
    };
    let listeners = vec![at("a", Some([127, 0, 0, 1]), 80), at("b", None, 80), at("c", None, 8080)];
    let tables = tables(listeners, vec![]);
    for (url, sockets) in [
        ("http://a.com/", "*:80 127.0.0.1:80"),
        ("http://127.0.0.1/", "127.0.0.1:80"),
        ("http://127.0.0.2/", "*:80"),
        ("http://[::1]:8080", "*:8080"),
        ("http://a.com:81", ""),
        ("https://a.com:80", "*:80 127.0.0.1:80"),
    ] {
        let question = Question::new("GET", url, []).unwrap();
        let socket = |bind: Bind| {
            format!("{}:{}", bind.address.map_or("*".to_owned(), |a| a.to_string()), bind.port)
        };
        let all: Vec<String> = question.groups(&tables).map(|group| socket(group.bind())).collect();
        assert_eq!(all.join(" "), sockets, "{url}");
    }
    let headers = [("Host", "B.com:1"), ("X-A", " 1 "), ("x-a", "2")];
    let question = Question::new("GET", "https://a.com/x/../y?q", headers).unwrap();
    assert_eq!(question.connection(), Connection::Tls { server_name: Some("a.com") });
    assert_eq!(
        (question.host(), question.path(), question.query()),
        ("b.com", &b"/y"[..], Some(&b"q"[..]))
    );
    assert_eq!(question.header("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    let nameless = Question::new("GET", "https://127.0.0.1/", []).unwrap();
    assert_eq!(nameless.connection(), Connection::Tls { server_name: None });
    let refused = ["/a", "a.com/b", "http://a.com/%00", "http://u@a.com/"];
    assert!(refused.iter().all(|url| Question::new("GET", url, []).is_err()));
    assert!(Question::new("GET", "http://a.com/", [("host", "a b")]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_winner_of_an_explanation_is_the_servers(
        listeners in vec(any_listener(), 1..5).prop_map(compatible),
        rules in vec(any_rule(), 0..12).prop_map(|rules| distinct(rules, |r| r.name.clone())),
        calls in vec((any_connection(), any_call()), 32),
    ) {
        let changes: Vec<Change> = listeners.iter().cloned().map(put_listener)
            .chain(rules.iter().cloned().map(put_rule)).collect();
        let updated = Tables::default().update(&changes, |rule: &Arc<Route>| Ok(rule.name.clone()));
        for (connection, call) in &calls {
            for group in binds().into_iter().filter_map(|bind| updated.tables.group(bind)) {
                let served = outcome(group.decide(*connection, call, &mut ()));
                let (explanation, decision) = explain(group, *connection, call, usize::MAX);
                agree(&explanation, &decision)?;
                complete(&explanation, &rules)?;
                prop_assert_eq!(outcome(decision), served);
            }
        }
    }
}

/// Each match of the rules of the listener that was chosen is there once.
fn complete(explanation: &Explanation, rules: &[Route]) -> Result<(), TestCaseError> {
    let chosen = explanation.listeners.iter().find(|listener| listener.fate == ListenerFate::Chosen);
    let Some(section) = chosen.map(|listener| format!("ns/gw/{}", listener.section)) else {
        return Ok(());
    };
    if explanation.outcome == Outcome::Misdirected {
        return Ok(());
    }
    let attached = |rule: &&Route| rule.attachments.iter().any(|a| a.listener.as_str() == section);
    let wanted: BTreeSet<_> = rules
        .iter()
        .filter(attached)
        .flat_map(|rule| (0..rule.matches.len()).map(|index| (rule.name.to_string(), index)))
        .collect();
    let told: Vec<_> =
        explanation.matches.iter().map(|step| (step.rule.clone(), step.match_index)).collect();
    prop_assert_eq!(told.len(), wanted.len());
    prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), wanted);
    Ok(())
}

/// One match has won at most; it is the decision's and comes before those that it outranks.
fn agree(explanation: &Explanation, decision: &Decision<'_, Name>) -> Result<(), TestCaseError> {
    let won: Vec<_> = explanation.matches.iter().filter(|step| step.fate == Fate::Won).collect();
    match decision {
        Decision::Route(winner) => {
            prop_assert_eq!(won.len(), 1);
            prop_assert_eq!(&won[0].rule, winner.rule.name.as_str());
            prop_assert_eq!(won[0].match_index, winner.match_index);
            let first = explanation.matches.iter().position(|step| step.fate == Fate::Won);
            let outranked =
                explanation.matches.iter().position(|s| matches!(s.fate, Fate::Outranked { .. }));
            prop_assert!(outranked.is_none_or(|outranked| first.unwrap() < outranked));
        }
        Decision::NotFound { .. } | Decision::Misdirected { .. } => prop_assert!(won.is_empty()),
    }
    Ok(())
}
