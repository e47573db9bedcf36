//! What a directory makes of manifests, and what the objects of a case lead to there, one proxy for each
//! Gateway having acked it.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use isthmus_compiler::{Compiler, implied_class};
use isthmus_control_plane::{
    files::{
        check,
        document::{self, dynamic},
        set::Edit,
        source::{Given, read_once},
    },
    settings::Settings,
};
use isthmus_east_west::handle::HandleKey;
use isthmus_ir::Name;
use isthmus_world::{Change, Kind, KindState, ObjectKey, fact::ProxyReport, ingest};
use serde_json::Value;

use crate::{
    case::Case,
    golden::{Told, shown},
    statuses,
};

/// What follows from the objects of a case, in a mesh with these roots.
pub(crate) fn told(case: &Case, roots: &[Bytes]) -> Told {
    let settings = Settings::of(None).unwrap();
    let mut compiler = Compiler::new(settings.mesh(None), HandleKey::new([0; 32]));
    compiler.apply(Change::Upsert(implied_class()));
    compiler.apply(Change::Roots(roots.to_vec()));
    for object in objects(case) {
        compiler.apply(ingest(dynamic(&object).unwrap()).unwrap());
    }
    for kind in Kind::ALL {
        compiler.apply(Change::Kind { kind, state: KindState::Synced });
    }
    let revision = compiler.refresh().revision;
    let scopes: Vec<Name> =
        compiler.scopes().filter(|s| s.as_str().starts_with("gateway/")).cloned().collect();
    for scope in &scopes {
        let report = ProxyReport { revision, ..ProxyReport::default() };
        compiler.apply(Change::Proxy {
            scope: scope.clone(),
            proxy: "pod".into(),
            report: Some(report),
        });
    }
    compiler.refresh();
    let resources = |scope: &Name| {
        let resources = compiler.snapshot(scope).unwrap();
        (scope.clone(), resources.iter().map(shown).collect::<BTreeMap<_, _>>())
    };
    let ir = scopes.iter().map(resources).collect();
    let mut told = BTreeMap::new();
    for change in compiler.statuses().filter(|change| change.object.name != "isthmus") {
        let Some(status) = change.status else { continue };
        let key = ObjectKey { kind: change.kind, object: change.object };
        told.insert(key.to_string(), statuses::comparable(&status));
    }
    Told { statuses: told, ir }
}

/// The objects as the directory holds them.
fn objects(case: &Case) -> Vec<Value> {
    let text: Vec<_> = case.objects.iter().map(ToString::to_string).collect();
    let batch = read_once(vec![Given::Text(Arc::from(text.join("\n---\n")))]);
    let edits = batch.edits.into_iter().map(|edit| match edit {
        Edit::Upsert(_, object) => object,
        other => panic!("{}: a directory refuses what an API server takes: {other:?}", case.name),
    });
    edits.collect()
}

/// What a directory makes of a manifest: the object with its defaults, or why it is refused.
pub(crate) fn takes(manifest: &Value) -> Result<Value, String> {
    takes_over(manifest, None)
}

/// What it makes of one, of whose object `old` is in force there.
pub(crate) fn takes_over(manifest: &Value, old: Option<&Value>) -> Result<Value, String> {
    let text = manifest.to_string();
    let file = document::read(&"a.yaml".into(), &text.as_str().into());
    let [document] = file.documents.as_slice() else {
        let said: Vec<_> = file.diagnostics.iter().map(|d| d.message.clone()).collect();
        return Err(said.join("; "));
    };
    let errors = check::validate(document.kind, &document.object, old);
    if errors.is_empty() {
        return Ok(document.object.clone());
    }
    Err(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
