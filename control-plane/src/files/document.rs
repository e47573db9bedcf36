//! One file: from its text to documents that have a kind and a name, and what is wrong with the others.
//!
//! What is decided here needs one file alone: parsing, lists, identity, defaults. Rules that compare
//! with another version or another file are those of [`set`](super::set).

use std::{ops::Range, sync::Arc};

use isthmus_world::ingest::DynamicObject;
use serde_json::{Map, Value, json};

use super::{
    check,
    diagnostic::{Diagnostic, Place, Severity},
    kinds::{FileKind, ObjectId},
    node::{Data, Node, Scalar},
    yaml,
};

/// A document that says which object it is.
#[derive(Clone, Debug)]
pub struct Document {
    /// The object.
    pub id: ObjectId,
    /// Its kind.
    pub kind: FileKind,
    /// The object with defaults filled in and without `status`; `metadata` holds what the user wrote of
    /// name, namespace, labels, annotations and creationTimestamp.
    pub object: Value,
    node: Node,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// As it was given.
    pub name: Arc<str>,
    /// What is in it.
    pub text: Arc<str>,
    /// Documents that are read, in order.
    pub documents: Vec<Document>,
    /// What is wrong with the rest.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether some document could not even be told which object it is: then none of the objects that
    /// this file held before may be taken for deleted.
    pub unidentified: bool,
}

/// Reads a file.
pub fn read(name: &Arc<str>, text: &Arc<str>) -> File {
    let mut file = File {
        name: name.clone(),
        text: text.clone(),
        documents: Vec::new(),
        diagnostics: Vec::new(),
        unidentified: false,
    };
    for part in yaml::parse(text) {
        match part.documents {
            Ok(nodes) => nodes.into_iter().for_each(|node| file.take(node)),
            Err(error) => {
                let secret = text.get(part.span).is_some_and(may_hold_secrets);
                file.unreadable(&error.span, secret, error.message);
            }
        }
    }
    file
}

/// Whether a text that cannot be parsed might be a Secret.
fn may_hold_secrets(text: &str) -> bool {
    text.contains("Secret") || text.contains("PRIVATE KEY")
}

impl File {
    /// A diagnostic about a field of one of its documents.
    pub fn diagnostic(
        &self,
        document: &Document,
        severity: Severity,
        field: Option<&str>,
        message: String,
    ) -> Diagnostic {
        let message = hinted(message, document.node.find(field.unwrap_or_default()));
        let span = document.node.locate(field.unwrap_or_default());
        Diagnostic {
            severity,
            file: self.name.clone(),
            place: Some(Place::of(&self.text, &span, document.kind.secret())),
            object: Some(document.id.clone()),
            field: field.map(str::to_owned),
            message,
        }
    }

    /// Where a document begins, as `file:line`.
    pub fn place(&self, document: &Document) -> String {
        let place = Place::of(&self.text, &document.node.locate(""), true);
        format!("{}:{}", self.name, place.line)
    }

    fn take(&mut self, node: Node) {
        let list = node.text("kind").is_some_and(|kind| kind.ends_with("List"));
        match node.get("items").map(|items| &items.data) {
            Some(Data::Sequence(items)) if list => items.iter().cloned().for_each(|n| self.take(n)),
            _ => match identify(&node) {
                Ok(Some((kind, id))) => self.push(kind, id, node),
                Ok(None) => self.ignore(&node),
                Err(Unidentified { field, message }) => {
                    let secret = node.text("kind") == Some("Secret");
                    let message = hinted(message, node.find(field));
                    self.unreadable(&node.locate(field), secret, message);
                }
            },
        }
    }

    fn push(&mut self, kind: FileKind, id: ObjectId, node: Node) {
        let mut object = normalised(&node.to_value(), &id);
        check::default(kind, &mut object);
        self.documents.push(Document { id, kind, object, node });
    }

    fn ignore(&mut self, node: &Node) {
        let (version, kind) = (node.text("apiVersion"), node.text("kind"));
        let kind = format!("{} of {}", kind.unwrap_or_default(), version.unwrap_or_default());
        self.diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            file: self.name.clone(),
            place: Some(Place::of(&self.text, &node.locate("kind"), false)),
            object: None,
            field: None,
            message: format!("{kind} means nothing to Isthmus and is ignored"),
        });
    }

    fn unreadable(&mut self, span: &Range<usize>, secret: bool, message: String) {
        self.unidentified = true;
        self.diagnostics.push(Diagnostic {
            severity: Severity::Error,
            file: self.name.clone(),
            place: Some(Place::of(&self.text, span, secret)),
            object: None,
            field: None,
            message,
        });
    }
}

/// Adds to a demand for text what was read in its place: `n` is no text in YAML 1.1, which surprises.
fn hinted(message: String, node: Option<&Node>) -> String {
    let is = match node.map(|node| &node.data) {
        Some(Data::Scalar(Scalar::Bool(_))) => "a boolean",
        Some(Data::Scalar(Scalar::Number(_))) => "a number",
        _ => return message,
    };
    if !message.contains("text") {
        return message;
    }
    format!("{message}; without quotes it is {is}, as for kubectl: put it in quotes")
}

struct Unidentified {
    field: &'static str,
    message: String,
}

/// Which object a document is; none when it is of a kind that is not read.
fn identify(node: &Node) -> Result<Option<(FileKind, ObjectId)>, Unidentified> {
    let fail = |field, message: &str| Unidentified { field, message: message.to_owned() };
    if !matches!(node.data, Data::Mapping(_)) {
        return Err(fail("", "a manifest is a mapping with apiVersion, kind and metadata"));
    }
    let version = node.text("apiVersion").ok_or_else(|| fail("apiVersion", "apiVersion is required"))?;
    let kind = node.text("kind").ok_or_else(|| fail("kind", "kind is required"))?;
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let Some(known) = FileKind::of(group, kind) else { return Ok(None) };
    if !known.versions().contains(&version) {
        let versions = known.versions().join(" and ");
        let message = format!("{kind} is read in version {versions} of {group}, not in {version}");
        return Err(Unidentified { field: "apiVersion", message });
    }
    let metadata = node.get("metadata").ok_or_else(|| fail("metadata", "metadata is required"))?;
    let name = metadata.text("name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| fail("metadata.name", "metadata.name is required, as a text"))?;
    if !is_name(name, 253) {
        let message = "metadata.name must be lower-case letters, digits, '-' and '.', at most 253 of \
                       them, that begin and end with a letter or a digit";
        return Err(fail("metadata.name", message));
    }
    let namespace = match metadata.get("namespace").map(|n| &n.data) {
        _ if known.cluster_scoped() => "",
        None | Some(Data::Scalar(Scalar::Null)) => "default",
        Some(Data::Scalar(Scalar::Text(text))) if text.is_empty() => "default",
        Some(Data::Scalar(Scalar::Text(text))) if is_name(text, 63) && !text.contains('.') => text,
        Some(_) => return Err(fail("metadata.namespace", "metadata.namespace must be a DNS label")),
    };
    let id = ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    Ok(Some((known, id)))
}

fn is_name(text: &str, most: usize) -> bool {
    let label = |label: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(label.bytes().next())
            && edge(label.bytes().next_back())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= most && text.split('.').all(label)
}

/// What of `metadata` an API server says, or means nothing without one.
const OF_A_SERVER: &[&str] = &[
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The object without what only an API server may say.
fn normalised(written: &Value, id: &ObjectId) -> Value {
    let mut object = written.as_object().cloned().unwrap_or_default();
    object.remove("status");
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), json!(id.name));
    if !id.namespace.is_empty() {
        metadata.insert("namespace".to_owned(), json!(id.namespace));
    }
    let said = written.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let kept = said.filter(|(name, value)| !OF_A_SERVER.contains(&name.as_str()) && !value.is_null());
    for (name, value) in kept {
        metadata.entry(name).or_insert_with(|| value.clone());
    }
    if id.kind == "Namespace" {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(id.name));
        }
    }
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(object)
}

/// The object as `world` reads it. Labels and annotations that are none are left out: of an object with
/// such the rules have told already.
pub fn dynamic(object: &Value) -> Option<DynamicObject> {
    if let Ok(dynamic) = serde_json::from_value(object.clone()) {
        return Some(dynamic);
    }
    let mut object = object.clone();
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    metadata.retain(|field, _| matches!(field.as_str(), "name" | "namespace" | "generation" | "uid"));
    serde_json::from_value(object).ok()
}

/// Seconds since 1970 of an RFC 3339 time.
pub fn timestamp(text: &str) -> Option<i64> {
    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::read;

    fn check(text: &str, expected: &Expect) {
        let file = read(&"a.yaml".into(), &text.into());
        let mut shown: Vec<String> =
            file.documents.iter().map(|d| format!("{} = {}", d.id, d.object)).collect();
        shown.extend(file.diagnostics.iter().map(ToString::to_string));
        if file.unidentified {
            shown.push("(not all documents are known)".to_owned());
        }
        expected.assert_eq(&shown.join("\n"));
    }

    #[test]
    fn i1_each_document_stands_alone() {
        check(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, uid: x}\nstatus: {phase: Active}\n---\n\
             apiVersion: v1\nkind: Service\nmetadata:\n\tname: b\n---\n\
             apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c}\n---\n\
             apiVersion: v1\nkind: Namespace\nmetadata: {name: d, namespace: x}\n",
            &expect![[r#"
                Namespace a = {"apiVersion":"v1","kind":"Namespace","metadata":{"labels":{"kubernetes.io/metadata.name":"a"},"name":"a"}}
                Namespace d = {"apiVersion":"v1","kind":"Namespace","metadata":{"labels":{"kubernetes.io/metadata.name":"d"},"name":"d"}}
                error: tabs disallowed within this context (block indentation)
                 --> a.yaml:9:2
                  |
                9 |  name: b
                  |  ^
                warning: Deployment of apps/v1 means nothing to Isthmus and is ignored
                  --> a.yaml:12:7
                   |
                12 | kind: Deployment
                   |       ^^^^^^^^^^
                (not all documents are known)"#]],
        );
    }

    #[test]
    fn lists_are_flattened() {
        check(
            "apiVersion: v1\nkind: List\nitems:\n\
             - {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n\
             - {apiVersion: v1, kind: Namespace, metadata: {}}\n",
            &expect![[r#"
                Namespace a = {"apiVersion":"v1","kind":"Namespace","metadata":{"labels":{"kubernetes.io/metadata.name":"a"},"name":"a"}}
                error: metadata.name is required, as a text
                 --> a.yaml:5:37
                  |
                5 | - {apiVersion: v1, kind: Namespace, metadata: {}}
                  |                                     ^^^^^^^^
                (not all documents are known)"#]],
        );
    }

    #[test]
    fn i1_what_has_no_identity_is_an_error_with_its_place() {
        for text in [
            "just text",
            "kind: Service",
            "apiVersion: v1\nmetadata: {name: a}",
            "apiVersion: v1\nkind: Service\nmetadata: {name: A_b}",
            "apiVersion: v1\nkind: Service\nmetadata: {name: 010}",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: b.c}",
            "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: a}",
        ] {
            let file = read(&"a.yaml".into(), &text.into());
            assert!(file.unidentified && file.documents.is_empty(), "{text}");
        }
        check(
            "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: a}",
            &expect![[r#"
                error: HTTPRoute is read in version v1 and v1beta1 of gateway.networking.k8s.io, not in v1alpha2
                 --> a.yaml:1:13
                  |
                1 | apiVersion: gateway.networking.k8s.io/v1alpha2
                  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
                (not all documents are known)"#]],
        );
        check(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: 010\n",
            &expect![[r#"
                error: metadata.name is required, as a text; without quotes it is a number, as for kubectl: put it in quotes
                 --> a.yaml:4:9
                  |
                4 |   name: 010
                  |         ^^^
                (not all documents are known)"#]],
        );
    }

    #[test]
    fn d18_lines_of_secrets_are_not_shown() {
        check(
            "apiVersion: v1\nkind: Secret\ndata: {tls.key: [aGk=}\n",
            &expect![[r#"
            error: mismatched bracket '[' closed by '}'
             --> a.yaml:3:17
            (not all documents are known)"#]],
        );
    }
}
