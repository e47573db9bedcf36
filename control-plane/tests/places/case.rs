//! The golden cases, each moved to namespaces and classes of its own, so that all of them fit into one
//! cluster; and in the order in which their objects are to be made.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// An address for what is on loopback in a case: an API server takes no loopback endpoints.
const ADDRESS: &str = "198.51.100.7";
/// What a namespace's own label is called.
const NAME: &str = "kubernetes.io/metadata.name";

/// A golden case.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Oldest first; of those of one age, in order of name.
    pub(crate) objects: Vec<Value>,
}

/// Every golden case of Gateway API.
pub(crate) fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/testdata");
    let mut paths: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |(index, path): (usize, &std::path::PathBuf)| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path.join("input.yaml")).unwrap();
        let mut objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        for object in &mut objects {
            moved(object, &format!("c{index}-"));
        }
        objects.sort_by_key(age);
        Case { name, objects }
    };
    paths.iter().enumerate().map(read).collect()
}

/// What decides which of two objects is the older one; of one that does not say, that it is young.
fn age(object: &Value) -> (String, String, String) {
    let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
    let created = text("creationTimestamp").unwrap_or_else(|| "young".to_owned());
    (created, text("namespace").unwrap_or_default(), text("name").unwrap_or_default())
}

/// When it says that it was made.
pub(crate) fn created(object: &Value) -> Option<&str> {
    object["metadata"]["creationTimestamp"].as_str()
}

fn moved(object: &mut Value, prefix: &str) {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let metadata = &mut object["metadata"];
    match kind.as_str() {
        "Namespace" | "GatewayClass" => {
            metadata["name"] = format!("{prefix}{}", metadata["name"].as_str().unwrap()).into();
        }
        _ if metadata["namespace"].is_null() => metadata["namespace"] = json!("default"),
        _ => {}
    }
    walk(object, prefix);
}

fn walk(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("namespace" | NAME, Some(text)) if !text.is_empty() => {
                        *value = format!("{prefix}{text}").into();
                    }
                    ("gatewayClassName", Some(text)) if text != "isthmus" => {
                        *value = format!("{prefix}{text}").into();
                    }
                    _ => walk(value, prefix),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, prefix)),
        Value::String(text) if text == "127.0.0.1" || text == "127.0.0.2" => ADDRESS.clone_into(text),
        _ => {}
    }
}
