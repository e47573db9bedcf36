//! Trailers, in both directions: only what a trailer section may carry (RFC 9110, section 6.5.1), whatever
//! was sent, and never a field that frames or routes (cases.md C8).

use bytes::BytesMut;
use http::HeaderMap;

use crate::http1::{BodyError, BodyLimits, FieldsView, TrailerSection};

use super::outbound::append;

/// The trailers of a chunked body as HTTP/2 sends them; the reader has dropped what is not allowed.
pub fn trailer_map(trailers: FieldsView<'_>) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(trailers.len());
    let mut values = BytesMut::new();
    for field in trailers.iter() {
        append(field, &mut values, &mut map);
    }
    map
}

/// Trailers that came by HTTP/2.
#[derive(Debug, Default)]
pub struct Trailers(TrailerSection);

impl Trailers {
    /// Takes in what may be passed on.
    ///
    /// # Errors
    /// When there are more, or longer ones, than the limits allow.
    pub fn read(map: &HeaderMap, limits: &BodyLimits) -> Result<Self, BodyError> {
        let mut section = TrailerSection::default();
        for (name, value) in map {
            section.push(name.as_str().as_bytes(), value.as_bytes(), limits)?;
        }
        Ok(Self(section))
    }

    /// The fields.
    pub fn view(&self) -> FieldsView<'_> {
        self.0.view()
    }
}
