//! The chunked coding, strictly (RFC 9112, section 7.1; cases.md A7 and A8).
//!
//! A chunk size is 1 to 16 hexadecimal digits, right before its CR LF or its extensions. Extensions hold no
//! control bytes but tabs, so that no two readers see two ends of a line. Nothing is buffered but trailers.

use memchr::memchr;

use super::fields::FieldsView;
use super::name::{Known, allowed_in_trailer};
use super::scan::{Line, field_line};
use super::trailers::TrailerSection;
use super::{BodyError, BodyLimits, HeadError};

/// The kind of a run of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// Content.
    Content,
    /// Framing that another reader of the chunked coding needs.
    Framing,
    /// What is not passed on as it is: extensions, trailers.
    Skip,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Size,
    Extension,
    SizeLineFeed,
    Content,
    ContentReturn,
    ContentLineFeed,
    TrailersOrEnd,
    EndLineFeed,
    Trailers,
    Done,
}

/// Where a chunked body is at.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    limits: BodyLimits,
    /// Of the chunk: its size while the size is read, then what is left of it.
    left: u64,
    digits: u8,
    extension: usize,
    trailers: Option<Box<Trailers>>,
}

/// A trailer section that is being read.
#[derive(Debug, Default)]
struct Trailers {
    /// The line that is not complete.
    line: Vec<u8>,
    /// Bytes of the whole section.
    size: usize,
    section: TrailerSection,
}

impl Chunked {
    pub(super) fn new(limits: BodyLimits) -> Self {
        Self { at: At::Size, limits, left: 0, digits: 0, extension: 0, trailers: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    pub(super) fn trailers(&self) -> Option<FieldsView<'_>> {
        let trailers = self.trailers.as_ref().filter(|_| self.is_done())?;
        Some(trailers.section.view())
    }

    pub(super) fn trailer_section(&self) -> &[u8] {
        self.trailers.as_ref().map(|trailers| trailers.section.text()).unwrap_or_default()
    }

    /// Takes a run of bytes of one kind from the front of `input`, which is not empty.
    pub(super) fn step(&mut self, input: &[u8]) -> Result<(usize, Part), BodyError> {
        match self.at {
            At::Size => self.size(input),
            At::Extension => self.extension(input),
            At::SizeLineFeed => {
                let last = self.left == 0;
                self.line_feed(input, if last { At::TrailersOrEnd } else { At::Content })
            }
            At::Content => Ok(self.content(input)),
            At::ContentReturn => self.expect(input, b'\r', At::ContentLineFeed),
            At::ContentLineFeed => self.line_feed(input, At::Size),
            At::TrailersOrEnd if input.first() == Some(&b'\r') => {
                self.expect(input, b'\r', At::EndLineFeed)
            }
            At::TrailersOrEnd | At::Trailers => self.trailer(input),
            At::EndLineFeed => self.line_feed(input, At::Done),
            At::Done => Ok((0, Part::Framing)),
        }
    }

    fn size(&mut self, input: &[u8]) -> Result<(usize, Part), BodyError> {
        let mut taken = 0;
        for &byte in input {
            let Some(digit) = char::from(byte).to_digit(16) else { break };
            // A neighbour may count in signed 64 bits.
            let fits = self.left < 1 << 59 && self.digits < 16;
            if !fits {
                return Err(BodyError::ChunkSize);
            }
            self.left = self.left << 4 | u64::from(digit);
            self.digits += 1;
            taken += 1;
        }
        match input.get(taken) {
            None => {}
            Some(b'\r') if self.digits > 0 => {
                taken += 1;
                self.at = At::SizeLineFeed;
            }
            Some(b';') if self.digits > 0 => {
                self.extension = 0;
                self.at = At::Extension;
            }
            Some(b'\n') if self.digits > 0 => return Err(BodyError::LineEnd),
            Some(_) => return Err(BodyError::ChunkSize),
        }
        Ok((taken, Part::Framing))
    }

    /// Extensions, up to the CR that ends them.
    fn extension(&mut self, input: &[u8]) -> Result<(usize, Part), BodyError> {
        let run = input.iter().position(|&b| b != b'\t' && !(0x20..0x7f).contains(&b));
        let taken = run.unwrap_or(input.len());
        self.extension += taken;
        if self.extension > self.limits.extension {
            return Err(BodyError::ChunkExtension);
        }
        match input.get(taken) {
            None => Ok((taken, Part::Skip)),
            Some(b'\r') if taken > 0 => Ok((taken, Part::Skip)),
            Some(b'\r') => self.expect(input, b'\r', At::SizeLineFeed),
            Some(b'\n') => Err(BodyError::LineEnd),
            Some(_) => Err(BodyError::ChunkExtension),
        }
    }

    fn content(&mut self, input: &[u8]) -> (usize, Part) {
        let taken = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        self.left -= taken as u64;
        if self.left == 0 {
            self.at = At::ContentReturn;
        }
        (taken, Part::Content)
    }

    fn line_feed(&mut self, input: &[u8], next: At) -> Result<(usize, Part), BodyError> {
        if next == At::Size {
            self.digits = 0;
        }
        self.expect(input, b'\n', next)
    }

    fn expect(&mut self, input: &[u8], byte: u8, next: At) -> Result<(usize, Part), BodyError> {
        if input.first() != Some(&byte) {
            return Err(BodyError::LineEnd);
        }
        self.at = next;
        Ok((1, Part::Framing))
    }

    /// Collects the trailer section line by line.
    fn trailer(&mut self, input: &[u8]) -> Result<(usize, Part), BodyError> {
        self.at = At::Trailers;
        let trailers = self.trailers.get_or_insert_default();
        let end = memchr(b'\n', input).map(|at| at + 1);
        let taken = end.unwrap_or(input.len());
        trailers.size += taken;
        if trailers.size > self.limits.trailers {
            return Err(BodyError::TrailerTooLarge);
        }
        trailers.line.extend(input.iter().take(taken));
        if end.is_some() && trailers.line_is_last(&self.limits)? {
            self.at = At::Done;
        }
        Ok((taken, Part::Skip))
    }
}

impl Trailers {
    /// Reads the line that was just completed; true when it is the empty one.
    fn line_is_last(&mut self, limits: &BodyLimits) -> Result<bool, BodyError> {
        match field_line(&self.line).map_err(BodyError::Trailer)? {
            Line::Empty => {
                self.section.end();
                return Ok(true);
            }
            // A line feed is there, so what is partial has none where it should be.
            Line::Partial => return Err(BodyError::Trailer(HeadError::LineEnd)),
            Line::Field { name, value, .. } => {
                let part = |from, to| self.line.get(from..to).unwrap_or_default();
                self.section.push(part(0, name), part(value.0, value.1), limits)?;
            }
        }
        self.line.clear();
        Ok(false)
    }
}

/// Appends `data` as one chunk; nothing when it is empty, since an empty chunk ends the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    write_chunk_size(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line before `size` bytes of content, which must not be 0; CR LF follows the content.
pub fn write_chunk_size(size: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    let digit = |place: u32| DIGITS.get(size >> (place * 4) & 15);
    out.extend((0..digits).rev().filter_map(digit));
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, the trailers that trailer sections may carry, and the end.
pub fn write_end(trailers: Option<FieldsView<'_>>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for field in trailers.iter().flat_map(|t| t.iter()) {
        write_trailer(field.name, field.value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a line of a trailer section, when the name and the value are such as a trailer section may
/// carry.
pub fn write_trailer(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let allowed = super::scan::is_token(name)
        && super::scan::is_value(value)
        && allowed_in_trailer(Known::of(name), name);
    if allowed {
        super::forward::append_field(name, value, out);
    }
}
