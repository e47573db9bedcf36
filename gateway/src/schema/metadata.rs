//! `apiVersion`, `kind` and `metadata`.

use serde_json::Value;

use super::{
    FieldError,
    shape::{Field, Object, Shape, text, wrong},
    text as texts,
};

pub(super) const API_VERSION: Field = Field::required("apiVersion", Shape::Text(1, 253, texts::any));
pub(super) const KIND: Field = Field::required("kind", Shape::Text(1, 63, texts::any));
pub(super) const STATUS: Field = Field::optional("status", Shape::Anything);
pub(super) const METADATA: Field = Field::required("metadata", Shape::Native(&OBJECT_META));

pub(super) static LABELS: Shape = Shape::Text(0, 63, texts::label_value);
static ANNOTATIONS: Shape = Shape::Text(0, 262_144, texts::any);

pub(super) static OBJECT_META: Object = Object {
    fields: &[
        Field::required("name", Shape::Text(1, 253, texts::subdomain)),
        Field::optional("namespace", Shape::Text(1, 63, texts::label)),
        Field::optional("labels", Shape::Map(4096, texts::label_key, &LABELS)),
        Field::optional("annotations", Shape::Map(4096, texts::label_key, &ANNOTATIONS)),
        Field::optional("creationTimestamp", Shape::Text(1, 64, texts::timestamp)),
        Field::optional("deletionGracePeriodSeconds", Shape::Anything),
        Field::optional("deletionTimestamp", Shape::Anything),
        Field::optional("finalizers", Shape::Anything),
        Field::optional("generateName", Shape::Anything),
        Field::optional("generation", Shape::Anything),
        Field::optional("managedFields", Shape::Anything),
        Field::optional("ownerReferences", Shape::Anything),
        Field::optional("resourceVersion", Shape::Anything),
        Field::optional("selfLink", Shape::Anything),
        Field::optional("uid", Shape::Anything),
    ],
    rules: &[],
};

/// Names of a Namespace and of a Service become labels of DNS names.
pub(super) fn name_is_label(manifest: &Value, errors: &mut Vec<FieldError>) {
    let name = manifest.get("metadata").and_then(|m| text(m, "name"));
    if let Some(Err(why)) = name.map(texts::label) {
        wrong(errors, "metadata.name", why);
    }
}
