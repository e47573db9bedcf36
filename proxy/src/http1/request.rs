//! Reads the head of a request (RFC 9112, sections 3, 6 and 9).
//!
//! Decided here: method, form of the target, whose authority counts, how the body is framed, and what the
//! request asks of the connection. Paths and hosts are cut out here and normalised in `isthmus_ir`.

use memchr::memchr;

use super::facts::{CHUNKED, CONTINUE, TE_TRAILERS, UPGRADE, WEBSOCKET};
use super::fields::{FieldsView, offset, span};
use super::scan::{is_host, is_path, is_plain_method, is_query, is_token};
use super::section::{Kind, Section};
use super::{Framing, HeadError, Limits, Method, Parse, Version};

/// The longest registered method has 17 letters.
const METHOD_LEN: usize = 32;

/// The head of a request: where things stand in the buffer that it was read from. It is made once for a
/// connection and used again for each request, so that nothing is allocated.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(super) section: Section,
    pub(super) line: RequestLine,
}

/// Offsets count from the front of the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct RequestLine {
    pub(super) at: u32,
    pub(super) method: Method,
    pub(super) method_len: u32,
    pub(super) target_len: u32,
    pub(super) version: Version,
    pub(super) form: TargetForm,
    /// Of an absolute or authority form.
    pub(super) authority: (u32, u32),
    /// Empty when an absolute form has none.
    pub(super) path: (u32, u32),
    /// With its question mark.
    pub(super) query: (u32, u32),
}

/// The four forms of a request target (RFC 9112, section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, of CONNECT only.
    Authority,
    /// `*`, of OPTIONS only.
    Asterisk,
}

impl RequestHead {
    /// Scratch for heads within `limits`.
    pub fn new(limits: Limits) -> Self {
        Self { section: Section::new(limits), line: RequestLine::default() }
    }

    /// Reads the head at the front of `input`. After [`Parse::Partial`] it is called again with the same
    /// bytes and more behind them (the buffer may have moved), and goes on where it stopped. A complete or
    /// refused head stays so until [`RequestHead::clear`].
    ///
    /// # Errors
    /// When the bytes are no acceptable head, whatever may follow.
    pub fn parse(&mut self, input: &[u8]) -> Result<Parse, HeadError> {
        self.section.parse(input, &mut self.line)
    }

    /// Makes it ready for the next head.
    pub fn clear(&mut self) {
        self.section.clear();
        self.line = RequestLine::default();
    }

    /// Whether bytes of a head were seen, which then is not complete: such a connection is not idle.
    pub fn is_begun(&self) -> bool {
        self.section.is_begun()
    }

    /// The head together with the bytes that it was read from (or a copy of them).
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> Request<'a> {
        Request { head: self, bytes }
    }
}

/// A complete head of a request and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// How many bytes the head has, up to and with its empty line.
    pub fn head_len(self) -> usize {
        self.head.section.len()
    }

    /// The method.
    pub fn method(self) -> Method {
        self.head.line.method
    }

    /// The method's bytes: upper-case letters, digits, `-` and `_`.
    pub fn method_bytes(self) -> &'a [u8] {
        let line = &self.head.line;
        span(self.bytes, line.at, line.at.saturating_add(line.method_len))
    }

    /// The version that the client speaks.
    pub fn version(self) -> Version {
        self.head.line.version
    }

    /// The target as it was sent.
    pub fn target(self) -> &'a [u8] {
        let line = &self.head.line;
        let from = line.at.saturating_add(line.method_len).saturating_add(1);
        span(self.bytes, from, from.saturating_add(line.target_len))
    }

    /// The form of the target.
    pub fn form(self) -> TargetForm {
        self.head.line.form
    }

    /// The raw path: begins with `/`, or is `*` (asterisk form), or empty (CONNECT).
    pub fn path(self) -> &'a [u8] {
        let (from, to) = self.head.line.path;
        match self.form() {
            // RFC 9112, section 3.2.4: an absolute form without path stands for the whole server.
            TargetForm::Absolute
                if from == to && self.method() == Method::Options && !self.has_query() =>
            {
                b"*"
            }
            TargetForm::Absolute if from == to => b"/",
            _ => span(self.bytes, from, to),
        }
    }

    /// The raw query, without its question mark.
    pub fn query(self) -> Option<&'a [u8]> {
        span(self.bytes, self.head.line.query.0, self.head.line.query.1).strip_prefix(b"?")
    }

    /// Whom the request is for: the target's authority when it has one, else the `Host` field (RFC 9112,
    /// section 3.3; cases.md A11). None only in HTTP/1.0. Its bytes are plausible, not normalised.
    pub fn authority(self) -> Option<&'a [u8]> {
        let (from, to) = self.head.line.authority;
        if from < to {
            return Some(span(self.bytes, from, to));
        }
        let host = self.fields().raw().get(usize::from(self.head.section.facts.host?))?;
        Some(self.fields().value(host))
    }

    /// The fields.
    pub fn fields(self) -> FieldsView<'a> {
        self.head.section.fields.view(self.bytes)
    }

    /// How the body is framed (RFC 9112, section 6.3): [`Framing::None`], `Length` or `Chunked`.
    pub fn framing(self) -> Framing {
        let facts = self.head.section.facts;
        if facts.has(CHUNKED) {
            return Framing::Chunked;
        }
        facts.length.filter(|&n| n > 0).map_or(Framing::None, Framing::Length)
    }

    /// The `Content-Length` field.
    pub fn content_length(self) -> Option<u64> {
        self.head.section.facts.length
    }

    /// Whether the client will use the connection again after this request.
    pub fn is_persistent(self) -> bool {
        self.head.section.facts.persistent(self.version() == Version::Http10)
    }

    /// Whether the client waits for 100 before it sends the body (RFC 9110, section 10.1.1).
    pub fn expects_continue(self) -> bool {
        self.head.section.facts.has(CONTINUE)
            && self.version() == Version::Http11
            && self.framing() != Framing::None
    }

    /// Whether the request asks for WebSocket (RFC 6455, section 4.1) and nothing else. What follows the
    /// head is not to be forwarded before the upstream answered 101 (cases.md A9). Every other upgrade,
    /// h2c above all, is ignored and not forwarded.
    pub fn is_websocket(self) -> bool {
        let facts = self.head.section.facts;
        facts.has(WEBSOCKET)
            && facts.has(UPGRADE)
            && self.version() == Version::Http11
            && self.method() == Method::Get
            && self.framing() == Framing::None
            && self.fields().all(super::Known::Upgrade.into()).count() == 1
    }

    /// Whether the client takes trailers (`TE: trailers`).
    pub fn takes_trailers(self) -> bool {
        self.head.section.facts.has(TE_TRAILERS)
    }

    fn has_query(self) -> bool {
        self.head.line.query.0 < self.head.line.query.1
    }
}

impl Kind for RequestLine {
    const START_TOO_LONG: HeadError = HeadError::TargetTooLong;
    const NO_START: HeadError = HeadError::RequestLine;
    /// RFC 9112, section 2.2 asks for one at least; some clients end a body with CR LF.
    const BLANK_LINES: u8 = 2;

    fn start_line(&mut self, line: &[u8], at: usize) -> Result<(), HeadError> {
        let method_len = memchr(b' ', line).ok_or(HeadError::RequestLine)?;
        let (method, rest) = line.split_at_checked(method_len).ok_or(HeadError::RequestLine)?;
        let rest = rest.get(1..).unwrap_or_default();
        let target_len = memchr(b' ', rest).ok_or(HeadError::RequestLine)?;
        let (target, version) = rest.split_at_checked(target_len).ok_or(HeadError::RequestLine)?;
        self.at = offset(at);
        self.method_len = offset(method_len);
        self.target_len = offset(target_len);
        self.version = Version::parse(version.get(1..).unwrap_or_default(), HeadError::RequestLine)?;
        self.method = known_method(method)?;
        self.target(target, offset(at + method_len + 1))
    }

    fn finish(&mut self, section: &Section, bytes: &[u8]) -> Result<(), HeadError> {
        let facts = &section.facts;
        facts.check_framing(self.version == Version::Http10)?;
        if self.method == Method::Connect && (facts.has(CHUNKED) || facts.length.is_some_and(|n| n > 0))
        {
            return Err(HeadError::ConnectContent);
        }
        let fields = section.fields.view(bytes);
        match facts.host.and_then(|index| fields.raw().get(usize::from(index))) {
            Some(host) if is_host(fields.value(host)) => Ok(()),
            Some(_) => Err(HeadError::HostInvalid),
            None if self.version == Version::Http10 => Ok(()),
            None => Err(HeadError::HostMissing),
        }
    }
}

fn known_method(method: &[u8]) -> Result<Method, HeadError> {
    if !is_token(method) {
        return Err(HeadError::RequestLine);
    }
    if method.len() > METHOD_LEN || !is_plain_method(method) {
        return Err(HeadError::Method);
    }
    Ok(Method::of(method))
}

impl RequestLine {
    /// Reads the target, which begins at `at`.
    fn target(&mut self, target: &[u8], at: u32) -> Result<(), HeadError> {
        if memchr(b'#', target).is_some() {
            return Err(HeadError::Fragment);
        }
        if self.method == Method::Connect {
            return self.authority_form(target, at);
        }
        match target {
            [b'/', ..] => self.path_and_query(target, at),
            b"*" if self.method == Method::Options => {
                self.form = TargetForm::Asterisk;
                self.path = (at, at.saturating_add(1));
                Ok(())
            }
            _ => self.absolute_form(target, at),
        }
    }

    fn path_and_query(&mut self, text: &[u8], at: u32) -> Result<(), HeadError> {
        let (path, query) = text.split_at(memchr(b'?', text).unwrap_or(text.len()));
        if !is_path(path) || !is_query(query) {
            return Err(HeadError::Target);
        }
        let middle = at.saturating_add(offset(path.len()));
        self.path = (at, middle);
        self.query = (middle, middle.saturating_add(offset(query.len())));
        Ok(())
    }

    fn authority_form(&mut self, target: &[u8], at: u32) -> Result<(), HeadError> {
        let colon = target.iter().rposition(|&b| b == b':').ok_or(HeadError::Target)?;
        let (host, port) = target.split_at(colon);
        let port = port.get(1..).unwrap_or_default();
        if !is_host(host) || port.is_empty() || !port.iter().all(u8::is_ascii_digit) {
            return Err(HeadError::Target);
        }
        self.form = TargetForm::Authority;
        self.authority = (at, at.saturating_add(offset(target.len())));
        Ok(())
    }

    fn absolute_form(&mut self, target: &[u8], at: u32) -> Result<(), HeadError> {
        let skip = scheme_len(target).ok_or(HeadError::Target)?;
        let rest = target.get(skip..).unwrap_or_default();
        let (authority, path) =
            rest.split_at(rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len()));
        if !is_host(authority) {
            return Err(HeadError::HostInvalid);
        }
        let from = at.saturating_add(offset(skip));
        let to = from.saturating_add(offset(authority.len()));
        self.form = TargetForm::Absolute;
        self.authority = (from, to);
        self.path_and_query(path, to)
    }
}

/// The length of `http://` or `https://` at the front.
fn scheme_len(target: &[u8]) -> Option<usize> {
    [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| {
            target.get(..scheme.len()).is_some_and(|front| front.eq_ignore_ascii_case(scheme))
        })
        .map(<[u8]>::len)
}
