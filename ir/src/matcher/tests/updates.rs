//! Tables follow edits: they answer as tables built from scratch do, and share what did not change.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};

use super::{
    attached, decide, get, listener, on, put_listener, put_rule,
    reference::{any_call, any_connection, any_listener, any_rule, asked, binds},
    rule, tables,
};
use crate::{Change, Key, Kind, Name, Resource, Route, matcher::Tables};

fn remove(kind: Kind, name: &Name) -> Change {
    Change::Remove(Key { kind, name: name.clone() })
}

/// An edit of one of few resources.
fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => any_listener().prop_map(put_listener),
        1 => any_listener().prop_map(|listener| remove(Kind::Listener, &listener.name)),
        6 => any_rule().prop_map(put_rule),
        3 => any_rule().prop_map(|rule| remove(Kind::Route, &rule.name)),
        // Refused, so that nothing changes.
        1 => any_rule().prop_map(|rule| put_rule(Route { matches: vec![on("~(")], ..rule })),
    ]
}

/// The resources after an edit.
fn follow(model: &mut BTreeMap<Key, Resource>, change: &Change) {
    match change {
        Change::Upsert(Resource::Route(rule)) if rule.matches == [on("~(")] => {}
        Change::Upsert(resource) => drop(model.insert(resource.key(), resource.clone())),
        Change::Remove(key) => drop(model.remove(key)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn edited_tables_answer_as_fresh_ones(
        edits in vec(vec(any_change(), 0..6), 1..8),
        calls in vec((any_connection(), any_call()), 24),
    ) {
        let mut model = BTreeMap::new();
        let mut tables = Tables::default();
        for edit in &edits {
            for change in edit {
                follow(&mut model, change);
            }
            let before = tables.clone();
            tables = tables.update(edit, |rule| Ok(rule.name.clone())).tables;
            let all: Vec<Change> = model.values().cloned().map(Change::Upsert).collect();
            let fresh = Tables::default().update(&all, |rule| Ok(rule.name.clone())).tables;
            prop_assert_eq!(tables.dump(), fresh.dump());
            for (connection, call) in &calls {
                for bind in binds() {
                    let answer = |tables| asked(tables, bind, *connection, call);
                    prop_assert_eq!(answer(&tables), answer(&fresh));
                }
            }
            for (rule, payload) in before.rules() {
                if let Some((same, kept)) = tables.rule(&rule.name).filter(|(new, _)| *new == rule) {
                    prop_assert!(Arc::ptr_eq(payload, kept) && Arc::ptr_eq(rule, same));
                }
            }
        }
    }
}

#[test]
fn payloads_are_built_for_changed_rules_only() {
    let one = |index, path: &str| attached(rule("ns/r", index, vec![on(path)]), "l", &["*"]);
    let before = tables(vec![listener("l", "*", false)], vec![one(0, "/a"), one(1, "/b")]);
    let mut built = Vec::new();
    let changes = [put_rule(one(0, "/a")), put_rule(one(1, "/c")), put_rule(one(2, "/d"))];
    let after = before.update(&changes, |rule| {
        built.push(rule.rule);
        Ok(rule.name.clone())
    });
    assert_eq!(built, [1, 2]);
    assert_eq!(decide(&after.tables, &get("h/b")), "404");
    assert_eq!(decide(&after.tables, &get("h/c")), "ns/r/1#0");
    assert_eq!(decide(&before, &get("h/b")), "ns/r/1#0", "tables that are in use do not change");
}

#[test]
fn e1_what_stood_before_a_refused_edit_still_stands() {
    let one = |path: &str| attached(rule("ns/r", 0, vec![on(path)]), "l", &["*"]);
    let before = tables(vec![listener("l", "*", false)], vec![one("/a")]);
    let after = before.update(&[put_rule(one("~("))], |_| unreachable!());
    assert_eq!(after.refused.len(), 1);
    assert_eq!(decide(&after.tables, &get("h/a")), "ns/r/0#0");
}

#[test]
fn payloads_are_renewed_by_name() {
    let one = |index| attached(rule("ns/r", index, vec![on("/")]), "l", &["*"]);
    let changes = [put_listener(listener("l", "*", false)), put_rule(one(0)), put_rule(one(1))];
    let before = Tables::default().update(&changes, |_| Ok(1)).tables;
    let names = [one(0).name, "HTTPRoute/ns/none/0".into()];
    let after = before.renew(&names, |_| Ok(2)).tables;
    let payload = |tables: &Tables<i32>, index| **tables.rule(&one(index).name).unwrap().1;
    assert_eq!([payload(&before, 0), payload(&after, 0), payload(&after, 1)], [1, 2, 1]);
    let served = after.groups().next().unwrap().decide(super::Connection::Clear, &get("h/"), &mut ());
    assert!(matches!(served, crate::matcher::Decision::Route(winner) if **winner.payload == 2));
    let refused = after.renew(&names, |_| Err("no".to_owned()));
    assert_eq!(refused.refused.len(), 1);
    assert_eq!(payload(&refused.tables, 0), 2);
}

#[test]
fn a_listener_takes_the_rules_that_were_there_before_it() {
    let rules = vec![attached(rule("ns/r", 0, vec![on("/")]), "l", &["*"])];
    let before = tables(vec![], rules);
    assert_eq!(before.groups().count(), 0);
    let after = before.update(&[put_listener(listener("l", "a.com", false))], |_| unreachable!()).tables;
    assert_eq!(decide(&after, &get("a.com/")), "ns/r/0#0");
    let moved = after.update(&[put_listener(listener("l", "b.com", false))], |_| unreachable!()).tables;
    assert_eq!(decide(&moved, &get("a.com/")), "404");
    assert_eq!(decide(&moved, &get("b.com/")), "ns/r/0#0");
}
