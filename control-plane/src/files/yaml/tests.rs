//! What is read, what is refused and where, and that no text does harm.

use expect_test::{Expect, expect};
use serde_json::Value;

use super::{Part, parse};

/// Each part on a line: its values as JSON, or `line:column message`.
fn check(text: &str, expected: &Expect) {
    let place = |at: usize| {
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("{line}:{column}")
    };
    let show = |part: &Part| match &part.documents {
        Ok(documents) => {
            documents.iter().map(|d| d.to_value().to_string()).collect::<Vec<_>>().join(" + ")
        }
        Err(error) => format!("{} {}", place(error.span.start), error.message),
    };
    expected.assert_eq(&parse(text).iter().map(show).collect::<Vec<_>>().join("\n"));
}

#[test]
fn i2_documents_are_cut_apart_and_fail_apart() {
    check(
        "a: 1\n---\nb: [1, 2\n---\nc: {d: e}\n--- # comment\n\n---\nlast: true",
        &expect![[r#"
            {"a":1}
            3:4 unclosed bracket '['
            {"c":{"d":"e"}}

            {"last":true}"#]],
    );
}

#[test]
fn i2_a_byte_order_mark_carriage_returns_and_directives_are_taken() {
    check(
        "\u{feff}a: b\r\nc:\r\n- d\r\n---\r\ne: f\r\n",
        &expect![[r#"
        {"a":"b","c":["d"]}
        {"e":"f"}"#]],
    );
    check(
        "%YAML 1.1\n---\na: yes\n...\n---\nb: c\n",
        &expect![[r#"
        {"a":true}
        {"b":"c"}"#]],
    );
}

#[test]
fn i2_tabs_and_keys_given_twice_are_refused() {
    check("a:\n\tb: c\n", &expect!["2:2 tabs disallowed within this context (block indentation)"]);
    check("a: 1\nb: 2\na: 3\n", &expect![[r#"3:1 the key "a" is given twice"#]]);
    check("{\"a\": 1, \"a\": 2}", &expect![[r#"1:10 the key "a" is given twice"#]]);
    check("on: 1\ntrue: 2", &expect![[r#"2:1 the key "true" is given twice"#]]);
    check("? [a]\n: 1", &expect!["1:3 a key must be a text; put it in quotes"]);
    check("a: !include x", &expect!["1:13 the tag !include means nothing here"]);
}

#[test]
fn json_is_taken_as_it_is() {
    check(
        "{\n\t\"a\": [1, 2.5, -3e2, true, null, \"x\\u00e9\\n\\ud83d\\ude00\\/\"],\n\t\"b\": {}}\n",
        &expect![[r#"{"a":[1,2.5,-300,true,null,"xé\n😀/"],"b":{}}"#]],
    );
}

#[test]
fn anchors_repeat_and_merge() {
    check(
        "base: &b {x: 1, y: 2}\none: *b\ntwo:\n  <<: *b\n  y: 3\nthree:\n  <<: [*b, {z: 4}]\n",
        &expect![[
            r#"{"base":{"true":2,"x":1},"one":{"true":2,"x":1},"three":{"true":2,"x":1,"z":4},"two":{"true":3,"x":1}}"#
        ]],
    );
    check("a: *nowhere", &expect!["1:4 while parsing node, found unknown anchor"]);
    check("a: &a\n  b: *a", &expect!["2:6 this alias stands inside what it names"]);
}

#[test]
fn quoted_and_tagged_scalars_are_what_they_say() {
    check(
        "a: '010'\nb: \"no\"\nc: !!str 12\nd: !!int '7'\ne: |\n  x: 1\n  y\nf: >-\n  folded\n  text\n",
        &expect![[r#"{"a":"010","b":"no","c":"12","d":7,"e":"x: 1\ny\n","f":"folded text"}"#]],
    );
    check("a: !!int x", &expect![[r#"1:10 "x" is not what the tag !!int says"#]]);
    check("a: .inf", &expect!["1:4 infinity and NaN cannot be given as numbers here"]);
}

#[test]
fn c19_deep_nesting_and_alias_bombs_end_early() {
    let error = |text: &str| parse(text).remove(0).documents.unwrap_err().message;
    let deep = "[".repeat(100_000);
    expect!["recursion limit exceeded"].assert_eq(&error(&deep));
    let deep: Vec<String> = (0..2_000).map(|depth| format!("{}a:", " ".repeat(depth))).collect();
    let deep = deep.join("\n");
    expect!["recursion limit exceeded"].assert_eq(&error(&deep));
    let level = |level: u32| {
        let before = if level == 0 { "x, ".to_owned() } else { format!("*a{}, ", level - 1) };
        format!("a{level}: &a{level} [{}]\n", before.repeat(10))
    };
    let bomb: String = (0..12).map(level).collect();
    expect!["aliases repeat more than 100000 values"].assert_eq(&error(&bomb));
}

#[test]
fn fields_are_found_where_they_stand() {
    let text = "spec:\n  rules:\n  - name: one\n    labels:\n      a.b/c: 1\n  - name: two\n";
    let node = parse(text).remove(0).documents.unwrap().remove(0);
    let at = |path: &str| &text[node.locate(path)];
    assert_eq!(at("spec.rules[1].name"), "two");
    assert_eq!(at("spec.rules[0].labels.a.b/c"), "1");
    assert_eq!(at("spec.rules[1].missing.deep"), "name");
    assert_eq!(at("spec.rules"), "rules");
    assert_eq!(at("nothing"), "spec");
    assert_eq!(at(""), "spec");
}

#[test]
fn no_text_makes_it_panic() {
    use proptest::prelude::*;
    let pieces = prop::sample::select(vec![
        "a", ": ", "- ", "\n", "  ", "---\n", "&x ", "*x", "[", "]", "{", "}", ",", "\"", "'", "|\n",
        "!t ", "<<", "#", "\t", "\u{feff}", "é", "\0", "%", "...", "? ", ">",
    ]);
    proptest!(|(pieces in prop::collection::vec(pieces, 0..40))| {
        let text = pieces.concat();
        for part in parse(&text) {
            prop_assert!(text.get(part.span.clone()).is_some());
            match part.documents {
                Ok(documents) => for document in documents {
                    let _: Value = document.to_value();
                    prop_assert!(text.get(document.locate("a[0].a")).is_some());
                },
                Err(error) => prop_assert!(text.get(error.span).is_some()),
            }
        }
    });
}
