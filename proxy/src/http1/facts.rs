//! What single fields say about the message and the connection, gathered while they are scanned.
//!
//! Decided here, from name and value: how the body is framed, whether the connection lives on, what is
//! expected or asked for. What needs the start line too is decided by the request and the response.

use super::HeadError;
use super::name::Known;
use super::scan::list;

/// Facts of one head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Facts {
    pub(super) length: Option<u64>,
    /// The field that is the only `Host`.
    pub(super) host: Option<u16>,
    flags: u16,
}

/// `Transfer-Encoding: chunked`.
pub(super) const CHUNKED: u16 = 1;
/// `Connection: close`.
pub(super) const CLOSE: u16 = 1 << 1;
/// `Connection: keep-alive`.
pub(super) const KEEP_ALIVE: u16 = 1 << 2;
/// `Connection: upgrade`.
pub(super) const UPGRADE: u16 = 1 << 3;
/// A `Connection` option that names a field.
pub(super) const NOMINATES: u16 = 1 << 4;
/// `Expect: 100-continue`.
pub(super) const CONTINUE: u16 = 1 << 5;
/// `Upgrade: websocket` and nothing else.
pub(super) const WEBSOCKET: u16 = 1 << 6;
/// An `Upgrade` of something else.
pub(super) const OTHER_PROTOCOL: u16 = 1 << 7;
/// `TE: trailers`.
pub(super) const TE_TRAILERS: u16 = 1 << 8;

impl Facts {
    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn mark(&mut self, flag: u16) {
        self.flags |= flag;
    }

    /// Takes in field number `index`.
    #[inline]
    pub(super) fn note(&mut self, index: usize, known: Known, value: &[u8]) -> Result<(), HeadError> {
        match known {
            Known::Host => self.host(index),
            Known::ContentLength => self.content_length(value),
            Known::TransferEncoding => self.transfer_encoding(value),
            Known::Connection => {
                list(value).for_each(|option| self.mark(connection_option(option)));
                Ok(())
            }
            Known::Expect => self.expect(value),
            Known::Upgrade => {
                self.upgrade(value);
                Ok(())
            }
            Known::Te => {
                if list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers")) {
                    self.mark(TE_TRAILERS);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether the framing is said once and in a way that the version has (RFC 9112, section 6.1).
    pub(super) fn check_framing(self, http10: bool) -> Result<(), HeadError> {
        if !self.has(CHUNKED) {
            return Ok(());
        }
        if self.length.is_some() {
            return Err(HeadError::LengthAndEncoding);
        }
        if http10 { Err(HeadError::EncodingInHttp10) } else { Ok(()) }
    }

    /// Whether the connection may be used again, as far as the fields say (RFC 9112, section 9.3).
    pub(super) fn persistent(self, http10: bool) -> bool {
        !self.has(CLOSE) && (!http10 || self.has(KEEP_ALIVE))
    }

    fn host(&mut self, index: usize) -> Result<(), HeadError> {
        if self.host.is_some() {
            return Err(HeadError::HostRepeated);
        }
        self.host = u16::try_from(index).ok();
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.length.is_some() {
            return Err(HeadError::LengthRepeated);
        }
        self.length = Some(decimal(value).ok_or(HeadError::LengthInvalid)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.has(CHUNKED) {
            return Err(HeadError::EncodingRepeated);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.mark(CHUNKED);
            return Ok(());
        }
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let once = list(value).filter(|coding| is_chunked(coding)).count() == 1;
        let last = list(value).last().is_some_and(is_chunked);
        let others = list(value).count() > 1;
        let unknown = once && last && others;
        Err(if unknown { HeadError::EncodingUnsupported } else { HeadError::EncodingInvalid })
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(HeadError::Expectation);
        }
        self.mark(CONTINUE);
        Ok(())
    }

    fn upgrade(&mut self, value: &[u8]) {
        let websocket = value.eq_ignore_ascii_case(b"websocket");
        self.mark(if websocket { WEBSOCKET } else { OTHER_PROTOCOL });
    }
}

/// Options that are about the connection itself mean nothing for fields; each other one nominates a field.
fn connection_option(option: &[u8]) -> u16 {
    if option.eq_ignore_ascii_case(b"close") {
        CLOSE
    } else if option.eq_ignore_ascii_case(b"keep-alive") {
        KEEP_ALIVE
    } else if option.eq_ignore_ascii_case(b"upgrade") {
        UPGRADE
    } else {
        NOMINATES
    }
}

/// A decimal number as `Content-Length` has it: digits only, no leading zero, and no more than what a
/// neighbour that counts in signed 64 bits can hold.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || (value.len() > 1 && value.first() == Some(&b'0')) {
        return None;
    }
    let number = value.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::{Facts, HeadError, Known, decimal};

    #[test]
    fn a3_a_length_is_digits_without_a_leading_zero() {
        for good in ["0", "5", "10", "9223372036854775807"] {
            assert_eq!(decimal(good.as_bytes()), good.parse().ok(), "{good}");
        }
        for bad in [
            "",
            "+5",
            "-1",
            "00",
            "05",
            "5 5",
            "0x5",
            "5,5",
            "9223372036854775808",
            "18446744073709551616",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a4_only_chunked_once_is_a_transfer_coding() {
        let note = |value: &str| Facts::default().note(0, Known::TransferEncoding, value.as_bytes());
        assert_eq!(note("chunked"), Ok(()));
        assert_eq!(note("Chunked"), Ok(()));
        assert_eq!(note("gzip, chunked"), Err(HeadError::EncodingUnsupported));
        for bad in
            ["", "xchunked", "chunked, identity", "chunked, chunked", "identity", "gzip", ",chunked"]
        {
            assert_eq!(note(bad), Err(HeadError::EncodingInvalid), "{bad}");
        }
    }
}
