//! A directory and a real API server agree on what a manifest is: both refuse it, or both fill in the same.
//! Asked of every manifest of the official conformance suite and of some that use what it does not use, and
//! of mutations of all that are taken. Together they use every field of the kinds that are read.

mod different;
pub(crate) use different::unequal;
mod mutate;
mod openapi;
mod transitions;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

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

/// Manifests that are refused as they are, and why.
const REFUSED: &[(&str, &str)] = &[
    ("gateway-static-addresses.yaml #0", "the suite puts addresses into it"),
    ("gatewayclass-observed-generation-bump.yaml #0", "the suite puts a name into it"),
];

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

/// The file beside this one.
fn more() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/places/corpus/more.yaml")
}

/// The manifests that a directory reads, of the suite and of the file beside this one.
fn manifests() -> Vec<Case> {
    let mut files = conformance::manifests().unwrap();
    assert!(files.len() > 100, "the suite has that many files");
    files.push(more());
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

/// The schemas of all kinds that are read, in all versions that are served.
async fn schemas(client: &Client) -> Schemas {
    let mut schemas = Schemas::default();
    let versions: BTreeSet<_> = FileKind::all().flat_map(versions).collect();
    for version in versions {
        let root = if version.contains('/') { "apis" } else { "api" };
        let request = http::Request::get(format!("/openapi/v3/{root}/{version}")).body(Vec::new());
        // Not every version is served.
        if let Ok(document) = client.request(request.unwrap()).await {
            schemas.add(&document);
        }
    }
    schemas
}

/// The versions of a kind, as manifests write them.
fn versions(kind: FileKind) -> Vec<String> {
    let whole = |version: &str| match kind.group() {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    kind.versions().into_iter().map(whole).collect()
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
    found.extend(unneeded.iter().map(|row| format!("{row}: a row of a table that nothing needs")));
    found
}

/// Fields of the kinds that are read which no manifest uses.
fn unused(cases: &[Case], schemas: &Schemas) -> Vec<String> {
    let mut found = Vec::new();
    for kind in FileKind::all() {
        let is_one = |case: &&Case| case.group() == kind.group() && case.manifest["kind"] == kind.kind();
        let used: BTreeSet<_> =
            cases.iter().filter(is_one).flat_map(|case| schemas.used(&case.manifest)).collect();
        let version = versions(kind).into_iter().find(|version| schemas.has(version, kind.kind()));
        let leaves = version.map(|version| schemas.leaves(&version, kind.kind())).unwrap_or_default();
        if leaves.is_empty() {
            found.push(format!("{}: the API server has no schema of it", kind.kind()));
        }
        let unused =
            leaves.difference(&used).filter(|field| !different::need_not_be_used(kind.kind(), field));
        found.extend(unused.map(|field| format!("{} {field}: no manifest uses it", kind.kind())));
    }
    found
}

/// What is refused as it is and should not be, or is taken and should be refused.
fn wrongly(refused: &[(&Case, &Vec<Verdict>)]) -> Vec<String> {
    let is_listed = |case: &Case| REFUSED.iter().any(|(from, _)| *from == case.from);
    let unlisted = refused.iter().filter(|(case, _)| !is_listed(case));
    let taken = REFUSED.iter().filter(|(from, _)| !refused.iter().any(|(case, _)| case.from == *from));
    let unlisted = unlisted
        .map(|(case, there)| format!("{}: {:?} {there:?}", case.from, directory::takes(&case.manifest)));
    unlisted.chain(taken.map(|(from, _)| format!("{from}: is taken"))).collect()
}

/// Mutations of what both places take, those apart that were made of another manifest.
fn mutated(cases: &[&Case], schemas: &Schemas) -> Vec<Case> {
    let mut seen = BTreeSet::new();
    let mut mutated = Vec::new();
    for case in cases {
        let mutations = mutate::mutations(&case.manifest, schemas, &mut seen).into_iter();
        mutated.extend(mutations.map(|mutation| Case {
            from: format!("{}: {} {}", case.from, mutation.field, mutation.what),
            field: mutation.field,
            manifest: mutation.manifest,
        }));
    }
    mutated
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_i4_a_directory_and_an_api_server_agree_on_the_suite_and_its_mutations() {
    let ((_first, experimental), (_second, standard)) =
        tokio::join!(server::start("experimental"), server::start("standard"));
    let clients = [experimental, standard];
    let cases = manifests();
    let schemas = schemas(&clients[0]).await;
    let mut found = unused(&cases, &schemas);
    for client in &clients {
        make_namespaces(client, &cases).await;
    }
    let of_cases = verdicts(&clients, &cases).await;
    let is_taken = |(case, there): &(&Case, &Vec<Verdict>)| {
        directory::takes(&case.manifest).is_ok() && there.iter().any(Result::is_ok)
    };
    let (taken, refused): (Vec<_>, Vec<_>) = cases.iter().zip(&of_cases).partition(is_taken);
    found.extend(wrongly(&refused));
    let taken: Vec<_> = taken.into_iter().map(|(case, _)| case).collect();
    let mutated = mutated(&taken, &schemas);
    assert!(cases.len() > 300 && mutated.len() > 3000, "{} and {}", cases.len(), mutated.len());
    let of_mutated = verdicts(&clients, &mutated).await;
    let refused = of_mutated.iter().filter(|verdicts| verdicts.iter().all(Result::is_err)).count();
    assert!(refused > 1000 && mutated.len() - refused > 1000, "{refused} of {} refused", mutated.len());
    let all: Vec<_> = cases.into_iter().chain(mutated).collect();
    found.extend(disagreements(&all, &[of_cases, of_mutated].concat()));
    assert!(found.is_empty(), "{} problems with {}:\n{}", found.len(), all.len(), found.join("\n"));
}
