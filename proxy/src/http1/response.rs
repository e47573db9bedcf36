//! Reads the head of a response (RFC 9112, sections 4, 6 and 9).
//!
//! Decided here: status, how the body is framed given the request that is answered, and whether the
//! connection lives on. How many interim answers are borne is the caller's decision.

use super::facts::{CHUNKED, UPGRADE, WEBSOCKET};
use super::fields::{FieldsView, offset, span};
use super::scan::is_value;
use super::section::{Kind, Section};
use super::{Framing, HeadError, Limits, Method, Parse, Version};

/// The head of a response; as [`RequestHead`](super::RequestHead), it is used again and again.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub(super) section: Section,
    pub(super) line: StatusLine,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct StatusLine {
    pub(super) at: u32,
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: (u32, u32),
}

impl ResponseHead {
    /// Scratch for heads within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { section: Section::new(limits), line: StatusLine::default() }
    }

    /// Reads the head at the front of `input`, as [`RequestHead::parse`](super::RequestHead::parse) does.
    ///
    /// # Errors
    /// When the bytes are no acceptable head; the client gets 502.
    pub fn parse(&mut self, input: &[u8]) -> Result<Parse, HeadError> {
        self.section.parse(input, &mut self.line)
    }

    /// Makes it ready for the next head.
    pub fn clear(&mut self) {
        self.section.clear();
        self.line = StatusLine::default();
    }

    /// Whether bytes of a head were seen.
    pub fn is_begun(&self) -> bool {
        self.section.is_begun()
    }

    /// The head together with the bytes that it was read from (or a copy of them).
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> Response<'a> {
        Response { head: self, bytes }
    }
}

/// A complete head of a response and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    pub(super) head: &'a ResponseHead,
    pub(super) bytes: &'a [u8],
}

impl<'a> Response<'a> {
    /// How many bytes the head has, up to and with its empty line.
    pub fn head_len(self) -> usize {
        self.head.section.len()
    }

    /// The status, 100 to 999. Below 200 another head follows, except after 101.
    pub fn status(self) -> u16 {
        self.head.line.status
    }

    /// The reason phrase, which means nothing.
    pub fn reason(self) -> &'a [u8] {
        span(self.bytes, self.head.line.reason.0, self.head.line.reason.1)
    }

    /// The version that the upstream speaks.
    pub fn version(self) -> Version {
        self.head.line.version
    }

    /// The fields.
    pub fn fields(self) -> FieldsView<'a> {
        self.head.section.fields.view(self.bytes)
    }

    /// The `Content-Length` field, which frames no body when [`Response::framing`] says `None`.
    pub fn content_length(self) -> Option<u64> {
        self.head.section.facts.length
    }

    /// Whether this is an interim answer, after which another head follows (RFC 9110, section 15.2). 101 is
    /// none: nothing of HTTP/1.1 follows it.
    pub fn is_interim(self) -> bool {
        self.status() < 200 && self.status() != 101
    }

    /// How the body of an answer to `method` is framed (RFC 9112, section 6.3). `websocket` says that the
    /// request asked for it; then, and only then, 101 makes a tunnel.
    ///
    /// # Errors
    /// 101 to a request that did not ask, or to another protocol.
    pub fn framing(self, method: Method, websocket: bool) -> Result<Framing, HeadError> {
        let facts = self.head.section.facts;
        let asked = websocket && facts.has(WEBSOCKET) && facts.has(UPGRADE);
        Ok(match self.status() {
            101 if asked => Framing::Tunnel,
            101 => return Err(HeadError::UnaskedSwitch),
            ..200 | 204 | 304 => Framing::None,
            _ if method == Method::Head => Framing::None,
            200..300 if method == Method::Connect => Framing::Tunnel,
            _ if facts.has(CHUNKED) => Framing::Chunked,
            _ => match facts.length {
                Some(0) => Framing::None,
                Some(length) => Framing::Length(length),
                None => Framing::UntilClose,
            },
        })
    }

    /// Whether the upstream will use the connection again, as far as the head says. A body that ends with
    /// the connection, a tunnel, and bytes behind the body ([`Framing`], cases.md A15) end it too.
    pub fn is_persistent(self) -> bool {
        self.head.section.facts.persistent(self.version() == Version::Http10)
    }
}

impl Kind for StatusLine {
    const START_TOO_LONG: HeadError = HeadError::TooLarge;
    const NO_START: HeadError = HeadError::StatusLine;
    const BLANK_LINES: u8 = 0;

    fn start_line(&mut self, line: &[u8], at: usize) -> Result<(), HeadError> {
        let (version, rest) = line.split_at_checked(8).ok_or(HeadError::StatusLine)?;
        self.at = offset(at);
        self.version = Version::parse(version, HeadError::StatusLine)?;
        let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else {
            return Err(HeadError::StatusLine);
        };
        self.status = [a, b, c].into_iter().fold(0, |sum, d| sum * 10 + u16::from(d - b'0'));
        let end = offset(at + line.len());
        self.reason = (end - offset(reason.len().saturating_sub(1)), end);
        match reason {
            // Some servers leave out the space when there is no reason.
            [] => Ok(()),
            [b' ', text @ ..] if is_value(text) => Ok(()),
            _ => Err(HeadError::StatusLine),
        }
    }

    fn finish(&mut self, section: &Section, _: &[u8]) -> Result<(), HeadError> {
        section.facts.check_framing(self.version == Version::Http10)
    }
}
