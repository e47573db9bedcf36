//! Heads of ours, with their edits, as HTTP/2 sends them (RFC 9113, sections 8.2 and 8.3).
//!
//! Fields about an HTTP/1.1 connection have no place there; names become lower case. Values share one
//! allocation for each head.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri};

use crate::http1::{Edits, FieldView, InvalidValue, Known, Method, Request, Response, TargetForm};

/// The `:scheme` of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// The request as it goes to an upstream that speaks HTTP/2. `target` replaces its path and query.
///
/// # Errors
/// When target or host are none that HTTP/2 can carry; the client gets 400.
pub fn write_request(
    request: Request<'_>,
    edits: &Edits,
    target: Option<&[u8]>,
    scheme: Scheme,
) -> Result<http::Request<()>, InvalidValue> {
    let host = edits.kept(request.fields()).find(|field| field.known == Known::Host);
    let host = host.ok_or(InvalidValue)?.value;
    let others = edits.kept(request.fields()).filter(|field| field.known != Known::Host);
    let mut fields = fields(others, request.head_len());
    if request.takes_trailers() {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    let mut out = http::Request::new(());
    *out.method_mut() = http::Method::from_bytes(request.method_bytes()).map_err(|_| InvalidValue)?;
    *out.uri_mut() = uri(request, target, host, scheme)?;
    *out.version_mut() = http::Version::HTTP_2;
    *out.headers_mut() = fields;
    Ok(out)
}

/// The answer as it goes to a client that speaks HTTP/2.
pub fn write_response(response: Response<'_>, edits: &Edits) -> http::Response<()> {
    let mut out = http::Response::new(());
    // The reader takes 100 to 999 only.
    *out.status_mut() = StatusCode::from_u16(response.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    *out.version_mut() = http::Version::HTTP_2;
    *out.headers_mut() = fields(edits.kept(response.fields()), response.head_len());
    out
}

fn uri(
    request: Request<'_>,
    target: Option<&[u8]>,
    host: &[u8],
    scheme: Scheme,
) -> Result<Uri, InvalidValue> {
    let authority = uri::Authority::try_from(host).map_err(|_| InvalidValue)?;
    let mut parts = uri::Parts::default();
    parts.authority = Some(authority);
    if request.method() != Method::Connect {
        parts.scheme = Some(match scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
        parts.path_and_query = Some(path_and_query(request, target)?);
    }
    Uri::from_parts(parts).map_err(|_| InvalidValue)
}

fn path_and_query(
    request: Request<'_>,
    target: Option<&[u8]>,
) -> Result<uri::PathAndQuery, InvalidValue> {
    // A fragment would be cut off silently.
    let is_path = |target: &[u8]| target.first() == Some(&b'/') && !target.contains(&b'#');
    let parsed = match target {
        Some(target) if !is_path(target) => return Err(InvalidValue),
        Some(target) => uri::PathAndQuery::try_from(target),
        None if request.form() == TargetForm::Origin => uri::PathAndQuery::try_from(request.target()),
        None => {
            let mut text = request.path().to_vec();
            if let Some(query) = request.query() {
                text.push(b'?');
                text.extend_from_slice(query);
            }
            uri::PathAndQuery::try_from(text)
        }
    };
    parsed.map_err(|_| InvalidValue)
}

/// What is kept of the fields, without those that only HTTP/1.1 has. `capacity` is about their size.
fn fields<'a>(kept: impl Iterator<Item = FieldView<'a>>, capacity: usize) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(kept.size_hint().1.unwrap_or_default());
    let mut values = BytesMut::with_capacity(capacity);
    for field in kept.filter(|field| !field.known.is_hop_by_hop()) {
        append(field, &mut values, &mut map);
    }
    map
}

/// Adds a field. Both are valid there as here; one that is not would be left out.
pub(super) fn append(field: FieldView<'_>, values: &mut BytesMut, map: &mut HeaderMap) {
    values.extend_from_slice(field.value);
    let value = HeaderValue::from_maybe_shared(values.split().freeze());
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(field.name), value) {
        // It fails beyond 32,768 names; heads here have a few hundred lines at most.
        let _ = map.try_append(name, value);
    }
}
