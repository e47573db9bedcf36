//! A trailer section: which of its fields may be passed on (RFC 9110, section 6.5.1).

use super::fields::{Fields, FieldsView};
use super::forward::append_field;
use super::name::{Known, allowed_in_trailer};
use super::scan::{is_token, is_value, trim};
use super::{BodyError, BodyLimits, HeadError};

/// Trailers that may be passed on, as they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrailerSection {
    text: Vec<u8>,
    fields: Fields,
    seen: usize,
    size: usize,
}

impl TrailerSection {
    /// Takes in a field, or drops it when no trailer section may carry it. It counts either way.
    pub(crate) fn push(
        &mut self,
        name: &[u8],
        value: &[u8],
        limits: &BodyLimits,
    ) -> Result<(), BodyError> {
        self.seen += 1;
        self.size += name.len() + value.len() + 4;
        if self.seen > limits.trailer_fields || self.size > limits.trailers {
            return Err(BodyError::TrailerTooLarge);
        }
        if !is_token(name) || !is_value(value) {
            return Err(BodyError::Trailer(HeadError::FieldName));
        }
        let (known, value) = (Known::of(name), trim(value));
        if allowed_in_trailer(known, name) {
            let at = self.text.len();
            append_field(name, value, &mut self.text);
            let (from, end) = (at + name.len() + 2, self.text.len());
            self.fields.push(at, known, name.len(), (from, from + value.len()), end);
        }
        Ok(())
    }

    /// The fields.
    pub(crate) fn view(&self) -> FieldsView<'_> {
        self.fields.view(&self.text)
    }

    /// Adds the empty line.
    pub(super) fn end(&mut self) {
        self.text.extend_from_slice(b"\r\n");
    }

    /// The lines, and the empty one once it was added.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}
