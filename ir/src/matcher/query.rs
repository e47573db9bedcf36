//! Query parameters: pairs between `&`, with `+` for a space and escapes decoded once.
//!
//! Gateway API asks for exact strings and leaves the encoding open. Names and values are compared as what
//! they mean (WHATWG URL, `application/x-www-form-urlencoded`), since the same request may spell them in
//! many ways. An escape without two digits stands for itself. The first parameter of a name counts.

use std::borrow::Cow;

use crate::normalize::hex;

/// The first value of `name`, still encoded; empty when there is no `=`.
pub(super) fn first<'q>(query: &'q [u8], name: &str) -> Option<&'q [u8]> {
    query.split(|&b| b == b'&').find_map(|pair| {
        let (key, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (pair.get(..at)?, pair.get(at + 1..)?),
            None => (pair, &[][..]),
        };
        Decoded(key).eq(name.bytes()).then_some(value)
    })
}

/// Whether an encoded value means `text`.
pub(super) fn means(encoded: &[u8], text: &str) -> bool {
    Decoded(encoded).eq(text.bytes())
}

/// What an encoded value means.
pub(super) fn decode(encoded: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr2(b'%', b'+', encoded) {
        Some(_) => Cow::Owned(Decoded(encoded).collect()),
        None => Cow::Borrowed(encoded),
    }
}

/// The bytes that an encoded text stands for.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        let (byte, rest) = match (first, rest) {
            (b'+', _) => (b' ', rest),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (first, rest),
            },
            _ => (first, rest),
        };
        self.0 = rest;
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, first, means};

    #[test]
    fn the_first_value_of_a_name_counts() {
        assert_eq!(first(b"a=1&b=2&a=3", "a"), Some(&b"1"[..]));
        assert_eq!(first(b"a=1&b=2&a=3", "b"), Some(&b"2"[..]));
        assert_eq!(first(b"A=1&aa=2&&=", "a"), None);
        assert_eq!(first(b"flag&x", "flag"), Some(&b""[..]));
        assert_eq!(first(b"a=b=c", "a"), Some(&b"b=c"[..]));
        assert_eq!(first(b"%61%5b%5D=1", "a[]"), Some(&b"1"[..]));
    }

    #[test]
    fn values_are_decoded_once() {
        assert!(means(b"a%20b+c", "a b c"));
        assert!(means(b"%252f", "%2f"));
        assert!(means(b"100%&", "100%&"));
        assert!(means(b"%zz%1", "%zz%1"));
        assert!(!means(b"a", "ab"));
        assert_eq!(&*decode(b"%ff%00+"), b"\xff\0 ");
    }
}
