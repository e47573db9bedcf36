//! Runs of bytes: which bytes may stand in a token, a field value, a target, a host; and one field line.
//!
//! Everything here is a pure function of bytes and looks at each byte once, eight at a time where the
//! grammar allows. A line ends in CR LF; nothing else ends a line.

use super::HeadError;

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const HOST: u8 = 8;
const METHOD: u8 = 16;

static CLASS: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler only"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric() {
            table[i] |= TOKEN | HOST;
        }
        if b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_') {
            table[i] |= METHOD;
        }
        // RFC 9110, section 5.6.2.
        if matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        ) {
            table[i] |= TOKEN;
        }
        // RFC 3986, section 3.2.2, without the comma, which would make a list of a Host field.
        if matches!(
            b,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b';'
                | b'='
                | b':'
                | b'['
                | b']'
        ) {
            table[i] |= HOST;
        }
        // Wider than RFC 3986: clients send these raw, and nobody reads them in two ways.
        if b.is_ascii_graphic() && b != b'#' {
            table[i] |= QUERY;
            if !matches!(b, b'<' | b'>' | b'`' | b'?') {
                table[i] |= PATH;
            }
        }
        i += 1;
    }
    table
}

fn is(class: u8, byte: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|c| c & class != 0)
}

fn run(class: u8, bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !is(class, b)).unwrap_or(bytes.len())
}

fn all(class: u8, bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| is(class, b))
}

/// Whether `bytes` are a token (RFC 9110, section 5.6.2), which is never empty.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(TOKEN, bytes)
}

/// Whether `byte` may begin a token.
pub(super) fn begins_token(byte: u8) -> bool {
    is(TOKEN, byte)
}

/// Whether `bytes` are upper-case letters, digits, `-` and `_` only.
pub(super) fn is_plain_method(bytes: &[u8]) -> bool {
    all(METHOD, bytes)
}

/// Whether `bytes` hold only what a path may hold.
pub(super) fn is_path(bytes: &[u8]) -> bool {
    all(PATH, bytes)
}

/// Whether `bytes` hold only what a query may hold.
pub(super) fn is_query(bytes: &[u8]) -> bool {
    all(QUERY, bytes)
}

/// Whether `bytes` hold only what a host with a port may hold, and at least something.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(HOST, bytes)
}

/// Whether `bytes` may be a field value: no control bytes but tabs.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    value_run(bytes) == bytes.len()
}

/// How many bytes from the front may stand in a field value (RFC 9110, section 5.5: tab, space, visible,
/// obs-text).
pub(super) fn value_run(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        at += printable_run(rest);
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
}

/// How many bytes from the front are neither below 0x20 nor 0x7f.
fn printable_run(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let controls = controls(u64::from_le_bytes(*word));
        if controls != 0 {
            return i * 8 + (controls.trailing_zeros() / 8) as usize;
        }
    }
    let in_tail = tail.iter().position(|&b| b < 0x20 || b == 0x7f).unwrap_or(tail.len());
    words.len() * 8 + in_tail
}

/// The high bit of each byte that is a control byte. A borrow may mark bytes above the lowest one that is
/// marked, never that one.
fn controls(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let delete = delete.wrapping_sub(ONES) & !delete;
    (low | delete) & (ONES * 0x80)
}

/// A line of a field section; offsets count from its front.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// `name: value`; optional white space around the value is left out.
    Field { name: usize, value: (usize, usize), end: usize },
    /// The empty line that ends the section.
    Empty,
    /// Its end is not there yet.
    Partial,
}

/// Reads the line at the front of `bytes` (RFC 9112, section 5).
pub(super) fn field_line(bytes: &[u8]) -> Result<Line, HeadError> {
    let name = run(TOKEN, bytes);
    match bytes.get(name) {
        Some(b':') if name > 0 => {}
        None => return Ok(Line::Partial),
        Some(b'\r') if name == 0 => return empty_line(bytes),
        Some(b' ' | b'\t') if name == 0 => return Err(HeadError::Fold),
        Some(b'\n') if name == 0 => return Err(HeadError::LineEnd),
        Some(_) => return Err(HeadError::FieldName),
    }
    let text = bytes.get(name + 1..).unwrap_or_default();
    let long = value_run(text);
    match (text.get(long), text.get(long + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (None, _) | (Some(b'\r'), None) => return Ok(Line::Partial),
        (Some(b'\r' | b'\n'), _) => return Err(HeadError::LineEnd),
        _ => return Err(HeadError::FieldValue),
    }
    let (from, to) = trimmed(text.get(..long).unwrap_or_default());
    Ok(Line::Field { name, value: (name + 1 + from, name + 1 + to), end: name + 1 + long + 2 })
}

fn empty_line(bytes: &[u8]) -> Result<Line, HeadError> {
    match bytes.get(1) {
        None => Ok(Line::Partial),
        Some(b'\n') => Ok(Line::Empty),
        Some(_) => Err(HeadError::LineEnd),
    }
}

/// Where a value begins and ends without the optional white space around it.
fn trimmed(text: &[u8]) -> (usize, usize) {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let from = text.iter().position(|b| !blank(b)).unwrap_or(text.len());
    let to = text.iter().rposition(|b| !blank(b)).map_or(from, |i| i + 1);
    (from, to)
}

/// `text` without the optional white space around it.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let (from, to) = trimmed(text);
    text.get(from..to).unwrap_or_default()
}

/// The elements of a comma-separated list (RFC 9110, section 5.6.1), empty ones left out.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HeadError, Line, field_line, value_run};

    proptest! {
        #[test]
        fn a_value_run_ends_where_a_slow_look_says(bytes in prop::collection::vec(any::<u8>(), 0..40),
                                                    plain in 0usize..30) {
            let mut text = vec![b'a'; plain];
            text.extend(bytes);
            let slow = text.iter().position(|&b| b != b'\t' && (b < 0x20 || b == 0x7f));
            prop_assert_eq!(value_run(&text), slow.unwrap_or(text.len()));
        }
    }

    #[test]
    fn a_field_line_is_cut_into_name_and_value() {
        let line = field_line(b"Host: \t a b \t\r\nrest");
        assert_eq!(line, Ok(Line::Field { name: 4, value: (8, 11), end: 15 }));
        assert_eq!(field_line(b"a:\r\n"), Ok(Line::Field { name: 1, value: (2, 2), end: 4 }));
        assert_eq!(field_line(b"a: \r\n"), Ok(Line::Field { name: 1, value: (3, 3), end: 5 }));
        assert_eq!(field_line(b"\r\n"), Ok(Line::Empty));
    }

    #[test]
    fn a7_a_bare_line_feed_ends_no_line() {
        assert_eq!(field_line(b"a: b\nc: d\r\n"), Err(HeadError::LineEnd));
        assert_eq!(field_line(b"\nc: d\r\n"), Err(HeadError::LineEnd));
    }

    #[test]
    fn a5_a_name_is_a_token_right_before_its_colon() {
        assert_eq!(field_line(b"a : b\r\n"), Err(HeadError::FieldName));
        assert_eq!(field_line(b": b\r\n"), Err(HeadError::FieldName));
        assert_eq!(field_line(b"a\0: b\r\n"), Err(HeadError::FieldName));
        assert_eq!(field_line(b"a: b\0\r\n"), Err(HeadError::FieldValue));
        assert_eq!(field_line(b"a: b\rc\r\n"), Err(HeadError::LineEnd));
    }

    #[test]
    fn a6_a_continuation_line_is_refused() {
        assert_eq!(field_line(b" folded\r\n"), Err(HeadError::Fold));
        assert_eq!(field_line(b"\tfolded\r\n"), Err(HeadError::Fold));
    }
}
