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
fn who_calls_the_operator_is_said_in_the_chart() {
    let policy = serde_json::to_value(chart::network_policy()).unwrap();
    let text = serde_saphyr::to_string(&policy).unwrap();
    check("isthmus/templates/network-policy.yaml", &format!("{HEADER}{text}"));
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
        let named = definition["metadata"]["name"].as_str().unwrap();
        let template = chart::template_of_definition(named, &format!("{HEADER}{text}"));
        check(&format!("isthmus-crds/templates/{name}"), &template);
    }
    let files = fs::read_dir(charts().join("isthmus-crds/templates")).unwrap();
    let files = files.filter(|file| file.as_ref().unwrap().path().extension().unwrap() == "yaml");
    assert_eq!(files.count(), all.len(), "a definition without a kind, or the reverse");
}

#[test]
fn the_schema_of_values_is_that_of_the_types() {
    let all = [("isthmus", chart::values_schema()), ("isthmus-crds", chart::definition_values_schema())];
    for (chart, schema) in all {
        let schema = serde_json::to_string_pretty(&schema).unwrap();
        check(&format!("{chart}/values.schema.json"), &format!("{schema}\n"));
    }
    let values = |chart| fs::read_to_string(charts().join(chart).join("values.yaml")).unwrap();
    let _: chart::Values = serde_saphyr::from_str(&values("isthmus")).unwrap();
    let _: chart::DefinitionValues = serde_saphyr::from_str(&values("isthmus-crds")).unwrap();
}

#[test]
fn the_charts_have_the_version_of_the_programs() {
    for chart in ["isthmus", "isthmus-crds"] {
        let text = fs::read_to_string(charts().join(chart).join("Chart.yaml")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.contains(&format!("\nversion: {version}\nappVersion: {version}\n")), "{chart}");
    }
}
