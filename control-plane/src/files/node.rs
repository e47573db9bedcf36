//! A parsed document that remembers where each of its parts stood in the file.

use std::ops::Range;

use serde_json::{Map, Number, Value};

/// A value and where it stood.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Bytes of the file that the value was written with.
    pub span: Range<usize>,
    /// The value.
    pub data: Data,
}

/// The value of a node; what JSON can hold, and nothing more.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping; keys are distinct and in the order of the file.
    Mapping(Vec<Entry>),
}

/// A resolved scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

/// One entry of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Bytes of the file that the key was written with.
    pub span: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value of `key`, when this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of `key`, when it is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.data {
            Data::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The elements, when this is a sequence.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::Sequence(items) => items,
            _ => &[],
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The value without its places.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Scalar(Scalar::Null) => Value::Null,
            Data::Scalar(Scalar::Bool(bool)) => Value::Bool(*bool),
            Data::Scalar(Scalar::Number(number)) => Value::Number(number.clone()),
            Data::Scalar(Scalar::Text(text)) => Value::String(text.clone()),
            Data::Sequence(items) => items.iter().map(Self::to_value).collect(),
            Data::Mapping(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// Where the field `path` (such as `spec.rules[0].name`) stands: its scalar, else its key, else that
    /// of the nearest parent that is there.
    pub fn locate(&self, path: &str) -> Range<usize> {
        let (mut node, mut span) = (self, self.head());
        let mut rest = path;
        while !rest.is_empty() {
            let Some((next, at, after)) = node.step(rest) else { break };
            (node, span, rest) = (next, at, after);
        }
        match node.data {
            Data::Scalar(_) if rest.is_empty() && !node.span.is_empty() => node.span.clone(),
            _ => span,
        }
    }

    /// The node that the field `path` leads to.
    pub fn find(&self, path: &str) -> Option<&Self> {
        let (mut node, mut rest) = (self, path);
        while !rest.is_empty() {
            (node, _, rest) = node.step(rest)?;
        }
        Some(node)
    }

    /// The first key of a mapping, which stands for the whole in messages.
    fn head(&self) -> Range<usize> {
        match &self.data {
            Data::Mapping(entries) => {
                entries.first().map_or_else(|| self.span.clone(), |entry| entry.span.clone())
            }
            _ => self.span.clone(),
        }
    }

    /// One step along `path`: the child, where it stands, and what is left of the path. The longest key
    /// that fits is taken, since keys (of labels, say) may hold dots.
    fn step<'a>(&self, path: &'a str) -> Option<(&Node, Range<usize>, &'a str)> {
        if let Some(index) = path.strip_prefix('[') {
            let (index, rest) = index.split_once(']')?;
            if let Ok(index) = index.parse::<usize>() {
                let item = self.items().get(index)?;
                return Some((item, item.head(), rest.strip_prefix('.').unwrap_or(rest)));
            }
            let entry = self.entry(index.trim_matches(['"', '\'']))?;
            return Some((&entry.value, entry.span.clone(), rest.strip_prefix('.').unwrap_or(rest)));
        }
        let Data::Mapping(entries) = &self.data else { return None };
        let fits = |entry: &&Entry| {
            let rest = path.strip_prefix(entry.key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let entry = entries.iter().filter(fits).max_by_key(|entry| entry.key.len())?;
        let rest = path.get(entry.key.len()..)?;
        Some((&entry.value, entry.span.clone(), rest.strip_prefix('.').unwrap_or(rest)))
    }
}
