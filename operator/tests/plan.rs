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
    plan::{Action, plan},
};
use serde_json::{Value, json};

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

#[test]
fn i6_pods_may_do_nothing_that_they_need_not() {
    let there = include_str!("../testdata/gateways/there.yaml");
    let observed = observed(there);
    let plan = plan(&observed.install().unwrap(), &observed);
    let made = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Create(manifest) if manifest.key.kind == object::DEPLOYMENT => Some(&manifest.value),
        _ => None,
    });
    let pods: Vec<&Value> = made.map(|deployment| &deployment["spec"]["template"]["spec"]).collect();
    assert_eq!(pods.len(), 2, "a control plane and proxies");
    for pod in pods {
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }));
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
        }
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[field], Value::Null);
        }
    }
}
