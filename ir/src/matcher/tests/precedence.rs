//! Which rule wins inside one listener: the tables of Gateway API (`HTTPRouteRule.matches`,
//! `HTTPPathMatch`) and of its conformance suite.

use super::{Call, attached, decide, get, listener, on, put_rule, rule, tables};
use crate::{
    Route, RouteMatch,
    matcher::{BadPattern, Refusal, Tables},
    normalize::BadPath,
};

/// One rule for each of these matches, in the order of one route.
fn rules(matches: Vec<RouteMatch>) -> Vec<Route> {
    let rules = matches.into_iter().zip(0..);
    rules.map(|(of, index)| attached(rule("ns/r", index, vec![of]), "l", &["*"])).collect()
}

/// The index of the rule that wins, in the order given.
fn winner(matches: &[RouteMatch], call: &Call) -> Option<usize> {
    let tables = tables(vec![listener("l", "*", false)], rules(matches.to_vec()));
    match decide(&tables, call).as_str() {
        "404" => None,
        won => won.strip_prefix("ns/r/")?.strip_suffix("#0")?.parse().ok(),
    }
}

fn paths(matches: &[&str], path: &str) -> Option<String> {
    let all: Vec<RouteMatch> = matches.iter().map(|text| on(text)).collect();
    winner(&all, &get(&format!("h{path}"))).map(|index| matches[index].to_owned())
}

#[test]
fn b4_prefixes_match_whole_elements() {
    for (prefix, path, matches) in [
        ("/abc", "/abc", true),
        ("/abc", "/abc/", true),
        ("/abc", "/abc/def", true),
        ("/abc", "/abcd", false),
        ("/api", "/apiadmin", false),
        ("/abc", "/ab", false),
        ("/abc", "/", false),
        ("/abc", "/x/abc", false),
        ("/", "/", true),
        ("/", "/a/b", true),
        ("/a/b", "/a/b", true),
        ("/a/b", "/a/bc", false),
        ("/a/b", "/a", false),
        ("/a/", "/a", true),
        ("/%61", "/a/b", true),
        ("/a%2c", "/a%2C/b", true),
        ("/a", "/A", false),
    ] {
        assert_eq!(paths(&[prefix], path).is_some(), matches, "{prefix} {path}");
    }
}

#[test]
fn exact_paths_match_themselves_only() {
    for (path, matches) in [("/abc", true), ("/abc/", false), ("/Abc", false), ("/abcd", false)] {
        assert_eq!(paths(&["=/abc"], path).is_some(), matches, "{path}");
    }
    assert_eq!(paths(&["=/abc/"], "/abc"), None);
    assert_eq!(paths(&["=/abc/"], "/abc/").as_deref(), Some("=/abc/"));
}

#[test]
fn b16_exact_then_regex_then_the_longest_prefix() {
    let all =
        ["/match/", "=/match", "/match/prefix", "=/match/exact", "/", "~/match/re.*", "~/match/regex"];
    for (path, won) in [
        ("/match", "=/match"),
        ("/match/exact", "=/match/exact"),
        ("/match/other", "/match/"),
        ("/match/prefix", "/match/prefix"),
        ("/match/prefix/one/any", "/match/prefix"),
        ("/match/regex", "~/match/regex"),
        ("/match/re", "~/match/re.*"),
        ("/x", "/"),
    ] {
        assert_eq!(paths(&all, path).as_deref(), Some(won), "{path}");
    }
}

#[test]
fn b16_then_method_then_headers_then_query() {
    let root = || on("/");
    let matches = [
        root(),
        root().query("a", "1").query("b", "1").query("c", "1"),
        root().header("x", "1").header("y", "1"),
        root().header("x", "1"),
        root().method("GET"),
        root().method("GET").query("a", "1"),
        on("/p"),
    ];
    let all = || get("h/?a=1&b=1&c=1").with("x", "1").with("y", "1");
    assert_eq!(winner(&matches, &all()), Some(5));
    assert_eq!(winner(&matches, &Call { query: None, ..all() }), Some(4));
    assert_eq!(winner(&matches, &all().method("POST")), Some(2));
    assert_eq!(
        winner(&matches, &Call { headers: vec![("x", "1".into())], ..all().method("PUT") }),
        Some(3)
    );
    assert_eq!(winner(&matches, &Call { headers: vec![], ..all().method("PUT") }), Some(1));
    assert_eq!(winner(&matches, &get("h/").method("PUT")), Some(0));
    assert_eq!(
        winner(&matches, &Call { path: "/p".into(), ..all() }),
        Some(6),
        "a longer prefix beats all"
    );
}

#[test]
fn b16_then_age_then_name_then_place_in_the_route() {
    let one = |route: &str, index, created| Route {
        created,
        ..attached(rule(route, index, vec![on("/"), on("/")]), "l", &["*"])
    };
    let won = |rules: Vec<Route>| decide(&tables(vec![listener("l", "*", false)], rules), &get("h/"));
    assert_eq!(won(vec![one("a/a", 0, 5), one("z/z", 0, 4), one("b/b", 0, 5)]), "z/z/0#0");
    assert_eq!(won(vec![one("b/a", 0, 5), one("a/b", 0, 5), one("a/c", 0, 5)]), "a/b/0#0");
    assert_eq!(
        won(vec![one("a/x", 0, 5), one("a-b/x", 0, 5)]),
        "a-b/x/0#0",
        "by the text 'namespace/name'"
    );
    assert_eq!(won(vec![one("a/a", 10, 5), one("a/a", 9, 5)]), "a/a/9#0");
}

#[test]
fn headers_match_by_their_joined_values() {
    let call = get("h/").with("x", "a").with("y", "").with("x", "b").with("x", "c");
    for (name, value, matches) in [
        ("x", "a,b,c", true),
        ("x", "a", false),
        ("x", "a,b", false),
        ("x", "a,b,c,", false),
        ("x", "~a,.*", true),
        ("x", "~b", false),
        ("y", "", true),
        ("y", "~", true),
        ("z", "", false),
        ("z", "~.*", false),
    ] {
        let won = winner(&[on("/").header(name, value)], &call);
        assert_eq!(won.is_some(), matches, "{name}: {value}");
    }
}

#[test]
fn query_parameters_match_by_their_first_decoded_value() {
    for (query, matches) in [
        ("animal=whale", true),
        ("x=1&animal=whale&animal=dog", true),
        ("animal=dog&animal=whale", false),
        ("animal=%77hale", true),
        ("%61nimal=whale", true),
        ("ANIMAL=whale", false),
        ("animal=whaledolphin", false),
        ("animal", false),
        ("", false),
    ] {
        let won = winner(&[on("/").query("animal", "whale")], &get(&format!("h/?{query}")));
        assert_eq!(won.is_some(), matches, "{query}");
    }
    assert!(winner(&[on("/").query("a", "~[0-9]+ x")], &get("h/?a=12+x")).is_some());
    assert!(winner(&[on("/").query("a", "")], &get("h/?a")).is_some());
    assert_eq!(winner(&[on("/").query("a", "")], &get("h/")), None);
}

#[test]
fn methods_are_case_sensitive() {
    assert_eq!(winner(&[on("/").method("GET")], &get("h/").method("get")), None);
}

#[test]
fn the_conformance_suites_queries_and_headers() {
    let matches = [
        on("/").query("animal", "dolphin"),
        on("/").query("animal", "dolphin").query("color", "blue"),
        on("/path5"),
        on("/").query("animal", "hydra"),
        on("/").header("version", "four"),
    ];
    assert_eq!(winner(&matches, &get("h/?animal=dolphin&color=blue")), Some(1));
    assert_eq!(winner(&matches, &get("h/?animal=dolphin&color=yellow")), Some(0));
    assert_eq!(winner(&matches, &get("h/path5?animal=hydra")), Some(2));
    assert_eq!(winner(&matches, &get("h/?animal=hydra").with("version", "four")), Some(4));
}

#[test]
fn b6_patterns_are_of_bytes_and_of_the_whole_value() {
    use crate::matcher::Pattern;
    let matches = |pattern: &str, value: &[u8]| Pattern::new(pattern).unwrap().matches(value);
    assert!(matches(".*", b"\xff\xfe\n\0"));
    assert!(matches("a.b", b"a\xffb"));
    assert!(matches("a|ab", b"ab"));
    assert!(matches("^/x$", b"/x"));
    assert!(matches("(?i)ABC", b"abc"));
    assert!(!matches("/x", b"/x\n"));
    assert!(!matches("b", b"abc"));
    assert!(!matches("a|b", b"ac"));
    assert!(!matches(r"\w", "é".as_bytes()));
    assert!(matches("é+", "éé".as_bytes()));
}

#[test]
fn c18_patterns_are_bounded() {
    use crate::matcher::Pattern;
    let refused = |pattern: &str| Pattern::new(pattern).map(|_| ()).unwrap_err();
    assert_eq!(refused(&"a".repeat(1 << 20)), BadPattern::Long);
    assert_eq!(refused("(a{1000}){1000}"), BadPattern::Large);
    assert!(matches!(refused(&"(".repeat(100)), BadPattern::Syntax(_)));
    assert!(matches!(
        refused(&format!("{}{}", "(".repeat(100), ")".repeat(100))),
        BadPattern::Syntax(_)
    ));
    assert!(matches!(refused("a)|(b"), BadPattern::Syntax(_)), "groups are the pattern's own");
    assert!(matches!(refused("(?x)a # b"), BadPattern::Syntax(_)), "no comment may hide the end");
    let slow = Pattern::new("(a+)+").unwrap();
    assert!(!slow.matches(format!("{}!", "a".repeat(1 << 16)).as_bytes()));
}

#[test]
fn a_rule_that_is_refused_is_left_out_alone() {
    let good = attached(rule("ns/good", 0, vec![on("/")]), "l", &["*"]);
    let bad = |index, of| attached(rule("ns/bad", index, of), "l", &["*"]);
    let changes: Vec<_> = [
        bad(0, vec![]),
        bad(1, vec![on("/"), on("~(")]),
        bad(2, vec![on("=/a/../..")]),
        bad(3, vec![on("/").header("x", "~[")]),
        bad(4, vec![on("/").method("DROP")]),
        good,
    ]
    .map(put_rule)
    .into();
    let updated = Tables::default().update(&changes, |rule| match rule.rule {
        4 => Err("no plan".to_owned()),
        _ => Ok(rule.name.clone()),
    });
    let refused: Vec<String> =
        updated.refused.iter().map(|r| format!("{} {}", r.name, r.reason)).collect();
    expect_test::expect![[r#"
        [
            "HTTPRoute/ns/bad/0 the rule has no matches",
            "HTTPRoute/ns/bad/1 matches[1]: the regular expression is invalid: unclosed group",
            "HTTPRoute/ns/bad/2 matches[0].path: '..' leads above the root",
            "HTTPRoute/ns/bad/3 matches[0]: the regular expression is invalid: unclosed character class",
            "HTTPRoute/ns/bad/4 no plan",
        ]
    "#]]
    .assert_debug_eq(&refused);
    let reason = Refusal::Path { index: 0, reason: BadPath::AboveRoot };
    assert_eq!(updated.refused[2].reason, reason);
    let tables =
        updated.tables.update(&[super::put_listener(listener("l", "*", false))], |_| unreachable!());
    assert_eq!(decide(&tables.tables, &get("h/")), "ns/good/0#0");
}

#[test]
fn the_matched_prefix_is_told_for_prefixes_only() {
    let listeners = vec![listener("l", "*", false)];
    let all = ["/", "/a/b/", "=/x", "~/re.*"].map(on).to_vec();
    let tables = tables(listeners, rules(all));
    let group = tables.groups().next().unwrap();
    let prefix =
        |path: &str| match group.decide(super::Connection::Clear, &get(&format!("h{path}")), &mut ()) {
            crate::matcher::Decision::Route(winner) => {
                winner.prefix.map(|prefix| String::from_utf8(prefix.to_vec()).unwrap())
            }
            _ => panic!("{path} must match"),
        };
    assert_eq!(prefix("/a/b/c").as_deref(), Some("/a/b"));
    assert_eq!(prefix("/a/b").as_deref(), Some("/a/b"));
    assert_eq!(prefix("/c").as_deref(), Some(""));
    assert_eq!(prefix("/x"), None);
    assert_eq!(prefix("/re/x"), None);
}
