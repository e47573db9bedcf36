//! What is planned for what, as files: each directory of `testdata` has the objects that are there
//! (`there.yaml`) and the plan (`plan.txt`: its steps, and the objects that it would write).
//! `ISTHMUS_UPDATE=1` writes the plans.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod common;

use std::{fs, path::Path};

use common::{observed, print};
use isthmus_crds::names::NAMESPACE;
use isthmus_operator::{
    object::{self, ObjectKey},
    plan::plan,
};

/// One case shows the whole of an install; the others show what is made for Gateways and who runs pods.
fn shows(case: &Path, key: &ObjectKey) -> bool {
    let own = ["", NAMESPACE].contains(&key.namespace.as_str());
    let pods = [object::DEPLOYMENT, object::DISRUPTION_BUDGET].contains(&key.kind);
    match case.file_name().and_then(|name| name.to_str()) {
        Some("fresh") => key.kind != object::DEFINITION,
        Some("replicas") => pods || !own,
        Some("revisions") => [object::MESH_REVISION, object::ROLE].contains(&key.kind),
        _ => !own,
    }
}

#[test]
fn plans_are_those_of_the_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let update = std::env::var_os("ISTHMUS_UPDATE").is_some();
    for case in &cases {
        let there = fs::read_to_string(case.join("there.yaml")).unwrap();
        let observed = observed(&there);
        let install = observed.install().expect("a MeshInstall");
        let text = print(&plan(&install, &observed), |key| shows(case, key));
        let file = case.join("plan.txt");
        if update {
            fs::write(&file, &text).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(expected, text, "{}: run the test with ISTHMUS_UPDATE=1", case.display());
    }
    assert!(cases.len() > 3);
}
