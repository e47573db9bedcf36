//! Directories in memory, edited step by step: what a scan of each leads to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::Value;

use super::{Edit, GRACE, Now, Objects, Outcome, Record, Root, Scan};
use crate::files::document;

/// Directories in memory, and the control plane's view of them.
#[derive(Default)]
struct Bench {
    roots: BTreeMap<&'static str, Directory>,
    objects: Objects,
    records: Vec<Record>,
    time: Duration,
    uids: u32,
}

#[derive(Default)]
struct Directory {
    files: BTreeMap<String, String>,
    unreadable: Option<String>,
    skipped: Vec<(Arc<str>, String)>,
}

impl Bench {
    fn with(files: &[(&str, &str)]) -> Self {
        let mut bench = Self::default();
        for (name, text) in files {
            bench.write(name, text);
        }
        bench
    }

    fn directory(&mut self) -> &mut Directory {
        self.roots.entry("dir").or_default()
    }

    fn write(&mut self, name: &str, text: &str) {
        self.directory().files.insert(format!("dir/{name}"), text.to_owned());
    }

    fn remove(&mut self, name: &str) {
        self.directory().files.remove(&format!("dir/{name}"));
    }

    fn scan(&mut self) -> Outcome {
        let roots = self.roots.iter().map(|(name, directory)| {
            let file = |(name, text): (&String, &String)| {
                Arc::new(document::read(&name.as_str().into(), &text.as_str().into()))
            };
            Root {
                name: (*name).into(),
                unreadable: directory.unreadable.clone(),
                files: directory.files.iter().map(file).collect(),
                skipped: directory.skipped.clone(),
            }
        });
        let scan = Scan { roots: roots.collect() };
        let now = Now { monotonic: self.time, wall: 1_700_000_000 + self.time.as_secs().cast_signed() };
        let uids = &mut self.uids;
        let mut uid = || {
            *uids += 1;
            format!("uid-{uids}")
        };
        let outcome = self.objects.reconcile(&scan, now, &mut uid);
        self.records.extend(outcome.records.clone());
        outcome
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.time += time;
        self
    }

    /// A new process on the same state directory.
    fn restart(&mut self) {
        self.objects = Objects::new(std::mem::take(&mut self.records));
        self.records = self.objects.records().collect();
    }

    /// Scans, and shows what came of it but for implied objects.
    fn check(&mut self, expected: &Expect) {
        let outcome = self.scan();
        let implied = |edit: &&Edit| {
            let (Edit::Upsert(id, _) | Edit::Delete(id) | Edit::Problem { id, .. }) = edit;
            matches!(id.kind.as_str(), "Namespace" | "GatewayClass")
        };
        let mut lines: Vec<String> =
            outcome.edits.iter().filter(|edit| !implied(edit)).map(show).collect();
        lines.extend(outcome.diagnostics.iter().map(ToString::to_string));
        lines.extend(outcome.wake.map(|wake| format!("wake in {:?}", wake.saturating_sub(self.time))));
        expected.assert_eq(&lines.join("\n"));
    }
}

fn show(edit: &Edit) -> String {
    match edit {
        Edit::Upsert(id, object) => {
            let metadata = &object["metadata"];
            let field = |name: &str| metadata[name].to_string().trim_matches('"').to_owned();
            let ports = object["spec"]["ports"][0]["port"].to_string();
            let (uid, generation, created) =
                (field("uid"), field("generation"), field("creationTimestamp"));
            format!("upsert {id} {uid} generation {generation} created {created} port {ports}")
        }
        Edit::Delete(id) => format!("delete {id}"),
        Edit::Problem { id, object, field, message } => {
            let generation = &object["metadata"]["generation"];
            format!("problem {id} at generation {generation}: {field:?} {message}")
        }
    }
}

fn service(name: &str, port: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  ports:\n  - port: {port}\n"
    )
}

const MESH: &str =
    "apiVersion: isthmus.dev/v1alpha1\nkind: MeshInstall\nmetadata: {name: mesh}\nspec:\n  cluster:\n";

#[test]
fn i1_what_is_half_written_keeps_what_was() {
    let mut bench =
        Bench::with(&[("a.yaml", &format!("{}---\n{}", service("a", "1"), service("b", "2")))]);
    bench.check(&expect![[r#"
        upsert Service default/a uid-1 generation 1 created 2023-11-14T22:13:20Z port 1
        upsert Service default/b uid-2 generation 1 created 2023-11-14T22:13:20Z port 2"#]]);
    // The first document is cut off, the second has changed.
    bench.write("a.yaml", &format!("apiVersion: v1\nkind: Ser\n  x: [\n---\n{}", service("b", "3")));
    bench.check(&expect![[r#"
        upsert Service default/b uid-2 generation 2 created 2023-11-14T22:13:20Z port 3
        error: mapping values are not allowed in this context
         --> dir/a.yaml:3:4
          |
        3 |   x: [
          |    ^"#]]);
    bench.pass(GRACE).check(&expect![[r#"
        error: mapping values are not allowed in this context
         --> dir/a.yaml:3:4
          |
        3 |   x: [
          |    ^"#]]);
    bench.write("a.yaml", &service("b", "3"));
    bench.check(&expect!["wake in 500ms"]);
    bench.pass(GRACE).check(&expect![[r#"
        delete Service default/a
        wake in 0ns"#]]);
}

#[test]
fn i1_a_refused_version_is_a_problem_of_its_object() {
    let mut bench = Bench::with(&[("mesh.yaml", &format!("{MESH}    id: east\n"))]);
    bench.check(&expect![
        "upsert MeshInstall mesh uid-1 generation 1 created 2023-11-14T22:13:20Z port null"
    ]);
    bench.write("mesh.yaml", &format!("{MESH}    id: west\n    zone: a\n"));
    bench.check(&expect![[r#"
        problem MeshInstall mesh at generation 2: Some("spec.cluster.zone") is not a field here; the fields are id, locality, network, trustDomain (dir/mesh.yaml:7:11)
        error: spec.cluster.zone is not a field here; the fields are id, locality, network, trustDomain
         --> dir/mesh.yaml:7:11 (MeshInstall mesh)
          |
        7 |     zone: a
          |           ^"#]]);
    // The same again is no news.
    bench.check(&expect![[r#"
        error: spec.cluster.zone is not a field here; the fields are id, locality, network, trustDomain
         --> dir/mesh.yaml:7:11 (MeshInstall mesh)
          |
        7 |     zone: a
          |           ^"#]]);
    // Rules that compare with the version in force still see it.
    bench.write("mesh.yaml", &format!("{MESH}    id: west\n"));
    bench.check(&expect![[r#"
        problem MeshInstall mesh at generation 2: Some("spec.cluster") cannot change its id: peers and certificates know it by this name (dir/mesh.yaml:5:3)
        error: spec.cluster cannot change its id: peers and certificates know it by this name
         --> dir/mesh.yaml:5:3 (MeshInstall mesh)
          |
        5 |   cluster:
          |   ^^^^^^^"#]]);
    bench.restart();
    bench.check(&expect![[r#"
        upsert MeshInstall mesh uid-1 generation 1 created 2023-11-14T22:13:20Z port null
        problem MeshInstall mesh at generation 2: Some("spec.cluster") cannot change its id: peers and certificates know it by this name (dir/mesh.yaml:5:3)
        error: spec.cluster cannot change its id: peers and certificates know it by this name
         --> dir/mesh.yaml:5:3 (MeshInstall mesh)
          |
        5 |   cluster:
          |   ^^^^^^^"#]]);
    bench.write("mesh.yaml", &format!("{MESH}    id: east\n"));
    bench.check(&expect![
        "upsert MeshInstall mesh uid-1 generation 1 created 2023-11-14T22:13:20Z port null"
    ]);
}

#[test]
fn i1_what_was_never_good_is_a_problem_until_it_is_gone() {
    let mut bench = Bench::with(&[("mesh.yaml", &format!("{MESH}    id: EAST\n")), ("a.yaml", "")]);
    bench.check(&expect![[r#"
        problem MeshInstall mesh at generation 1: Some("spec.cluster.id") "EAST" does not match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$ (dir/mesh.yaml:6:9)
        error: spec.cluster.id "EAST" does not match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
         --> dir/mesh.yaml:6:9 (MeshInstall mesh)
          |
        6 |     id: EAST
          |         ^^^^"#]]);
    bench.restart();
    bench.check(&expect![[r#"
        problem MeshInstall mesh at generation 1: Some("spec.cluster.id") "EAST" does not match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$ (dir/mesh.yaml:6:9)
        error: spec.cluster.id "EAST" does not match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$
         --> dir/mesh.yaml:6:9 (MeshInstall mesh)
          |
        6 |     id: EAST
          |         ^^^^"#]]);
    bench.write("mesh.yaml", &format!("{MESH}    id: east\n"));
    bench.check(&expect![
        "upsert MeshInstall mesh uid-3 generation 1 created 2023-11-14T22:13:20Z port null"
    ]);
    bench.write(
        "mesh.yaml",
        &MESH.replace("name: mesh", "name: mesh2, x: [").replace("spec", "---\nspec"),
    );
    bench.check(&expect![[r#"
        error: mismatched bracket '[' closed by '}'
         --> dir/mesh.yaml:3:28
          |
        3 | metadata: {name: mesh2, x: [}
          |                            ^
        error: apiVersion is required
         --> dir/mesh.yaml:5:1
          |
        5 | spec:
          | ^^^^"#]]);
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("b", "x"))]);
    bench.scan();
    bench.remove("b.yaml");
    bench.scan();
    bench.pass(GRACE).check(&expect![[r#"
        delete Service default/b
        wake in 0ns"#]]);
}

#[test]
fn i1_a_deletion_waits_and_is_taken_back() {
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("b", "1"))]);
    bench.scan();
    bench.remove("a.yaml");
    bench.check(&expect!["wake in 500ms"]);
    bench.pass(Duration::from_millis(499)).check(&expect!["wake in 1ms"]);
    bench.write("a.yaml", &service("a", "1"));
    bench.check(&expect![[r#""#]]);
    bench.remove("a.yaml");
    bench.check(&expect!["wake in 500ms"]);
    bench.pass(GRACE).check(&expect![[r#"
        delete Service default/a
        wake in 0ns"#]]);
    // What comes back after that is another object.
    bench.write("a.yaml", &service("a", "1"));
    bench.check(&expect![
        "upsert Service default/a uid-5 generation 1 created 2023-11-14T22:13:20Z port 1"
    ]);
}

#[test]
fn i1_an_object_that_moves_to_another_file_stays_the_same() {
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("b", "1"))]);
    bench.scan();
    bench.remove("a.yaml");
    bench.write("c.yaml", &service("a", "1"));
    bench.check(&expect![[r#""#]]);
    bench.pass(GRACE).check(&expect![[r#""#]]);
    // The new file is broken at first.
    bench.remove("c.yaml");
    bench.write("d.yaml", "apiVersion: [");
    bench.check(&expect![[r#"
        error: unclosed bracket '['
         --> dir/d.yaml:1:13
          |
        1 | apiVersion: [
          |             ^"#]]);
    bench.pass(GRACE).check(&expect![[r#"
        error: unclosed bracket '['
         --> dir/d.yaml:1:13
          |
        1 | apiVersion: [
          |             ^"#]]);
}

#[test]
fn i1_a_directory_that_vanishes_or_is_emptied_keeps_everything() {
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("b", "1"))]);
    bench.scan();
    let files = std::mem::take(&mut bench.directory().files);
    bench.check(&expect![[r#"
        warning: there are no manifests here; the 2 objects that it held before are kept
          --> dir"#]]);
    bench.pass(GRACE).check(&expect![[r#"
        warning: there are no manifests here; the 2 objects that it held before are kept
          --> dir"#]]);
    bench.directory().unreadable = Some("cannot be read: permission denied".to_owned());
    bench.check(&expect![[r#"
        error: cannot be read: permission denied; the 2 objects that it held before are kept
          --> dir"#]]);
    bench.directory().unreadable = None;
    bench.directory().files = files;
    bench.check(&expect![[r#""#]]);
    bench.directory().skipped = vec![("dir/a.yaml".into(), "cannot be read: not UTF-8".to_owned())];
    bench.remove("a.yaml");
    bench.check(&expect![[r#"
        error: cannot be read: not UTF-8
          --> dir/a.yaml"#]]);
    bench.pass(GRACE).check(&expect![[r#"
        error: cannot be read: not UTF-8
          --> dir/a.yaml"#]]);
}

#[test]
fn i1_of_two_documents_of_one_object_the_first_counts() {
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("a", "2"))]);
    bench.check(&expect![[r#"
        upsert Service default/a uid-1 generation 1 created 2023-11-14T22:13:20Z port 1
        error: metadata.name names Service default/a, which is declared in dir/a.yaml:1; this one is not used
         --> dir/b.yaml:3:18 (Service default/a)
          |
        3 | metadata: {name: a}
          |                  ^"#]]);
    bench.remove("a.yaml");
    bench.check(&expect![
        "upsert Service default/a uid-1 generation 2 created 2023-11-14T22:13:20Z port 2"
    ]);
    let mut bench = Bench::with(&[("a.yaml", &format!("{MESH}    id: east\n"))]);
    bench.write("b.yaml", &MESH.replace("name: mesh", "name: other"));
    bench.check(&expect![[r#"
        upsert MeshInstall mesh uid-1 generation 1 created 2023-11-14T22:13:20Z port null
        error: metadata.name names MeshInstall mesh, which is declared in dir/a.yaml:1; this one is not used
         --> dir/b.yaml:3:18 (MeshInstall other)
          |
        3 | metadata: {name: other}
          |                  ^^^^^"#]]);
}

#[test]
fn generations_count_what_is_declared_and_times_stay() {
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1"))]);
    bench.check(&expect![
        "upsert Service default/a uid-1 generation 1 created 2023-11-14T22:13:20Z port 1"
    ]);
    bench.write("a.yaml", &service("a", "2"));
    bench.pass(Duration::from_mins(1)).check(&expect![
        "upsert Service default/a uid-1 generation 2 created 2023-11-14T22:13:20Z port 2"
    ]);
    bench.write("a.yaml", &service("a", "2").replace("{name: a}", "{name: a, labels: {app: a}}"));
    bench.check(&expect![
        "upsert Service default/a uid-1 generation 2 created 2023-11-14T22:13:20Z port 2"
    ]);
    let declared = "{name: a, creationTimestamp: 2020-01-01T00:00:00Z}";
    bench.write("a.yaml", &service("a", "2").replace("{name: a}", declared));
    bench.check(&expect![
        "upsert Service default/a uid-1 generation 2 created 2020-01-01T00:00:00Z port 2"
    ]);
    bench.write("a.yaml", &service("a", "2"));
    bench.restart();
    bench.pass(Duration::from_mins(1)).check(&expect![
        "upsert Service default/a uid-1 generation 2 created 2023-11-14T22:13:20Z port 2"
    ]);
}

#[test]
fn what_is_gone_at_a_restart_is_deleted_at_once() {
    let mut bench = Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("b", "1"))]);
    bench.scan();
    bench.remove("a.yaml");
    bench.restart();
    bench.check(&expect![[r#"
        upsert Service default/b uid-2 generation 1 created 2023-11-14T22:13:20Z port 1
        wake in 0ns"#]]);
    // Another directory than before.
    let directory = bench.roots.remove("dir").unwrap();
    bench.roots.insert("other", directory);
    bench.restart();
    bench.check(&expect![
        "upsert Service default/b uid-2 generation 1 created 2023-11-14T22:13:20Z port 1"
    ]);
}

#[test]
fn d18_secrets_are_not_remembered() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {tls.key: c2VjcmV0}\n";
    let mut bench = Bench::with(&[("s.yaml", secret)]);
    bench.check(&expect![
        "upsert Secret default/s uid-1 generation 1 created 2023-11-14T22:13:20Z port null"
    ]);
    let records = serde_json::to_string(&bench.records).unwrap();
    assert!(!records.contains("c2VjcmV0"), "{records}");
    bench.restart();
    bench.check(&expect![
        "upsert Secret default/s uid-1 generation 1 created 2023-11-14T22:13:20Z port null"
    ]);
    bench.write("s.yaml", &secret.replace("c2VjcmV0", "b3RoZXI="));
    bench.restart();
    bench.check(&expect![
        "upsert Secret default/s uid-1 generation 2 created 2023-11-14T22:13:20Z port null"
    ]);
    bench.write("s.yaml", &secret.replace("tls.key: c2VjcmV0", "tls.key: [c2VjcmV0"));
    bench.check(&expect![[r#"
        error: mismatched bracket '[' closed by '}'
         --> dir/s.yaml:4:17"#]]);
}

#[test]
fn namespaces_and_the_class_are_implied() {
    let implied = |bench: &mut Bench| {
        let outcome = bench.scan();
        let edits = outcome.edits.iter().filter_map(|edit| match edit {
            Edit::Upsert(id, object) if id.kind != "Service" => {
                Some(format!("upsert {id} {}", object["metadata"]["labels"]))
            }
            Edit::Delete(id) if id.kind != "Service" => Some(format!("delete {id}")),
            _ => None,
        });
        edits.collect::<Vec<_>>().join("\n")
    };
    let mut bench =
        Bench::with(&[("a.yaml", &service("a", "1")), ("b.yaml", &service("b, namespace: shop", "1"))]);
    expect![[r#"
        upsert Namespace default {"kubernetes.io/metadata.name":"default"}
        upsert Namespace shop {"kubernetes.io/metadata.name":"shop"}
        upsert GatewayClass isthmus null"#]]
    .assert_eq(&implied(&mut bench));
    bench.write("b.yaml", &service("b, namespace: cafe", "1"));
    expect![[r#"upsert Namespace cafe {"kubernetes.io/metadata.name":"cafe"}"#]]
        .assert_eq(&implied(&mut bench));
    expect![[r#""#]].assert_eq(&implied(bench.pass(GRACE)));
    expect![[r#""#]].assert_eq(&implied(bench.pass(GRACE)));
    expect!["delete Namespace shop"].assert_eq(&implied(bench.pass(GRACE)));
    let declared = "apiVersion: v1\nkind: Namespace\nmetadata: {name: cafe, labels: {team: x}}\n";
    bench.write("c.yaml", declared);
    expect![[r#"upsert Namespace cafe {"kubernetes.io/metadata.name":"cafe","team":"x"}"#]]
        .assert_eq(&implied(&mut bench));
}

/// What a set of edits leaves behind.
fn replay(edits: impl IntoIterator<Item = Edit>, objects: &mut BTreeMap<String, Value>) {
    for edit in edits {
        match edit {
            Edit::Upsert(id, object) => drop(objects.insert(id.to_string(), object)),
            Edit::Delete(id) => {
                let was = objects.remove(&id.to_string());
                assert!(was.is_some(), "{id} was deleted but never there");
            }
            Edit::Problem { id, .. } => {
                objects.entry(id.to_string()).or_default();
            }
        }
    }
}

proptest! {
    /// Whatever was done to a directory, once it holds good documents for longer than the grace period,
    /// what is in force is what they say, and not one object more.
    #[test]
    fn i1_any_history_ends_in_what_the_files_say(
        steps in prop::collection::vec((0..4usize, 0..4usize, 0..7usize, 0..700u64, any::<bool>()), 1..30),
        last in prop::collection::btree_map(0..4usize, 0..4usize, 1..4),
    ) {
        let mut bench = Bench::default();
        let mut objects = BTreeMap::new();
        let text = |object: usize, version: usize| match version {
            0 | 1 => service(["a", "b", "c", "d"][object], &version.to_string()),
            2 => "apiVersion: [".to_owned(),
            3 => String::new(),
            4 => "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n".to_owned(),
            5 => format!("{}---\n{}", service("a", "7"), service("d", "8")),
            _ => "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: 7\n---\nx".to_owned(),
        };
        for (file, object, version, wait, restart) in steps {
            bench.write(&format!("{file}.yaml"), &text(object, version));
            if version == 3 { bench.remove(&format!("{file}.yaml")); }
            if restart && wait % 5 == 0 {
                bench.restart();
                objects.clear();
            }
            let outcome = bench.pass(Duration::from_millis(wait)).scan();
            replay(outcome.edits, &mut objects);
        }
        bench.directory().files.clear();
        for (file, object) in &last {
            bench.write(&format!("{file}.yaml"), &text(*object, 1));
        }
        for _ in 0..4 {
            let outcome = bench.scan();
            replay(outcome.edits, &mut objects);
            bench.pass(GRACE);
        }
        let mut fresh = Bench { roots: std::mem::take(&mut bench.roots), ..Bench::default() };
        let mut expected = BTreeMap::new();
        replay(fresh.scan().edits, &mut expected);
        let declared = |objects: &BTreeMap<String, Value>| -> BTreeMap<String, Value> {
            objects.iter().map(|(id, object)| (id.clone(), object["spec"].clone())).collect()
        };
        prop_assert_eq!(declared(&objects), declared(&expected));
        prop_assert_eq!(bench.scan().edits, vec![]);
    }
}
