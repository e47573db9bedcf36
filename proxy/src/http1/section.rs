//! Reads a head line by line out of a buffer that grows, and remembers where it stopped.
//!
//! A line is judged when it is complete, so that the answer does not depend on how the bytes arrived. Each
//! byte of an unfinished line is searched for its end once; a line that ends is then read once more at
//! most. Nothing here knows what a start line means.

use memchr::memchr;

use super::facts::Facts;
use super::fields::Fields;
use super::name::Known;
use super::scan::{Line, begins_token, field_line};
use super::{HeadError, Limits, Parse};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    Start,
    Fields,
    Done,
    Failed(HeadError),
}

/// The part of a head that requests and responses share.
#[derive(Clone, Debug)]
pub(super) struct Section {
    limits: Limits,
    stage: Stage,
    /// Where the first line that is not read yet begins.
    line: usize,
    /// Up to here there is no end of that line.
    searched: usize,
    blanks: u8,
    pub(super) fields: Fields,
    pub(super) facts: Facts,
}

/// What is left to the kind of message.
pub(super) trait Kind {
    /// Reads the start line, without its CR LF, that begins at `at`.
    fn start_line(&mut self, line: &[u8], at: usize) -> Result<(), HeadError>;
    /// Judges the head as a whole, when all fields are read.
    fn finish(&mut self, section: &Section, bytes: &[u8]) -> Result<(), HeadError>;
    /// What it is when the start line is longer than the limit.
    const START_TOO_LONG: HeadError;
    /// Empty lines before the start line that are passed over.
    const BLANK_LINES: u8;
    /// What it is when the first byte cannot begin a start line.
    const NO_START: HeadError;
}

enum Next {
    Line(usize),
    End(usize),
    Partial,
}

impl Section {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: limits.clamped(),
            stage: Stage::Start,
            line: 0,
            searched: 0,
            blanks: 0,
            fields: Fields::default(),
            facts: Facts::default(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.stage = Stage::Start;
        self.line = 0;
        self.searched = 0;
        self.blanks = 0;
        self.fields.clear();
        self.facts = Facts::default();
    }

    pub(super) fn is_begun(&self) -> bool {
        self.searched > 0 || self.line > 0
    }

    /// The length of the head, once it is complete.
    pub(super) fn len(&self) -> usize {
        if self.stage == Stage::Done { self.line } else { 0 }
    }

    /// Reads on in `input`, which begins with everything that was given before.
    pub(super) fn parse(&mut self, input: &[u8], kind: &mut impl Kind) -> Result<Parse, HeadError> {
        match self.stage {
            Stage::Done => return Ok(Parse::Complete(self.line)),
            Stage::Failed(error) => return Err(error),
            Stage::Start | Stage::Fields => {}
        }
        self.advance(input, kind).inspect_err(|error| self.stage = Stage::Failed(*error))
    }

    fn advance<K: Kind>(&mut self, input: &[u8], kind: &mut K) -> Result<Parse, HeadError> {
        if self.searched > self.line && !has_line_feed(input.get(self.searched..)) {
            return self.partial(input.len(), K::START_TOO_LONG);
        }
        loop {
            let rest = input.get(self.line..).unwrap_or_default();
            let next = if self.stage == Stage::Start {
                self.start_line(rest, kind)
            } else {
                self.field(rest, input, kind)
            };
            let next = match next {
                Err(error) => self.judged(error, rest, kind)?,
                Ok(next) => next,
            };
            match next {
                Next::Partial => return self.partial(input.len(), K::START_TOO_LONG),
                Next::Line(len) => self.line += len,
                Next::End(len) => {
                    self.line += len;
                    self.within_limit(self.line)?;
                    self.stage = Stage::Done;
                    return Ok(Parse::Complete(self.line));
                }
            }
            self.within_limit(self.line)?;
        }
    }

    /// A fault counts once its line is complete; before that the line may yet turn out too long.
    fn judged<K: Kind>(&self, error: HeadError, rest: &[u8], _: &K) -> Result<Next, HeadError> {
        let at_once = error == K::START_TOO_LONG
            || error == K::NO_START && !rest.first().is_some_and(|&b| begins_token(b));
        if self.stage == Stage::Start && at_once {
            return Err(error);
        }
        match memchr(b'\n', rest) {
            None => Ok(Next::Partial),
            Some(end) if self.stage == Stage::Start && end >= self.limits.start_line => {
                Err(K::START_TOO_LONG)
            }
            Some(end) => {
                self.within_limit(self.line + end + 1)?;
                Err(error)
            }
        }
    }

    fn start_line<K: Kind>(&mut self, rest: &[u8], kind: &mut K) -> Result<Next, HeadError> {
        match rest.first() {
            None => return Ok(Next::Partial),
            Some(b'\r') => return self.blank_line(rest, K::BLANK_LINES),
            // A version begins with a letter too, so this serves responses as well.
            Some(&byte) if !begins_token(byte) => return Err(K::NO_START),
            Some(_) => {}
        }
        let Some(end) = memchr(b'\n', rest) else { return Ok(Next::Partial) };
        if end >= self.limits.start_line {
            return Err(K::START_TOO_LONG);
        }
        let line = rest.get(..end).and_then(|l| l.strip_suffix(b"\r")).ok_or(HeadError::LineEnd)?;
        kind.start_line(line, self.line)?;
        self.stage = Stage::Fields;
        self.fields.begin(self.line + end + 1);
        Ok(Next::Line(end + 1))
    }

    fn blank_line(&mut self, rest: &[u8], most: u8) -> Result<Next, HeadError> {
        match rest.get(1) {
            None => Ok(Next::Partial),
            Some(b'\n') if self.blanks < most => {
                self.blanks += 1;
                Ok(Next::Line(2))
            }
            Some(b'\n') => Err(HeadError::BlankLines),
            Some(_) => Err(HeadError::LineEnd),
        }
    }

    #[inline]
    fn field(&mut self, rest: &[u8], input: &[u8], kind: &mut impl Kind) -> Result<Next, HeadError> {
        match field_line(rest)? {
            Line::Partial => Ok(Next::Partial),
            Line::Empty => {
                kind.finish(self, input)?;
                Ok(Next::End(2))
            }
            Line::Field { name, value, end } => {
                self.push(rest, name, value, end)?;
                Ok(Next::Line(end))
            }
        }
    }

    #[inline]
    fn push(
        &mut self,
        rest: &[u8],
        name: usize,
        value: (usize, usize),
        end: usize,
    ) -> Result<(), HeadError> {
        let index = self.fields.len();
        if index >= self.limits.fields {
            return Err(HeadError::TooManyFields);
        }
        let known = Known::of(rest.get(..name).unwrap_or_default());
        not_beside_a_tab(known, rest.get(name + 1..end).unwrap_or_default())?;
        self.facts.note(index, known, rest.get(value.0..value.1).unwrap_or_default())?;
        let at = self.line;
        self.fields.push(at, known, name, (at + value.0, at + value.1), at + end);
        Ok(())
    }

    fn within_limit(&self, end: usize) -> Result<(), HeadError> {
        if end > self.limits.head { Err(HeadError::TooLarge) } else { Ok(()) }
    }

    fn partial(&mut self, len: usize, start_too_long: HeadError) -> Result<Parse, HeadError> {
        self.searched = len.max(self.line);
        if self.stage == Stage::Start && len - self.line.min(len) > self.limits.start_line {
            return Err(start_too_long);
        }
        // The line that is not complete ends one byte further on at least.
        self.within_limit(len + 1)?;
        Ok(Parse::Partial)
    }
}

/// Tabs around a value are white space, but not to everyone: about framing and host there must be one
/// opinion.
fn not_beside_a_tab(known: Known, text: &[u8]) -> Result<(), HeadError> {
    match known {
        Known::ContentLength if text.contains(&b'\t') => Err(HeadError::LengthInvalid),
        Known::Host if text.contains(&b'\t') => Err(HeadError::HostInvalid),
        Known::TransferEncoding if text.contains(&b'\t') => Err(HeadError::EncodingInvalid),
        _ => Ok(()),
    }
}

fn has_line_feed(bytes: Option<&[u8]>) -> bool {
    bytes.is_some_and(|b| memchr(b'\n', b).is_some())
}
