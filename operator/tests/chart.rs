//! The generated files of the charts are those of the Rust types, and the charts' own values fit their
//! schema. `ISTHMUS_UPDATE=1` writes them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::{fs, path::PathBuf};

use isthmus_operator::chart;

const HEADER: &str = "# Generated from the Rust types by `ISTHMUS_UPDATE=1 cargo test --test chart`.\n";

fn charts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("charts")
}

fn check(file: &str, text: &str) {
    let path = charts().join(file);
    if std::env::var_os("ISTHMUS_UPDATE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let on_disk = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(on_disk, text, "{file} is stale: run the test with ISTHMUS_UPDATE=1");
}

#[test]
fn the_operators_rights_are_those_that_it_needs() {
    let documents = chart::roles();
    let documents: Vec<String> =
        documents.iter().map(|role| serde_saphyr::to_string(role).unwrap()).collect();
    check("isthmus/templates/rbac.yaml", &format!("{HEADER}{}", documents.join("---\n")));
}

#[test]
fn f23_the_operator_reads_no_secret() {
    let of = |rules: Vec<k8s_openapi::api::rbac::v1::PolicyRule>| {
        let resources = rules.into_iter().flat_map(|rule| rule.resources.unwrap_or_default());
        resources.filter(|resource| resource == "secrets" || resource == "*").count()
    };
    assert_eq!(of(chart::cluster_role_rules()) + of(chart::role_rules()), 0);
}

#[test]
fn f13_no_webhook_is_installed() {
    let rules = chart::cluster_role_rules().into_iter().chain(chart::role_rules());
    let groups: Vec<String> = rules.flat_map(|rule| rule.api_groups.unwrap_or_default()).collect();
    assert!(!groups.iter().any(|group| group == "admissionregistration.k8s.io" || group == "*"));
    for chart in ["isthmus", "isthmus-crds"] {
        for file in fs::read_dir(charts().join(chart).join("templates")).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("WebhookConfiguration") && !text.contains("strategy: Webhook"));
        }
    }
}

#[test]
fn the_definitions_are_those_of_the_types() {
    let all = chart::definitions();
    for (name, definition) in &all {
        let text = serde_saphyr::to_string(definition).unwrap();
        assert!(!text.contains("{{"), "{name} would be taken for a template");
        check(&format!("isthmus-crds/templates/{name}"), &format!("{HEADER}{text}"));
    }
    let files = fs::read_dir(charts().join("isthmus-crds/templates")).unwrap().count();
    assert_eq!(files, all.len(), "a definition without a kind, or the reverse");
}

#[test]
fn the_schema_of_values_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&chart::values_schema()).unwrap();
    check("isthmus/values.schema.json", &format!("{schema}\n"));
    let values = fs::read_to_string(charts().join("isthmus/values.yaml")).unwrap();
    let _: chart::Values = serde_saphyr::from_str(&values).unwrap();
}

#[test]
fn the_charts_have_the_version_of_the_programs() {
    for chart in ["isthmus", "isthmus-crds"] {
        let text = fs::read_to_string(charts().join(chart).join("Chart.yaml")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.contains(&format!("\nversion: {version}\nappVersion: {version}\n")), "{chart}");
    }
}
