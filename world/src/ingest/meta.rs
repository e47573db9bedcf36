//! `metadata`, as far as facts keep it.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use kube::core::DynamicObject;

use crate::{
    fact::Meta,
    kind::{Kind, ObjectKey},
};

/// The group whose annotations are kept.
const GROUP: &str = "isthmus.dev";

type Texts = BTreeMap<String, String>;

/// Most objects keep no label and no annotation: they share this.
static NONE: LazyLock<Arc<Texts>> = LazyLock::new(Arc::default);

/// The namespace that an object without one is in.
pub(super) fn namespace(object: &DynamicObject) -> &str {
    object.metadata.namespace.as_deref().unwrap_or("default")
}

pub(super) fn meta(object: &DynamicObject, key: &ObjectKey) -> Meta {
    let written = &object.metadata;
    Meta {
        namespace: key.object.namespace.clone(),
        name: key.object.name.clone(),
        generation: written.generation.unwrap_or_default(),
        created: written.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        labels: match key.kind {
            Kind::Namespace => namespace_labels(written.labels.as_ref(), &key.object.name),
            _ => Arc::clone(&NONE),
        },
        annotations: written.annotations.as_ref().map_or_else(|| Arc::clone(&NONE), own_annotations),
    }
}

/// The labels of a namespace, with the one that an API server always sets.
fn namespace_labels(written: Option<&Texts>, name: &str) -> Arc<Texts> {
    let mut labels = written.cloned().unwrap_or_default();
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    Arc::new(labels)
}

fn own_annotations(written: &Texts) -> Arc<Texts> {
    let own: Texts =
        written.iter().filter(|(key, _)| is_own(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    if own.is_empty() { Arc::clone(&NONE) } else { Arc::new(own) }
}

fn is_own(key: &str) -> bool {
    let group = key.split_once('/').map(|(group, _)| group);
    group.and_then(|g| g.strip_suffix(GROUP)).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
}
