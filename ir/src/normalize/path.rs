//! The normal form of a path: one spelling for each path, decided from its bytes alone.
//!
//! A normal path begins with `/`, has no empty element but the last and no dot segment, and consists of
//! characters that RFC 3986, section 3.3, allows: unreserved ones bare, everything else that is no
//! delimiter as an escape with upper-case digits. Bytes from 0x80 up are escaped whether or not they are
//! UTF-8, which nothing here asks: matching is on bytes, so there is no charset to disagree about.
//! Only what another reader could take for a separator or a dot segment is refused.

use std::borrow::Cow;

/// Why a path is refused. The request gets 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPath {
    /// It does not begin with a slash.
    #[error("a path must begin with '/'")]
    Relative,
    /// `%` without two hexadecimal digits.
    #[error("'%' is not followed by two hexadecimal digits")]
    Escape,
    /// `%00`.
    #[error("'%00' is not allowed in a path")]
    Nul,
    /// `%2F` or `%5C`: backends differ on whether it separates elements.
    #[error("an escaped slash or backslash is not allowed in a path")]
    EscapedSlash,
    /// `\`: some backends take it for a slash.
    #[error("a backslash is not allowed in a path")]
    Backslash,
    /// `#` or `?`, which end a path.
    #[error("'#' and '?' are not part of a path")]
    Delimiter,
    /// A control character or a space.
    #[error("a control character or space is not allowed in a path")]
    Control,
    /// A longer encoding of a character than UTF-8 allows, by which filters are evaded.
    #[error("an overlong UTF-8 sequence is not allowed in a path")]
    Overlong,
    /// `..` where no element is left to remove.
    #[error("'..' leads above the root")]
    AboveRoot,
    /// `.;x` or `..;x`, which some backends resolve and others do not.
    #[error("a dot segment with parameters is not allowed in a path")]
    DotParameters,
}

/// What a byte of a path is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// RFC 3986 `unreserved`: bare, and never as an escape.
    Unreserved,
    /// The rest of `pchar`: as it came, bare or escaped.
    Reserved,
    /// `/`.
    Slash,
    /// `%`.
    Percent,
    /// Not allowed bare by RFC 3986, and harmless: escaped.
    Encode,
    /// A reason to refuse, bare.
    Refuse(BadPath),
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Encode; 256];
    let mut i = 0;
    #[allow(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "evaluated by the compiler, with i below 256"
    )]
    while i < 256 {
        table[i] = classify(i as u8);
        i += 1;
    }
    table
};

const fn classify(byte: u8) -> Class {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
            Class::Reserved
        }
        b'/' => Class::Slash,
        b'%' => Class::Percent,
        b'\\' => Class::Refuse(BadPath::Backslash),
        b'#' | b'?' => Class::Refuse(BadPath::Delimiter),
        0..=b' ' | 0x7f => Class::Refuse(BadPath::Control),
        _ => Class::Encode,
    }
}

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Encode)
}

/// The normal form of `raw`, a path without query. It is borrowed when `raw` is normal already.
///
/// Empty elements are dropped first (`/a//../b` is `/b`), then dot segments are resolved, also escaped
/// ones. A trailing slash stays, and so does the case of letters: `/a/`, `/a` and `/A` are three paths. Escapes are decoded once, and only those
/// of unreserved characters; `%252F` therefore stays as it is. The result is its own normal form.
///
/// # Errors
/// See [`BadPath`].
///
/// ```
/// use isthmus_ir::normalize::path;
/// assert_eq!(&*path(b"/a/./b//%7ec/../d%2c").unwrap(), b"/a/b/d%2C");
/// assert!(path(b"/a%2f../b").is_err());
/// ```
pub fn path(raw: &[u8]) -> Result<Cow<'_, [u8]>, BadPath> {
    if is_plain(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let built = rebuild(raw)?;
    Ok(if built == raw { Cow::Borrowed(raw) } else { Cow::Owned(built) })
}

/// Whether `raw` is normal, seen at a glance: nothing is escaped and no element is empty or begins with
/// a dot. A normal path may fail this, and is then found normal by being rebuilt.
fn is_plain(raw: &[u8]) -> bool {
    let Some((b'/', rest)) = raw.split_first() else { return false };
    let mut previous = b'/';
    rest.iter().all(|&byte| {
        let plain = match class(byte) {
            Class::Unreserved => byte != b'.' || previous != b'/',
            Class::Reserved => true,
            Class::Slash => previous != b'/',
            Class::Percent | Class::Encode | Class::Refuse(_) => false,
        };
        previous = byte;
        plain
    })
}

fn rebuild(raw: &[u8]) -> Result<Vec<u8>, BadPath> {
    let relative = raw.strip_prefix(b"/").ok_or(BadPath::Relative)?;
    let mut out = Vec::with_capacity(raw.len() + 16);
    let mut elements = relative.split(|&b| b == b'/').peekable();
    while let Some(element) = elements.next() {
        let last = elements.peek().is_none();
        let start = out.len();
        out.push(b'/');
        append(element, &mut out)?;
        let kept = match out.get(start + 1..).unwrap_or_default() {
            b"" | b"." => start,
            b".." => parent(&out, start)?,
            other if has_dot_parameters(other) => return Err(BadPath::DotParameters),
            _ => continue,
        };
        out.truncate(kept);
        if last {
            out.push(b'/');
        }
    }
    Ok(out)
}

/// Where the element before `end` begins, its slash included.
fn parent(out: &[u8], end: usize) -> Result<usize, BadPath> {
    memchr::memrchr(b'/', out.get(..end).unwrap_or_default()).ok_or(BadPath::AboveRoot)
}

fn has_dot_parameters(element: &[u8]) -> bool {
    let rest = element.strip_prefix(b"..").or_else(|| element.strip_prefix(b"."));
    rest.is_some_and(|rest| rest.starts_with(b";") || rest.starts_with(b"%3B"))
}

/// Appends the normal spelling of one element.
fn append(element: &[u8], out: &mut Vec<u8>) -> Result<(), BadPath> {
    let mut bytes = element.iter().copied();
    let mut previous = 0;
    while let Some(byte) = bytes.next() {
        let meant = match class(byte) {
            Class::Unreserved | Class::Reserved | Class::Slash => {
                out.push(byte);
                byte
            }
            Class::Encode => {
                escape(byte, out);
                byte
            }
            Class::Percent => {
                let meant = unescape(bytes.next(), bytes.next()).ok_or(BadPath::Escape)?;
                append_escaped(meant, out)?;
                meant
            }
            Class::Refuse(why) => return Err(why),
        };
        if is_overlong(previous, meant) {
            return Err(BadPath::Overlong);
        }
        previous = meant;
    }
    Ok(())
}

/// Appends the byte that an escape stands for, bare where it has no need of the escape.
fn append_escaped(meant: u8, out: &mut Vec<u8>) -> Result<(), BadPath> {
    match (class(meant), meant) {
        (Class::Unreserved, _) => out.push(meant),
        (_, 0) => return Err(BadPath::Nul),
        (_, b'/' | b'\\') => return Err(BadPath::EscapedSlash),
        _ => escape(meant, out),
    }
    Ok(())
}

/// Whether these two bytes begin a UTF-8 sequence that is longer than its character needs (Unicode,
/// table 3-7).
fn is_overlong(first: u8, second: u8) -> bool {
    matches!((first, second), (0xc0 | 0xc1, 0x80..=0xbf) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f))
}

fn unescape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    Some(super::hex(high?)? << 4 | super::hex(low?)?)
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'A' + n - 10 };
    out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
}
