//! Writes a head that was read here for the next hop, with edits.
//!
//! Runs of lines that nobody edits are copied at once; a head that needs no edit is one copy. Fields about
//! the one connection stay behind (RFC 9110, section 7.6.1), and a client's `Connection` options cannot
//! take away what is end to end (cases.md B13). No value with a control byte gets out (cases.md A14).

use super::facts::{CHUNKED, NOMINATES};
use super::fields::{FieldView, FieldsView, offset, span};
use super::name::{FieldName, HOP_BY_HOP, Known, may_be_nominated};
use super::scan::{is_query, is_value};
use super::{Request, Response, TargetForm, Version};

/// Edits of one head: which of its lines are dropped, and which are added. It is used again and again.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// One bit a field; heads have at most 256.
    dropped: [u64; 4],
    /// Lines to add, as they are written.
    text: Vec<u8>,
    added: Vec<Added>,
    option: Persistence,
}

#[derive(Clone, Copy, Debug)]
struct Added {
    known: Known,
    name_len: u32,
    from: u32,
    to: u32,
}

/// How the forwarded message frames its body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyCoding {
    /// As the message did.
    Same,
    /// Chunked, whatever it was.
    Chunked,
    /// This length, whatever it was.
    Length(u64),
    /// Nothing says where it ends: there is none, or it ends with the connection.
    Unframed,
    /// There is none, and a `Content-Length` says how long it would be (HEAD, 304).
    Described,
}

/// What the forwarded head says of its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Persistence {
    /// Nothing: HTTP/1.1 connections persist.
    #[default]
    Default,
    /// `connection: close`
    Close,
    /// `connection: keep-alive`, for HTTP/1.0.
    KeepAlive,
    /// `connection: upgrade`; the `Upgrade` field is forwarded.
    Upgrade,
}

/// A value or a target that would not stay what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the value holds a byte that would end or break its line")]
pub struct InvalidValue;

impl Edits {
    /// Forgets earlier edits and begins those of a request: drops what is hop by hop and sets how body and
    /// connection are framed. The `Host` becomes the target's authority when it has one; where HTTP/1.0 has
    /// neither, it is empty until someone sets it.
    pub fn begin_request(&mut self, request: Request<'_>, body: BodyCoding, option: Persistence) {
        let facts = request.head.section.facts;
        self.begin(request.fields(), facts.has(NOMINATES), facts.has(CHUNKED), body, option);
        match (request.form(), request.authority()) {
            (TargetForm::Origin | TargetForm::Asterisk, Some(_)) => {}
            (_, Some(authority)) => self.replace(request.fields(), Known::Host.into(), authority),
            // RFC 9110, section 7.2: without an authority the field is there and empty.
            (_, None) => self.append(Known::Host.into(), b""),
        }
    }

    /// Forgets earlier edits and begins those of a response. One that never has a body (RFC 9110, sections
    /// 15.2 and 15.3.5) says nothing of its framing, whatever `body` is.
    pub fn begin_response(&mut self, response: Response<'_>, body: BodyCoding, option: Persistence) {
        let facts = response.head.section.facts;
        let body = match (response.status(), body) {
            (..200 | 204, _) => BodyCoding::Unframed,
            (304, BodyCoding::Same) => BodyCoding::Described,
            (_, body) => body,
        };
        self.begin(response.fields(), facts.has(NOMINATES), facts.has(CHUNKED), body, option);
    }

    /// Removes every field of the name, also those that earlier edits added.
    pub fn remove(&mut self, fields: FieldsView<'_>, name: FieldName<'_>) {
        if fields.has(name.known()) {
            self.drop_if(fields, |field| name.matches(field.known, field.name));
        }
        let text = &self.text;
        self.added.retain(|line| !name.matches(line.known, line.name(text)));
    }

    /// Replaces every field of the name by one.
    ///
    /// # Errors
    /// When the value holds a control byte; then nothing was changed.
    pub fn set(
        &mut self,
        fields: FieldsView<'_>,
        name: FieldName<'_>,
        value: &[u8],
    ) -> Result<(), InvalidValue> {
        self.check(value)?;
        self.replace(fields, name, value);
        Ok(())
    }

    /// Adds a field beside those that are there.
    ///
    /// # Errors
    /// When the value holds a control byte.
    pub fn add(&mut self, name: FieldName<'_>, value: &[u8]) -> Result<(), InvalidValue> {
        self.check(value)?;
        self.append(name, value);
        Ok(())
    }

    /// The fields that will be written, in their order; the one about the connection left out.
    pub fn kept<'a>(&'a self, fields: FieldsView<'a>) -> impl Iterator<Item = FieldView<'a>> {
        let old = fields.iter().enumerate().filter(|(index, _)| !self.is_dropped(*index));
        old.map(|(_, field)| field).chain(self.added.iter().map(|line| line.view(&self.text)))
    }

    /// Appends the head of the request. `target` replaces its path and query.
    ///
    /// # Errors
    /// When `target` holds a byte that no target has, or does not begin with `/`.
    pub fn write_request(
        &self,
        request: Request<'_>,
        target: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidValue> {
        let line = &request.head.line;
        let as_it_is = target.is_none() && request.version() == Version::Http11;
        let run = if as_it_is && matches!(line.form, TargetForm::Origin | TargetForm::Asterisk) {
            line.at
        } else {
            request_line(request, target, out)?;
            request.fields().front()
        };
        self.write_rest(request.fields(), run, out);
        Ok(())
    }

    /// Appends the head of the response, in HTTP/1.1 whatever it was.
    pub fn write_response(&self, response: Response<'_>, out: &mut Vec<u8>) {
        let fields = response.fields();
        let line = span(fields.bytes(), response.head.line.at, fields.front());
        let run = if response.version() == Version::Http11 && line.get(12) == Some(&b' ') {
            response.head.line.at
        } else {
            out.extend_from_slice(b"HTTP/1.1");
            out.extend_from_slice(line.get(8..12).unwrap_or_default());
            out.extend_from_slice(b" ");
            out.extend_from_slice(response.reason());
            out.extend_from_slice(b"\r\n");
            fields.front()
        };
        self.write_rest(fields, run, out);
    }

    fn begin(
        &mut self,
        fields: FieldsView<'_>,
        nominates: bool,
        chunked: bool,
        body: BodyCoding,
        option: Persistence,
    ) {
        self.dropped = [0; 4];
        self.text.clear();
        self.added.clear();
        self.option = option;
        let codes = body == BodyCoding::Chunked || chunked && body == BodyCoding::Same;
        // Others may not know the coding by another case.
        let stands = codes && fields.first(Known::TransferEncoding) == Some(b"chunked");
        let keeps_length = matches!(body, BodyCoding::Same | BodyCoding::Described);
        if fields.has_any_of(HOP_BY_HOP | Known::ContentLength.bit()) {
            self.drop_if(fields, |field| match field.known {
                Known::TransferEncoding => !stands,
                Known::ContentLength => !keeps_length,
                Known::Upgrade => option != Persistence::Upgrade,
                known => known.is_hop_by_hop(),
            });
        }
        if nominates {
            self.drop_nominated(fields);
        }
        if codes && !stands {
            self.append(Known::TransferEncoding.into(), b"chunked");
        }
        if let BodyCoding::Length(length) = body {
            self.append_length(length);
        }
    }

    fn drop_nominated(&mut self, fields: FieldsView<'_>) {
        for option in fields.elements(Known::Connection) {
            self.drop_if(fields, |field| {
                may_be_nominated(field.known, field.name) && field.name.eq_ignore_ascii_case(option)
            });
        }
    }

    fn drop_if(&mut self, fields: FieldsView<'_>, condition: impl Fn(FieldView<'_>) -> bool) {
        for (index, field) in fields.iter().enumerate() {
            if condition(field)
                && let Some(word) = self.dropped.get_mut(index / 64)
            {
                *word |= 1 << (index % 64);
            }
        }
    }

    fn is_dropped(&self, index: usize) -> bool {
        self.dropped.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn check(&self, value: &[u8]) -> Result<(), InvalidValue> {
        // Offsets into the added text are 32 bits wide.
        let fits = self.text.len() + value.len() < 1 << 24;
        if fits && is_value(value) { Ok(()) } else { Err(InvalidValue) }
    }

    fn replace(&mut self, fields: FieldsView<'_>, name: FieldName<'_>, value: &[u8]) {
        self.remove(fields, name);
        self.append(name, value);
    }

    fn append(&mut self, name: FieldName<'_>, value: &[u8]) {
        let from = self.text.len();
        append_field(name.text(), value, &mut self.text);
        self.added.push(Added {
            known: name.known(),
            name_len: offset(name.text().len()),
            from: offset(from),
            to: offset(self.text.len()),
        });
    }

    fn append_length(&mut self, length: u64) {
        let mut digits = [0u8; 20];
        let mut rest = length;
        let mut from = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            from = place;
            if rest == 0 {
                break;
            }
        }
        self.append(Known::ContentLength.into(), digits.get(from..).unwrap_or_default());
    }

    /// All lines but the dropped ones, from `run` on, then those that were added. A new `Host` comes first,
    /// where servers look for it.
    fn write_rest(&self, fields: FieldsView<'_>, run: u32, out: &mut Vec<u8>) {
        let mut run = run;
        if self.added.iter().any(|line| line.known == Known::Host) {
            out.extend_from_slice(span(fields.bytes(), run, fields.front()));
            self.write_added(true, out);
            run = fields.front();
        }
        for (index, field) in
            fields.raw().iter().enumerate().filter(|(index, _)| self.is_dropped(*index))
        {
            out.extend_from_slice(span(fields.bytes(), run, field.line));
            run = fields.line_end(index);
        }
        out.extend_from_slice(span(fields.bytes(), run, fields.end()));
        self.write_added(false, out);
        out.extend_from_slice(match self.option {
            Persistence::Default => b"\r\n",
            Persistence::Close => b"connection: close\r\n\r\n",
            Persistence::KeepAlive => b"connection: keep-alive\r\n\r\n",
            Persistence::Upgrade => b"connection: upgrade\r\n\r\n",
        });
    }

    fn write_added(&self, host: bool, out: &mut Vec<u8>) {
        for line in self.added.iter().filter(|line| (line.known == Known::Host) == host) {
            out.extend_from_slice(span(&self.text, line.from, line.to));
        }
    }
}

impl Added {
    fn name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        span(text, self.from, self.from.saturating_add(self.name_len))
    }

    fn view<'a>(&self, text: &'a [u8]) -> FieldView<'a> {
        let value = self.from.saturating_add(self.name_len).saturating_add(2);
        let value = span(text, value, self.to.saturating_sub(2));
        FieldView { known: self.known, name: self.name(text), value }
    }
}

/// Appends `name: value` as a line. Neither is checked.
pub(crate) fn append_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn request_line(
    request: Request<'_>,
    target: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), InvalidValue> {
    if target.is_some_and(|t| !is_query(t) || t.first() != Some(&b'/')) {
        return Err(InvalidValue);
    }
    out.extend_from_slice(request.method_bytes());
    out.extend_from_slice(b" ");
    match (target, request.form()) {
        (Some(target), _) => out.extend_from_slice(target),
        (None, TargetForm::Authority) => out.extend_from_slice(request.authority().unwrap_or_default()),
        (None, _) => {
            out.extend_from_slice(request.path());
            if let Some(query) = request.query() {
                out.extend_from_slice(b"?");
                out.extend_from_slice(query);
            }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Ok(())
}
