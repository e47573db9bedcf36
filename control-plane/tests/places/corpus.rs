//! A directory and a real API server agree on what a manifest is: both refuse it, or both fill in the same.
//! Asked of every manifest of the official conformance suite and of some that use what it does not use, and
//! of mutations of all of them.

mod different;
pub(crate) use different::unequal;
mod mutate;
mod openapi;

use std::{collections::BTreeSet, fs, path::Path};

use futures_util::{StreamExt as _, stream};
use isthmus_api_server::Client;
use isthmus_control_plane::files::{document, kinds::FileKind};
use isthmus_e2e::conformance;
use serde_json::{Value, json};

use self::openapi::Schemas;
use crate::{directory, server};

/// What became of a manifest: the object with its defaults, or why it is refused.
type Verdict = Result<Value, String>;

/// Requests at a time.
const AT_ONCE: usize = 8;

/// The group whose kinds have channels.
const GROUP: &str = "gateway.networking.k8s.io";

/// A manifest, and where it came from.
struct Case {
    from: String,
    /// The field that was changed; empty for none.
    field: String,
    manifest: Value,
}

impl Case {
    fn group(&self) -> &str {
        let version = self.manifest["apiVersion"].as_str().unwrap();
        version.rsplit_once('/').map_or("", |(group, _)| group)
    }
}

/// The manifests that a directory reads, of the suite and of the file beside this one.
fn manifests() -> Vec<Case> {
    let mut files = conformance::manifests().unwrap();
    assert!(files.len() > 100, "the suite has that many files");
    files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/places/corpus/more.yaml"));
    let mut cases = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let read = document::read(&name.as_str().into(), &text.as_str().into());
        let mut documents = read.documents.iter();
        for (index, mut manifest) in all.into_iter().filter(is_read).enumerate() {
            let document = documents.next().unwrap_or_else(|| panic!("{name} #{index} is not read"));
            if let Ok(object) = directory::takes(&manifest) {
                assert_eq!(document.object, object, "{name} #{index}");
            }
            if manifest["kind"] == "Namespace" {
                // It is there already, for what is in it.
                manifest["metadata"]["name"] = format!("too-{}", document.id.name).into();
            }
            cases.push(Case { from: format!("{name} #{index}"), field: String::new(), manifest });
        }
    }
    cases
}

fn is_read(manifest: &Value) -> bool {
    let text = |field: &str| manifest[field].as_str().unwrap_or_default();
    let (group, _) = text("apiVersion").rsplit_once('/').unwrap_or_default();
    FileKind::of(group, text("kind")).is_some()
}

async fn schemas(client: &Client, cases: &[Case]) -> Schemas {
    let mut schemas = Schemas::default();
    let versions: BTreeSet<_> =
        cases.iter().map(|case| case.manifest["apiVersion"].as_str().unwrap()).collect();
    for version in versions {
        let root = if version.contains('/') { "apis" } else { "api" };
        let request = http::Request::get(format!("/openapi/v3/{root}/{version}")).body(Vec::new());
        schemas.add(&client.request(request.unwrap()).await.unwrap());
    }
    schemas
}

/// Namespaces are implied in a directory, and must be there on an API server.
async fn make_namespaces(client: &Client, cases: &[Case]) {
    let named = cases.iter().filter_map(|case| case.manifest["metadata"]["namespace"].as_str());
    for name in named.collect::<BTreeSet<_>>() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let _ = server::apply(client, &namespace).await;
    }
}

/// What API servers make of each case: one with every channel of Gateway API, where that matters.
async fn verdicts(clients: &[Client], cases: &[Case]) -> Vec<Vec<Verdict>> {
    let asked = cases.iter().map(|case| async {
        let channels = if case.group() == GROUP { clients } else { &clients[..1] };
        let mut verdicts = Vec::new();
        for client in channels {
            verdicts.push(server::try_out(client, &case.manifest).await);
        }
        verdicts
    });
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

/// What the two places do not agree on.
fn disagreements(cases: &[Case], verdicts: &[Vec<Verdict>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut needed = BTreeSet::new();
    for (case, there) in cases.iter().zip(verdicts) {
        let kind = case.manifest["kind"].as_str().unwrap();
        let here = directory::takes(&case.manifest);
        let Some(difference) = different::difference(kind, &here, there) else { continue };
        match different::not_read(kind, &case.field) {
            Some(row) => drop(needed.insert(row)),
            None => found.push(format!("{kind} {}\n    {difference}", case.from)),
        }
    }
    let unneeded = different::unneeded(&needed);
    assert!(unneeded.is_empty(), "the table has rows that nothing needs: {unneeded:?}");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_i4_a_directory_and_an_api_server_agree_on_the_suite_and_its_mutations() {
    let ((_first, experimental), (_second, standard)) =
        tokio::join!(server::start("experimental"), server::start("standard"));
    let clients = [experimental, standard];
    let mut cases = manifests();
    let schemas = schemas(&clients[0], &cases).await;
    for client in &clients {
        make_namespaces(client, &cases).await;
    }
    let mut seen = BTreeSet::new();
    let mut mutated = Vec::new();
    for case in &cases {
        let mutations = mutate::mutations(&case.manifest, &schemas, &mut seen).into_iter();
        mutated.extend(mutations.map(|mutation| Case {
            from: format!("{}: {} {}", case.from, mutation.field, mutation.what),
            field: mutation.field,
            manifest: mutation.manifest,
        }));
    }
    assert!(cases.len() > 300 && mutated.len() > 3000, "{} and {}", cases.len(), mutated.len());
    cases.extend(mutated);
    let verdicts = verdicts(&clients, &cases).await;
    let refused = verdicts.iter().filter(|verdicts| verdicts.iter().all(Result::is_err)).count();
    assert!(refused > 1000 && cases.len() - refused > 1000, "{refused} of {} refused", cases.len());
    let found = disagreements(&cases, &verdicts);
    assert!(found.is_empty(), "{} disagreements of {}:\n{}", found.len(), cases.len(), found.join("\n"));
}
