//! Real directories, edited while they are watched.

use std::{fs, path::Path, time::Duration};

use super::{Given, Source};
use crate::{files::set::Edit, state_dir::StateDir};

struct Bench {
    directory: tempfile::TempDir,
    source: Source,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let manifests = directory.path().join("manifests");
        for (name, text) in files {
            write(&manifests.join(name), text);
        }
        let state = StateDir::open(&directory.path().join("state")).unwrap();
        let given = vec![Given::open(&manifests).unwrap()];
        let source = Source::open(given, &state).unwrap();
        Self { directory, source }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join("manifests").join(name)
    }

    /// The next batch, in short.
    async fn next(&mut self) -> Vec<String> {
        let batch = tokio::time::timeout(Duration::from_secs(20), self.source.next()).await.unwrap();
        let edits = batch.edits.iter().map(|edit| match edit {
            Edit::Upsert(id, object) => format!("{id} = {}", object["spec"]["ports"][0]["port"]),
            Edit::Delete(id) => format!("{id} is gone"),
            Edit::Problem { id, .. } => format!("{id} is wrong"),
        });
        let diagnostics = batch.diagnostics.iter().map(|d| d.message.clone());
        edits.chain(diagnostics).filter(|line| line.contains("Service") || line.contains(' ')).collect()
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: {port}}}]}}\n"
    )
}

fn services(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| line.starts_with("Service")).collect()
}

#[tokio::test]
async fn i1_edits_of_files_arrive_as_they_are_made() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1)), ("sub/deep/b.json", &service("b", 1))]);
    assert_eq!(services(&bench.next().await), ["Service default/a = 1", "Service default/b = 1"]);
    write(&bench.path("a.yaml"), &service("a", 2));
    assert_eq!(services(&bench.next().await), ["Service default/a = 2"]);
    // The same size, in the same moment: only the content tells.
    write(&bench.path("a.yaml"), &service("a", 3));
    assert_eq!(services(&bench.next().await), ["Service default/a = 3"]);
    write(&bench.path("new/c.yml"), &service("c", 1));
    assert_eq!(services(&bench.next().await), ["Service default/c = 1"]);
    // As editors do: another file takes the name.
    write(&bench.path("a.yaml.swp"), &service("a", 4));
    fs::rename(bench.path("a.yaml.swp"), bench.path("a.yaml")).unwrap();
    assert_eq!(services(&bench.next().await), ["Service default/a = 4"]);
    fs::remove_file(bench.path("a.yaml")).unwrap();
    assert_eq!(services(&bench.next().await), ["Service default/a is gone"]);
}

#[tokio::test]
async fn i1_a_directory_that_is_swapped_is_watched_anew() {
    let mut bench = Bench::new(&[("a.yaml", &service("a", 1))]);
    bench.next().await;
    let (old, new) = (bench.directory.path().join("old"), bench.directory.path().join("new"));
    write(&new.join("a.yaml"), &service("a", 2));
    fs::rename(bench.path(""), &old).unwrap();
    let gone = bench.next().await;
    assert!(gone[0].contains("cannot be read"), "{gone:?}");
    fs::rename(&new, bench.path("")).unwrap();
    assert_eq!(services(&bench.next().await), ["Service default/a = 2"]);
    write(&bench.path("a.yaml"), &service("a", 3));
    assert_eq!(services(&bench.next().await), ["Service default/a = 3"]);
}

#[tokio::test]
async fn what_is_hidden_or_no_manifest_is_not_read() {
    let mut bench = Bench::new(&[
        ("a.yaml", &service("a", 1)),
        (".hidden/b.yaml", &service("b", 1)),
        (".c.yaml", &service("c", 1)),
        ("d.txt", "not a manifest"),
    ]);
    assert_eq!(services(&bench.next().await), ["Service default/a = 1"]);
}

#[test]
fn what_is_not_there_is_an_error_with_its_name() {
    let error = Given::open(Path::new("/nowhere/at/all")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/at/all cannot be read"), "{error}");
}
