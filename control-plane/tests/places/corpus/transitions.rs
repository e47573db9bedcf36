//! A directory and a real API server agree on what an object may become: asked, of each object of our own
//! kinds, with every mutation of it in place of it. Kinds of others have no rules about what was before.

use std::{collections::BTreeSet, fs};

use futures_util::{StreamExt as _, stream};
use isthmus_control_plane::files::kinds::FileKind;
use serde_json::Value;

use super::{AT_ONCE, different, more, mutate, schemas};
use crate::{directory, server};

/// What rules of ours say that look at what was before.
const SAID: &[&str] = &["cannot change its id", "cannot change its trust domain"];

fn is_own(manifest: &Value) -> bool {
    let text = |field: &str| manifest[field].as_str().unwrap_or_default();
    let (group, _) = text("apiVersion").rsplit_once('/').unwrap_or_default();
    matches!(FileKind::of(group, text("kind")), Some(FileKind::Own(_)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_a_directory_and_an_api_server_agree_on_what_an_object_may_become() {
    let (_server, client) = server::bare().await;
    let schemas = schemas(&client).await;
    let manifests: Vec<Value> =
        serde_saphyr::from_multiple(&fs::read_to_string(more()).unwrap()).unwrap();
    let (mut found, mut asked, mut said) = (Vec::new(), 0, BTreeSet::<&str>::new());
    for manifest in manifests.iter().filter(|manifest| is_own(manifest)) {
        let kind = manifest["kind"].as_str().unwrap();
        let old = directory::takes(manifest).unwrap();
        let there = server::apply(&client, manifest).await.unwrap();
        let mut mutations = mutate::mutations(manifest, &schemas, &mut BTreeSet::new());
        // Another name is another object.
        mutations.retain(|mutation| !mutation.field.starts_with("metadata"));
        asked += mutations.len();
        let verdicts = stream::iter(&mutations)
            .map(|mutation| server::try_over(&client, &there, &mutation.manifest))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        for (mutation, verdict) in mutations.iter().zip(verdicts) {
            let here = directory::takes_over(&mutation.manifest, Some(&old));
            let why = here.as_ref().err().cloned().unwrap_or_default();
            said.extend(SAID.iter().copied().filter(|said| why.contains(said)));
            if let Some(difference) = different::difference(kind, &here, &[verdict]) {
                found.push(format!("{kind}: {} {}\n    {difference}", mutation.field, mutation.what));
            }
        }
    }
    assert!(asked > 500, "{asked} mutations");
    assert_eq!(said.len(), SAID.len(), "every rule refuses something: {said:?}");
    assert!(found.is_empty(), "{} disagreements of {asked}:\n{}", found.len(), found.join("\n"));
}
