//! YAML text to documents with places, within a budget.
//!
//! The grammar is that of `granit-parser` (YAML 1.2), the meaning of scalars that of kubectl
//! ([`scalar`]). What kubectl would take silently and lose (a key that is given twice) is an error here.
//! Documents are cut apart before they are parsed, as kubectl does, so that a mistake in one of them
//! leaves the others alone.

mod scalar;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::node::{Data, Entry, Node, Scalar};

/// Nodes that one document may have, those that aliases repeat included.
const NODES: usize = 2_000_000;
/// Nodes that aliases may repeat in one document.
const REPEATED: usize = 100_000;
/// How deep collections may be nested.
const DEPTH: usize = 100;

/// Why a document could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Syntax {
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
}

/// One part of a file between `---` lines.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// Its documents that are not empty, or why it cannot be read.
    pub documents: Result<Vec<Node>, Syntax>,
}

/// Reads the text of a file, which may begin with a byte order mark.
pub fn parse(text: &str) -> Vec<Part> {
    let read = |span: Range<usize>| {
        let part = text.get(span.clone()).unwrap_or_default();
        Part { documents: documents(part, span.start), span }
    };
    cut(text).into_iter().map(read).collect()
}

/// Cuts a file at lines that begin with `---`, which end up in the part that they begin. Directives
/// stay with the `---` that must follow them.
fn cut(text: &str) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (mut at, mut directives) = (start, false);
    for line in text.get(start..).unwrap_or_default().split_inclusive('\n') {
        let separator = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if separator && !directives && at > start {
            parts.push(start..at);
            start = at;
        }
        let blank = line.trim().is_empty() || line.starts_with('#');
        directives = line.starts_with('%') || (directives && blank);
        at += line.len();
    }
    parts.push(start..text.len());
    parts
}

fn documents(text: &str, offset: usize) -> Result<Vec<Node>, Syntax> {
    let mut options = granit_parser::options! {
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        offset,
        anchors: HashMap::new(),
        nodes: 0,
        repeated: 0,
    };
    reader.stream()
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    offset: usize,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    repeated: usize,
}

impl<'a> Reader<'a> {
    fn stream(&mut self) -> Result<Vec<Node>, Syntax> {
        let mut documents = Vec::new();
        loop {
            let (event, _) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(documents),
                Event::DocumentStart(..) => {
                    self.anchors.clear();
                    let (event, span) = self.next()?;
                    let node = self.node(event, &span)?;
                    if node.data != Data::Scalar(Scalar::Null) {
                        documents.push(node);
                    }
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Syntax> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, self.range(&span))),
            Some(Err(error)) => {
                let at = self.offset + error.marker().byte_offset().unwrap_or_default();
                Err(Syntax { span: at..at, message: error.info() })
            }
            None => Ok((Event::StreamEnd, self.offset..self.offset)),
        }
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        self.offset + range.start..self.offset + range.end
    }

    /// The node that `event` begins.
    fn node(&mut self, event: Event<'a>, span: &Range<usize>) -> Result<Node, Syntax> {
        self.count(1, span)?;
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = resolve(&text, style, tag.as_deref()).map_err(|m| syntax(span, m))?;
                Ok(self.remember(anchor, Node { span: span.clone(), data: Data::Scalar(scalar) }))
            }
            Event::SequenceStart(_, anchor, tag) => {
                only_tag(tag.as_deref(), "seq").map_err(|m| syntax(span, m))?;
                let (items, end) = self.sequence()?;
                let node = Node { span: span.start..end, data: Data::Sequence(items) };
                Ok(self.remember(anchor, node))
            }
            Event::MappingStart(_, anchor, tag) => {
                only_tag(tag.as_deref(), "map").map_err(|m| syntax(span, m))?;
                let (entries, end) = self.mapping()?;
                let node = Node { span: span.start..end, data: Data::Mapping(entries) };
                Ok(self.remember(anchor, node))
            }
            Event::Alias(anchor) => self.repeat(anchor, span),
            _ => Err(syntax(span, "a value is missing here".to_owned())),
        }
    }

    fn sequence(&mut self) -> Result<(Vec<Node>, usize), Syntax> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((items, span.end));
            }
            items.push(self.node(event, &span)?);
        }
    }

    fn mapping(&mut self) -> Result<(Vec<Entry>, usize), Syntax> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        let mut inherited = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                merge(&mut entries, inherited);
                return Ok((entries, span.end));
            }
            let merges =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, &span)?;
            let name = key_name(&key).map_err(|m| syntax(&span, m))?;
            let (event, at) = self.next()?;
            let value = self.node(event, &at)?;
            if merges {
                inherited.extend(mergeable(value).map_err(|m| syntax(&span, m))?);
            } else if seen.insert(name.clone()) {
                entries.push(Entry { key: name, span, value });
            } else {
                return Err(syntax(&span, format!("the key {name:?} is given twice")));
            }
        }
    }

    fn remember(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }

    fn repeat(&mut self, anchor: usize, span: &Range<usize>) -> Result<Node, Syntax> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(syntax(span, "this alias stands inside what it names".to_owned()));
        };
        let size = size(node);
        self.repeated += size;
        if self.repeated > REPEATED {
            return Err(syntax(span, format!("aliases repeat more than {REPEATED} values")));
        }
        let node = Node { span: span.clone(), ..node.clone() };
        self.count(size, span)?;
        Ok(node)
    }

    fn count(&mut self, nodes: usize, span: &Range<usize>) -> Result<(), Syntax> {
        self.nodes += nodes;
        if self.nodes > NODES {
            return Err(syntax(span, format!("the document holds more than {NODES} values")));
        }
        Ok(())
    }
}

fn syntax(span: &Range<usize>, message: String) -> Syntax {
    Syntax { span: span.clone(), message }
}

fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::Scalar(_) => 0,
        Data::Sequence(items) => items.iter().map(size).sum(),
        Data::Mapping(entries) => entries.iter().map(|entry| 1 + size(&entry.value)).sum(),
    }
}

fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Scalar, String> {
    let quoted = style != ScalarStyle::Plain;
    let Some(tag) = tag else {
        return if quoted {
            Ok(Scalar::Text(text.to_owned()))
        } else {
            scalar::plain(text).map_err(|e| e.to_string())
        };
    };
    let read = match tag.core_suffix() {
        Some("str") => Some(Scalar::Text(text.to_owned())),
        Some("null") => scalar::plain(text).ok().filter(|s| *s == Scalar::Null),
        Some("bool") => scalar::plain(text).ok().filter(|s| matches!(s, Scalar::Bool(_))),
        Some("int") => {
            scalar::plain(text).ok().filter(|s| matches!(s, Scalar::Number(n) if !n.is_f64()))
        }
        Some("float") => scalar::plain(text).ok().filter(|s| matches!(s, Scalar::Number(_))),
        // `!` alone: what it marks is a text.
        _ if tag.original() == "!" => Some(Scalar::Text(text.to_owned())),
        _ => return Err(format!("the tag {} means nothing here", tag.original())),
    };
    read.ok_or_else(|| format!("{text:?} is not what the tag {} says", tag.original()))
}

fn only_tag(tag: Option<&Tag>, allowed: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(allowed) => {
            Err(format!("the tag {} means nothing here", tag.original()))
        }
        _ => Ok(()),
    }
}

fn key_name(key: &Node) -> Result<String, String> {
    match &key.data {
        Data::Scalar(Scalar::Text(text)) => Ok(text.clone()),
        Data::Scalar(Scalar::Bool(bool)) => Ok(bool.to_string()),
        Data::Scalar(Scalar::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        _ => Err("a key must be a text; put it in quotes".to_owned()),
    }
}

/// The mappings that the value of a `<<` key brings in.
fn mergeable(value: Node) -> Result<Vec<Entry>, String> {
    match value.data {
        Data::Mapping(entries) => Ok(entries),
        Data::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                let Data::Mapping(entries) = item.data else {
                    return Err("`<<` takes a mapping or a list of mappings".to_owned());
                };
                all.extend(entries);
            }
            Ok(all)
        }
        Data::Scalar(_) => Err("`<<` takes a mapping or a list of mappings".to_owned()),
    }
}

/// Adds what `<<` keys brought in: what is written out wins, then what came first.
fn merge(entries: &mut Vec<Entry>, merged: Vec<Entry>) {
    for entry in merged {
        if entries.iter().all(|e| e.key != entry.key) {
            entries.push(entry);
        }
    }
}

#[cfg(test)]
mod tests;
