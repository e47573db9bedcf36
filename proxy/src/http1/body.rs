//! Cuts the body of a message out of the bytes that arrive, whatever its framing.
//!
//! It holds no content: it says which part of the caller's input is content, or may be forwarded as it is.
//! Every byte that is given is taken, so no buffer of a certain size is needed. A chunked body is judged
//! byte by byte; chunk extensions are never passed on, and trailers only where trailers are allowed.

use std::ops::Range;

use super::chunk::{Chunked, Part};
use super::fields::FieldsView;
use super::{BodyError, BodyLimits, Framing};

/// Where a body is at.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Done,
    Length(u64),
    UntilClose,
    Chunked(Chunked),
}

/// What was found in the input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Piece {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// Where in the input the bytes stand that the caller asked for; may be empty.
    pub data: Range<usize>,
    /// Whether the body is complete. What follows `consumed` belongs to the next message; behind a response
    /// nothing may (cases.md A15).
    pub ended: bool,
}

impl BodyDecoder {
    /// A decoder at the front of a body.
    pub fn new(framing: Framing, limits: BodyLimits) -> Self {
        Self {
            state: match framing {
                Framing::None | Framing::Length(0) => State::Done,
                Framing::Length(length) => State::Length(length),
                Framing::UntilClose | Framing::Tunnel => State::UntilClose,
                Framing::Chunked => State::Chunked(Chunked::new(limits)),
            },
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Done => true,
            State::Chunked(chunked) => chunked.is_done(),
            State::Length(_) | State::UntilClose => false,
        }
    }

    /// Content at the front of `input`: framing is taken away. Call it until the input is consumed or the
    /// body has ended.
    ///
    /// # Errors
    /// When the framing is broken; the connection is to be closed.
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, BodyError> {
        self.run(input, |part| part == Part::Content)
    }

    /// Bytes at the front of `input` that may be forwarded as they are to a neighbour that gets the same
    /// framing. When the body has ended, [`BodyDecoder::trailer_section`] is what is still to be sent.
    ///
    /// # Errors
    /// When the framing is broken; both connections are to be closed.
    pub fn pass(&mut self, input: &[u8]) -> Result<Piece, BodyError> {
        self.run(input, |part| part != Part::Skip)
    }

    /// The connection ended.
    ///
    /// # Errors
    /// When the body had not ended, unless it ends with the connection.
    pub fn end_of_input(&mut self) -> Result<(), BodyError> {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Done;
        }
        if self.is_done() { Ok(()) } else { Err(BodyError::Incomplete) }
    }

    /// The trailers that may be passed on, once the body has ended.
    pub fn trailers(&self) -> Option<FieldsView<'_>> {
        match &self.state {
            State::Chunked(chunked) => chunked.trailers(),
            _ => None,
        }
    }

    /// What completes a chunked body after all that [`BodyDecoder::pass`] returned: the lines of the
    /// trailer section and its end. Empty when nothing is missing.
    pub fn trailer_section(&self) -> &[u8] {
        match &self.state {
            State::Chunked(chunked) => chunked.trailer_section(),
            _ => &[],
        }
    }

    /// The first run of wanted bytes, and how far one can go without a second.
    fn run(&mut self, input: &[u8], wanted: impl Fn(Part) -> bool) -> Result<Piece, BodyError> {
        let mut piece = Piece::default();
        while !self.is_done() && piece.consumed < input.len() {
            let rest = input.get(piece.consumed..).unwrap_or_default();
            let (taken, part) = self.step(rest)?;
            let from = piece.consumed;
            piece.consumed += taken;
            if wanted(part) {
                piece.data = if piece.data.is_empty() { from } else { piece.data.start }..piece.consumed;
            } else if !piece.data.is_empty() {
                break;
            }
        }
        piece.ended = self.is_done();
        Ok(piece)
    }

    /// Takes a run of bytes of one kind from the front of `input`, which is not empty.
    fn step(&mut self, input: &[u8]) -> Result<(usize, Part), BodyError> {
        match &mut self.state {
            State::Done => Ok((0, Part::Content)),
            State::UntilClose => Ok((input.len(), Part::Content)),
            State::Chunked(chunked) => chunked.step(input),
            State::Length(left) => {
                let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                Ok((taken, Part::Content))
            }
        }
    }
}
