//! The fields of a head as a flat array of places in the bytes that they were read from.

use super::name::{FieldName, Known};
use super::scan::trim;

/// Where one field stands; offsets count from the front of the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub(super) known: Known,
    pub(super) line: u32,
    pub(super) name_len: u32,
    pub(super) value: u32,
    pub(super) value_end: u32,
}

/// The fields of a head, in their order. It owns no bytes: whoever holds it holds the buffer too.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    list: Vec<Field>,
    present: u128,
    /// Where the line after the last field begins.
    end: u32,
}

impl Fields {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.present = 0;
        self.end = 0;
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Where the first field begins, or would.
    pub(super) fn begin(&mut self, at: usize) {
        self.end = offset(at);
    }

    /// Adds the field whose line begins at `line`.
    pub(super) fn push(
        &mut self,
        line: usize,
        known: Known,
        name_len: usize,
        value: (usize, usize),
        end: usize,
    ) {
        self.present |= known.bit();
        self.end = offset(end);
        self.list.push(Field {
            known,
            line: offset(line),
            name_len: offset(name_len),
            value: offset(value.0),
            value_end: offset(value.1),
        });
    }

    pub(super) fn view<'a>(&'a self, bytes: &'a [u8]) -> FieldsView<'a> {
        FieldsView { fields: self, bytes }
    }
}

/// Heads are far shorter than 4 GiB ([`Limits`](super::Limits)).
pub(super) fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

pub(super) fn span(bytes: &[u8], from: u32, to: u32) -> &[u8] {
    bytes.get(from as usize..to as usize).unwrap_or_default()
}

/// The fields of a head together with its bytes.
#[derive(Clone, Copy, Debug)]
pub struct FieldsView<'a> {
    fields: &'a Fields,
    bytes: &'a [u8],
}

/// One field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldView<'a> {
    /// The number of its name.
    pub known: Known,
    /// Its name as it was sent.
    pub name: &'a [u8],
    /// Its value, without the white space around it.
    pub value: &'a [u8],
}

impl<'a> FieldsView<'a> {
    /// All fields in their order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = FieldView<'a>> + Clone + 'a {
        self.fields.list.iter().map(move |field| self.field(field))
    }

    /// How many fields there are.
    pub fn len(self) -> usize {
        self.fields.list.len()
    }

    /// Whether there is no field.
    pub fn is_empty(self) -> bool {
        self.fields.list.is_empty()
    }

    /// Whether there is a field of this name; one look at a set.
    pub fn has(self, known: Known) -> bool {
        self.fields.present & known.bit() != 0
    }

    /// Whether there is a field of one of these names.
    pub(super) fn has_any_of(self, names: u128) -> bool {
        self.fields.present & names != 0
    }

    /// The first value of a known name.
    pub fn first(self, known: Known) -> Option<&'a [u8]> {
        self.all(known.into()).next()
    }

    /// Every value of a name, in order; of a known name only when it is there at all.
    pub fn all(self, name: FieldName<'_>) -> impl Iterator<Item = &'a [u8]> {
        let list: &[Field] = if self.has(name.known()) { &self.fields.list } else { &[] };
        list.iter()
            .filter(move |field| name.matches(field.known, self.name(field)))
            .map(move |field| self.value(field))
    }

    /// Every element of the lists that all fields of a known name hold (RFC 9110, section 5.6.1).
    pub fn elements(self, known: Known) -> impl Iterator<Item = &'a [u8]> {
        self.all(known.into())
            .flat_map(|value| value.split(|&b| b == b','))
            .map(trim)
            .filter(|e| !e.is_empty())
    }

    pub(super) fn raw(self) -> &'a [Field] {
        &self.fields.list
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Where the line after field `index` begins.
    pub(super) fn line_end(self, index: usize) -> u32 {
        self.raw().get(index + 1).map_or(self.fields.end, |next| next.line)
    }

    /// Where the line after the last field begins.
    pub(super) fn end(self) -> u32 {
        self.fields.end
    }

    /// Where the first field begins.
    pub(super) fn front(self) -> u32 {
        self.raw().first().map_or(self.fields.end, |field| field.line)
    }

    pub(super) fn name(self, field: &Field) -> &'a [u8] {
        span(self.bytes, field.line, field.line.saturating_add(field.name_len))
    }

    pub(super) fn value(self, field: &Field) -> &'a [u8] {
        span(self.bytes, field.value, field.value_end)
    }

    fn field(self, field: &Field) -> FieldView<'a> {
        FieldView { known: field.known, name: self.name(field), value: self.value(field) }
    }
}
